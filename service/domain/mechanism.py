"""What the optimizers did to the weights: growth of norms, effective learning rate, share of projected steps.

A layer that a normalization follows is scale-invariant: the loss ignores its norm, which then sets only the
effective learning rate lr / norm^2. Momentum makes such norms grow and the effective rate fall; SGDP and AdamP
project the growing part away (Heo et al., ICLR 2021). Only confirm runs that finished are used, since they run the
chosen configurations.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.plain import to_plain
from service.domain.trial import LayerMeasurement, Outcome, Phase, TrialRecord


@dataclass(frozen=True)
class LayerSummary:
    """One scale-invariant layer of one arm: medians over the arm's confirm runs.

    Attributes:
        norm_growth: Final over initial norm of the weight; above 1 means that it grew.
        effective_lr_ratio: Final over initial effective learning rate at an equal learning rate (the schedule is
            divided out): 1 / growth^2 of each run.
        projection_rate: Share of all steps that were projected, 0 to 1; None where the optimizer has no projection.
        n_runs: Confirm runs behind the medians.
    """

    arm: str
    layer: str
    norm_growth: float | None
    effective_lr_ratio: float | None
    projection_rate: float | None
    n_runs: int


@dataclass(frozen=True)
class ArmMechanism:
    """One line for an arm: medians over its scale-invariant layers, and how many those are."""

    arm: str
    norm_growth: float | None
    effective_lr_ratio: float | None
    projection_rate: float | None
    n_layers: int


@dataclass(frozen=True)
class LayerRun:
    """One scale-invariant layer in one confirm run: what the medians are of. Growth as in `LayerSummary`."""

    trial: int
    layer: str
    norm_growth: float | None
    projection_rate: float | None

    @property
    def effective_lr_ratio(self) -> float | None:
        """As in `LayerSummary`."""
        return None if self.norm_growth is None else self.norm_growth**-2


@dataclass(frozen=True)
class Mechanism:
    """Layers by arm and name, arms in the order in which they were declared; empty without measurements."""

    layers: tuple[LayerSummary, ...]
    arms: tuple[ArmMechanism, ...]
    runs: tuple[LayerRun, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"layers": to_plain(self.layers), "arms": to_plain(self.arms), "runs": to_plain(self.runs)}


def describe_mechanism(
    arms: Sequence[str], trials: Iterable[TrialRecord], layers: Iterable[LayerMeasurement]
) -> Mechanism:
    """Summarize the layer measurements of the finished confirm runs.

    Args:
        arms: Names in the order of the report.
        trials: Any trials; others than finished confirm runs are ignored.
        layers: Any measurements, in any order; those of other trials and of layers that are not scale-invariant
            are ignored.
    """
    arm_of = {t.number: t.arm for t in trials if t.phase is Phase.CONFIRM and t.outcome is Outcome.FINISHED}
    series: dict[tuple[str, str], dict[int, list[LayerMeasurement]]] = {}
    for entry in layers:
        if entry.is_scale_invariant and entry.trial in arm_of:
            runs = series.setdefault((arm_of[entry.trial], entry.layer), {})
            runs.setdefault(entry.trial, []).append(entry)
    by_place = {place: [_run(entries) for _, entries in sorted(found.items())] for place, found in series.items()}
    places = [(arm, layer) for arm in arms for layer in sorted(layer for owner, layer in series if owner == arm)]
    summaries = tuple(_summarize(arm, layer, by_place[arm, layer]) for arm, layer in places)
    lines = tuple(_arm_line(arm, summaries) for arm in arms) if summaries else ()
    return Mechanism(summaries, lines, tuple(run for place in places for run in by_place[place]))


def _run(measurements: list[LayerMeasurement]) -> LayerRun:
    """One layer of one run, from its epochs in any order; epoch 0 is the state before the first step."""
    epochs = sorted(measurements, key=lambda entry: entry.epoch)
    first, last = epochs[0].weight_norm, epochs[-1].weight_norm
    is_measured = epochs[0].epoch == 0 and len(epochs) > 1 and first > 0 and last > 0
    growth = last / first if is_measured and math.isfinite(last / first) else None
    rates = [e.projection_rate for e in epochs if e.epoch > 0 and e.projection_rate is not None]
    return LayerRun(epochs[0].trial, epochs[0].layer, growth, statistics.fmean(rates) if rates else None)


def _summarize(arm: str, layer: str, runs: list[LayerRun]) -> LayerSummary:
    return LayerSummary(
        arm=arm,
        layer=layer,
        norm_growth=_median(run.norm_growth for run in runs),
        effective_lr_ratio=_median(run.effective_lr_ratio for run in runs),
        projection_rate=_median(run.projection_rate for run in runs),
        n_runs=len(runs),
    )


def _arm_line(arm: str, summaries: Sequence[LayerSummary]) -> ArmMechanism:
    own = [entry for entry in summaries if entry.arm == arm]
    return ArmMechanism(
        arm=arm,
        norm_growth=_median(entry.norm_growth for entry in own),
        effective_lr_ratio=_median(entry.effective_lr_ratio for entry in own),
        projection_rate=_median(entry.projection_rate for entry in own),
        n_layers=len(own),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
