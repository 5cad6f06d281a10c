"""What tuning buys: the best validation endpoint against the search budget, by arm and as a difference of two arms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
        n_replicates: Replicates whose search is over: only those count.
        trials: Budget of one search in trials, up to T; where a budget in steps or seconds ends a search, up to the
            fewest trials of any of those replicates.
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
class CostCurve:
    """A difference along what searching costs; the sequences run along `at`.

    Attributes:
        at: Training steps, or seconds of one slot, that each arm may spend on one search: from where both can afford
            a trial to where the first has spent all of its own. Between two trials the expected best is interpolated.
    """

    at: tuple[float, ...]
    log_ratio: tuple[float, ...]
    lower: tuple[float, ...] | None
    upper: tuple[float, ...] | None


@dataclass(frozen=True)
class PairCurve:
    """Log ratio of two arms' expected best, challenger over baseline, against the budget; negative is better.

    Attributes:
        n_replicates: Replicates whose search is over in both arms.
        by_steps: At equal training steps; None where some trial does not report its own, or no budget suits both.
        by_device_s: At equal seconds of one slot, which charges each arm for its own slowness; likewise.
    """

    baseline: str
    challenger: str
    n_replicates: int
    trials: tuple[int, ...]
    log_ratio: tuple[float, ...]
    lower: tuple[float, ...] | None
    upper: tuple[float, ...] | None
    by_steps: CostCurve | None
    by_device_s: CostCurve | None


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


def searched_values(source: ReportInput, arm: str) -> dict[int, list[float]]:
    """Log validation endpoints of each replicate whose search is over, at most T of them, in its order."""
    return {
        cell.replicate: log_values(cell, source.chance_level)[: source.trials_per_cell]
        for cell in source.cells_of(arm)
        if cell.searched and source.has_searched(cell)
    }


def replicate_curves(source: ReportInput, *arms: str) -> tuple[int, list[dict[int, NDArray[np.float64]]]]:
    """Log of the expected best of each replicate whose search is over, along `budgets(n)`, for each of some arms.

    Random search: the unbiased minimum form, which averages over all subsets of the trials. Other samplers: the
    incumbent, since their trials depend on one another and only their own order ever happened.

    Returns:
        n, the fewest trials of any of these replicates (T, unless a budget in steps or seconds ended a search), and
        the curves by replicate; 0 and no curves where no search is over.
    """
    values = [searched_values(source, arm) for arm in arms]
    n = min((len(found) for by_replicate in values for found in by_replicate.values()), default=0)
    is_random = source.sampler == "random"
    return n, [
        {replicate: _curve(np.asarray(found), n, is_random=is_random) for replicate, found in by_replicate.items()}
        for by_replicate in values
    ]


def _curve(values: NDArray[np.float64], n: int, *, is_random: bool) -> NDArray[np.float64]:
    places = budgets(n)
    if is_random:
        return np.asarray(_weights(len(values), places) @ np.sort(values))
    return np.asarray(np.minimum.accumulate(values)[np.asarray(places) - 1])


@lru_cache(maxsize=64)
def _weights(n_values: int, places: tuple[int, ...]) -> NDArray[np.float64]:
    return np.stack([expected_best_weights(n_values, n) for n in places])


def arm_curve(source: ReportInput, arm: str) -> ArmCurve:
    """Expected best against budget of one arm.

    Source: Tang et al., ACL 2020 (unbiased form of Dodge et al., EMNLP 2019), here for the minimum and on the log;
    other samplers: mean incumbent. Band: bootstrap over replicates.
    """
    n, (curves,) = replicate_curves(source, arm)
    matrix = np.array([curves[replicate] for replicate in sorted(curves)])
    places = budgets(n) if curves else ()
    costs = {unit: mean_cost(source, arm, unit) for unit in COSTS}
    band = mean_band(matrix)
    return ArmCurve(
        arm=arm,
        n_replicates=len(curves),
        trials=places,
        steps=_spent(places, costs["steps"]),
        device_s=_spent(places, costs["device_s"]),
        value=_exp(matrix.mean(axis=0)) if curves else (),
        lower=_exp(band[0]) if band else None,
        upper=_exp(band[1]) if band else None,
    )


def _exp(logs: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, np.exp(logs)))


COSTS: Mapping[str, Callable[[TrialRecord], float | None]] = {
    "steps": lambda trial: trial.n_steps,
    "device_s": lambda trial: trial.duration_s,
}


def mean_cost(source: ReportInput, arm: str, unit: str) -> float | None:
    """Mean cost of one search trial of the arm, over the replicates whose search is over; None where one is unknown."""
    cells = [cell for cell in source.cells_of(arm) if cell.searched and source.has_searched(cell)]
    costs = [COSTS[unit](trial) for cell in cells for trial in cell.searched]
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(costs) else None


def _spent(places: Sequence[int], one: float | None) -> tuple[float, ...] | None:
    """Mean cost of a search of each size: so many times the mean cost of the arm's search trials."""
    return None if one is None or not places else tuple(place * one for place in places)


def pair_curve(source: ReportInput, baseline: str, challenger: str) -> PairCurve:
    """Difference of two arms against the budget, paired by replicate.

    Source: as for `arm_curve`; the replicates' differences are resampled together, because the arms of a replicate
    share their random draws.
    """
    n, (first, second) = replicate_curves(source, baseline, challenger)
    common = sorted(first.keys() & second.keys())
    matrix = np.array([second[replicate] - first[replicate] for replicate in common])
    places = budgets(n) if common else ()
    band = mean_band(matrix)
    curves = [np.array([found[replicate] for replicate in common]) for found in (first, second)]
    by_cost = [_cost_curve(source, (baseline, challenger), unit, places, curves) for unit in COSTS]
    return PairCurve(
        baseline=baseline,
        challenger=challenger,
        n_replicates=len(common),
        trials=places,
        log_ratio=_floats(matrix.mean(axis=0)) if common else (),
        lower=_floats(band[0]) if band else None,
        upper=_floats(band[1]) if band else None,
        by_steps=by_cost[0],
        by_device_s=by_cost[1],
    )


def _cost_curve(
    source: ReportInput,
    arms: tuple[str, str],
    unit: str,
    places: Sequence[int],
    curves: Sequence[NDArray[np.float64]],
) -> CostCurve | None:
    """The difference where both arms have spent the same; `curves` hold a row for each common replicate."""
    costs = [mean_cost(source, arm, unit) for arm in arms]
    if not places or costs[0] is None or costs[1] is None or min(costs[0], costs[1]) <= 0:
        return None
    low, high = max(costs[0], costs[1]), places[-1] * min(costs[0], costs[1])
    if low > high:
        return None
    at = np.unique(np.clip(np.geomspace(low, high, _SPARSE), low, high))
    spent = [np.asarray(places, dtype=np.float64) * cost for cost in costs if cost is not None]
    rows = [np.array([np.interp(at, x, row) for row in found]) for x, found in zip(spent, curves, strict=True)]
    matrix = rows[1] - rows[0]
    band = mean_band(matrix)
    return CostCurve(
        at=_floats(at),
        log_ratio=_floats(matrix.mean(axis=0)),
        lower=_floats(band[0]) if band else None,
        upper=_floats(band[1]) if band else None,
    )


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, values))
