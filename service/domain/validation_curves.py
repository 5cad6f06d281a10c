"""Time to target: how soon the chosen configurations reach what the baseline reaches in the end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.domain.report_input import ReportInput
from service.domain.statistics import Effect, Interval, clopper_pearson, estimate_effect, mean
from service.domain.trial import Outcome, TrialRecord, ValidationCurve


@dataclass(frozen=True)
class TargetTime:
    """One arm's way to the target.

    Attributes:
        n_runs: Confirm runs with validation values, diverged ones included.
        n_hits: Those that reached the target; a run that diverged later did not.
        hit_rate: Mean over replicates of the share of their runs; None without runs.
        hit_interval_95: Clopper-Pearson interval of `n_hits` of `n_runs`, as if runs were independent.
        restricted_mean_epochs: Mean over replicates of the mean number of epochs to the target, where a run that
            misses it counts with the horizon; None without runs.
        restricted_mean_steps: The same in training steps.
    """

    arm: str
    n_runs: int
    n_hits: int
    hit_rate: float | None
    hit_interval_95: Interval
    restricted_mean_epochs: float | None
    restricted_mean_steps: float | None


@dataclass(frozen=True)
class TimeToTarget:
    """A pair.

    Attributes:
        target: Median over the baseline's confirm runs of their best validation endpoint; None without runs.
        horizon_epochs: Epochs of a full run.
        arms: Baseline first.
        difference: Challenger minus baseline in restricted mean epochs, with its t interval over replicates, paired
            by seed.
    """

    baseline: str
    challenger: str
    target: float | None
    horizon_epochs: int | None
    arms: tuple[TargetTime, ...]
    difference: Effect | None


@dataclass(frozen=True)
class _Hit:
    is_hit: bool
    epochs: float
    steps: float


_Hits = Mapping[int, Mapping[int, _Hit]]
"""By replicate, then seed."""


def time_to_target(source: ReportInput, baseline: str, challenger: str) -> TimeToTarget:
    """Hit rate and restricted mean time of both arms of a pair.

    Source: restricted mean survival time (Royston & Parmar 2013). No run is censored before the horizon, so that it
    is the plain mean of min(time, horizon). Time is that of the first epoch whose validation endpoint is at or below
    the target; epoch 0 is the untrained model.
    """
    curves = {curve.trial: curve for curve in source.curves if curve.epochs}
    target = _target(source, baseline, curves)
    runs = [entry for name in (baseline, challenger) for entry in _runs(source, name, curves)]
    if target is None or not runs:
        return TimeToTarget(baseline, challenger, None, None, (), None)
    horizon, steps = max(curve.epochs[-1] for _, curve in runs), max(curve.steps[-1] for _, curve in runs)
    hits = [_hits(_runs(source, name, curves), target, horizon, steps) for name in (baseline, challenger)]
    arms = tuple(_describe(name, entry) for name, entry in zip((baseline, challenger), hits, strict=True))
    return TimeToTarget(baseline, challenger, target, horizon, arms, _difference(*hits))


def _runs(
    source: ReportInput, arm: str, curves: Mapping[int, ValidationCurve]
) -> list[tuple[TrialRecord, ValidationCurve]]:
    confirmed = [trial for cell in source.cells_of(arm) for _, trial in sorted(cell.confirm.items())]
    return [(trial, curves[trial.number]) for trial in confirmed if trial.number in curves]


def _target(source: ReportInput, baseline: str, curves: Mapping[int, ValidationCurve]) -> float | None:
    best = [
        min(known)
        for trial, curve in _runs(source, baseline, curves)
        if trial.outcome is Outcome.FINISHED and (known := [v for v in curve.values if v is not None])
    ]
    return statistics.median(best) if best else None


def _hits(
    runs: Sequence[tuple[TrialRecord, ValidationCurve]], target: float, horizon: int, n_steps: int
) -> dict[int, dict[int, _Hit]]:
    found: dict[int, dict[int, _Hit]] = {}
    for trial, curve in runs:
        places = [i for i, value in enumerate(curve.values) if value is not None and value <= target]
        if places and trial.outcome is Outcome.FINISHED:
            hit = _Hit(True, float(curve.epochs[places[0]]), float(curve.steps[places[0]]))
        else:
            hit = _Hit(False, float(horizon), float(n_steps))
        found.setdefault(trial.replicate, {})[trial.seed] = hit
    return found


def _describe(arm: str, hits: _Hits) -> TargetTime:
    runs = [hit for seeds in hits.values() for hit in seeds.values()]
    if not runs:
        return TargetTime(arm, 0, 0, None, clopper_pearson(0, 0).interval_95, None, None)
    means = [
        mean([mean([measure(hit) for hit in seeds.values()]) for seeds in hits.values()])
        for measure in (lambda hit: float(hit.is_hit), lambda hit: hit.epochs, lambda hit: hit.steps)
    ]
    n_hits = sum(hit.is_hit for hit in runs)
    interval = clopper_pearson(n_hits, len(runs)).interval_95
    return TargetTime(arm, len(runs), n_hits, means[0], interval, means[1], means[2])


def _difference(baseline: _Hits, challenger: _Hits) -> Effect:
    means = []
    for replicate in sorted(baseline.keys() & challenger.keys()):
        first, second = baseline[replicate], challenger[replicate]
        if common := sorted(first.keys() & second.keys()):
            means.append(mean([second[seed].epochs - first[seed].epochs for seed in common]))
    effect = estimate_effect(means)
    return effect if math.isfinite(effect.mean) else estimate_effect([])
