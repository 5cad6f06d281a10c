"""What tuning buys: the best validation endpoint against the search budget, by arm and as a difference of two arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.domain.bootstrap import mean_band
from service.domain.report_input import Cell, ReportInput
from service.domain.statistics import expected_best_weights
from service.domain.trial import Outcome, TrialRecord

_DENSE = 64
_SPARSE = 33


@dataclass(frozen=True)
class ArmCurve:
    """Expected best of one arm, in the endpoint's own unit; the sequences run along `trials`.

    Attributes:
        n_replicates: Replicates with all T search trials: only those count.
        trials: Budget of one search in trials.
        steps: The same in training steps: mean over replicates; None where some trial does not report its steps.
        device_s: The same in seconds of one slot; likewise.
        value: Geometric mean over replicates.
        lower: Lower end of the bootstrap band; None for fewer than 5 replicates.
        upper: Its upper end.
    """

    arm: str
    n_replicates: int
    trials: tuple[int, ...]
    steps: tuple[float, ...] | None
    device_s: tuple[float, ...] | None
    value: tuple[float, ...]
    lower: tuple[float, ...] | None
    upper: tuple[float, ...] | None


@dataclass(frozen=True)
class PairCurve:
    """Log ratio of two arms' expected best, challenger over baseline, against the budget; negative is better.

    Attributes:
        n_replicates: Replicates with all T search trials in both arms.
    """

    baseline: str
    challenger: str
    n_replicates: int
    trials: tuple[int, ...]
    log_ratio: tuple[float, ...]
    lower: tuple[float, ...] | None
    upper: tuple[float, ...] | None


def budgets(n_trials: int) -> tuple[int, ...]:
    """The budgets at which a curve is computed: each up to 64, then 32 more up to `n_trials`, evenly in the log."""
    if n_trials <= _DENSE:
        return tuple(range(1, n_trials + 1))
    sparse = np.unique(np.rint(np.geomspace(_DENSE, n_trials, _SPARSE)).astype(int))
    return (*range(1, _DENSE), *map(int, sparse))


def log_values(cell: Cell, chance_level: float) -> list[float]:
    """Log validation endpoints of a cell's search in its order; a diverged trial counts as chance level."""
    ordered = sorted(cell.searched, key=lambda trial: trial.cell_number)
    return [_log_value(trial, chance_level) for trial in ordered]


def _log_value(trial: TrialRecord, chance_level: float) -> float:
    value = trial.value
    is_known = value is not None and math.isfinite(value) and value > 0 and trial.outcome is not Outcome.DIVERGED
    return math.log(value if is_known and value is not None else chance_level)


def replicate_curves(source: ReportInput, arm: str) -> dict[int, NDArray[np.float64]]:
    """Log of the expected best of each complete replicate, along `budgets(T)`.

    Random search: the unbiased minimum form, which averages over all subsets of the trials. Other samplers: the
    incumbent, since their trials depend on one another and only their own order ever happened.
    """
    curves = {}
    for cell in source.cells_of(arm):
        values = log_values(cell, source.chance_level)[: source.trials_per_cell]
        if len(values) == source.trials_per_cell:
            curves[cell.replicate] = _curve(np.asarray(values), is_random=source.sampler == "random")
    return curves


def _curve(values: NDArray[np.float64], *, is_random: bool) -> NDArray[np.float64]:
    places = budgets(len(values))
    if is_random:
        return np.asarray(_weights(len(values)) @ np.sort(values))
    return np.asarray(np.minimum.accumulate(values)[np.asarray(places) - 1])


@lru_cache(maxsize=4)
def _weights(n_values: int) -> NDArray[np.float64]:
    return np.stack([expected_best_weights(n_values, n) for n in budgets(n_values)])


def arm_curve(source: ReportInput, arm: str) -> ArmCurve:
    """Expected best against budget of one arm.

    Source: Tang et al., ACL 2020 (unbiased form of Dodge et al., EMNLP 2019), here for the minimum and on the log;
    other samplers: mean incumbent. Band: bootstrap over replicates.
    """
    curves = replicate_curves(source, arm)
    cells = [source.cells[arm, replicate] for replicate in sorted(curves)]
    matrix = np.array([curves[replicate] for replicate in sorted(curves)])
    places = budgets(source.trials_per_cell) if curves else ()
    band = mean_band(matrix)
    return ArmCurve(
        arm=arm,
        n_replicates=len(curves),
        trials=places,
        steps=_spent(cells, places, [[trial.n_steps for trial in cell.searched] for cell in cells]),
        device_s=_spent(cells, places, [[trial.duration_s for trial in cell.searched] for cell in cells]),
        value=_exp(matrix.mean(axis=0)) if curves else (),
        lower=_exp(band[0]) if band else None,
        upper=_exp(band[1]) if band else None,
    )


def _exp(logs: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, np.exp(logs)))


def _spent(
    cells: Sequence[Cell], places: Sequence[int], costs: Sequence[Sequence[float | None]]
) -> tuple[float, ...] | None:
    """Mean cost of a search of each size: so many times the mean cost of the arm's search trials."""
    known = [cost for cell in costs for cost in cell if cost is not None]
    if not cells or len(known) < sum(map(len, costs)):
        return None
    one = math.fsum(known) / len(known)
    return tuple(place * one for place in places)


def pair_curve(source: ReportInput, baseline: str, challenger: str) -> PairCurve:
    """Difference of two arms against the budget, paired by replicate.

    Source: as for `arm_curve`; the replicates' differences are resampled together, because the arms of a replicate
    share their random draws.
    """
    first, second = replicate_curves(source, baseline), replicate_curves(source, challenger)
    common = sorted(first.keys() & second.keys())
    matrix = np.array([second[replicate] - first[replicate] for replicate in common])
    band = mean_band(matrix)
    return PairCurve(
        baseline=baseline,
        challenger=challenger,
        n_replicates=len(common),
        trials=budgets(source.trials_per_cell) if common else (),
        log_ratio=_floats(matrix.mean(axis=0)) if common else (),
        lower=_floats(band[0]) if band else None,
        upper=_floats(band[1]) if band else None,
    )


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, values))
