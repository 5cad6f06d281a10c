"""One declared pair: the paired runs, the effect over replicates, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.plain import to_plain
from service.domain.report_input import ReportInput, endpoint, has_diverged
from service.domain.ruling import ArmStanding, Evidence
from service.domain.sequential import estimate_at_look
from service.domain.statistics import (
    Effect,
    VarianceComponents,
    estimate_effect,
    holm,
    mean,
    variance_components,
)
from service.domain.trial import Phase, TrialRecord
from service.domain.verdict import Verdict, judge
from service.domain.wording import budget_words, count, listing, relative_change


@dataclass(frozen=True)
class PairedRun:
    """Two confirm runs on the same seed; trials by number, endpoints with a diverged run at chance level."""

    seed: int
    baseline_trial: int
    challenger_trial: int
    baseline_value: float
    challenger_value: float
    baseline_diverged: bool
    challenger_diverged: bool
    log_ratio: float


@dataclass(frozen=True)
class ReplicateDifference:
    """D_r of one replicate: the mean of its paired log ratios, with the runs behind it."""

    replicate: int
    mean: float
    runs: tuple[PairedRun, ...]


@dataclass(frozen=True)
class Measurement:
    """A pair before the verdict, which needs the other pairs' p-values."""

    baseline: str
    challenger: str
    replicates: tuple[ReplicateDifference, ...]
    effect: Effect
    components: VarianceComponents
    blockers: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def p_value(self) -> float | None:
        """The pair's p for Holm's correction; None while the budgets are unequal, when nothing may be tested."""
        return None if self.blockers else self.effect.p_value


@dataclass(frozen=True)
class Comparison:
    """A pair with its verdict."""

    measurement: Measurement
    holm_p: float | None
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """JSON form: the effect as log ratio and as relative change, and every run behind it."""
        m = self.measurement
        effect = to_plain(m.effect)
        for key in ("interval_95", "interval_90"):
            effect[f"relative_{key}"] = _relative(effect[key])
        effect["relative_change"] = to_plain(relative_change(m.effect.mean)) if m.effect.n else None
        effect["mean"] = m.effect.mean if m.effect.n else None
        return {
            "baseline": m.baseline,
            "challenger": m.challenger,
            "effect": effect,
            "holm_p": self.holm_p,
            "within_sd": m.components.within_sd,
            "between_sd": m.components.between_sd,
            "replicates": to_plain(m.replicates),
            "verdict": to_plain(self.verdict),
            "blockers": list(m.blockers),
            "remarks": list(m.remarks),
        }


def _relative(interval: Mapping[str, float | None] | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {end: None if x is None else to_plain(relative_change(x)) for end, x in interval.items()}


def compare_pairs(source: ReportInput, standings: Mapping[str, ArmStanding]) -> tuple[Comparison, ...]:
    """All declared pairs: measured one by one, adjusted and judged together.

    Args:
        source: The study.
        standings: What speaks against each arm, by name.
    """
    measurements = [measure_pair(source, baseline, challenger) for baseline, challenger in source.compare]
    adjusted = holm([m.p_value for m in measurements])
    return tuple(
        Comparison(m, p, judge(_evidence(source, m, p, standings))) for m, p in zip(measurements, adjusted, strict=True)
    )


def _evidence(
    source: ReportInput, pair: Measurement, holm_p: float | None, standings: Mapping[str, ArmStanding]
) -> Evidence:
    return Evidence(
        metric=source.metric,
        margin=source.margin,
        n_planned=source.replicates,
        n_trials=source.trials_per_cell,
        search_limit=budget_words(source.search_budget),
        n_seeds=source.confirm_seeds,
        baseline=standings[pair.baseline],
        challenger=standings[pair.challenger],
        effect=pair.effect,
        holm_p=holm_p,
        n_pairs=len(source.compare),
        blockers=pair.blockers,
        remarks=pair.remarks,
        cost_per_replicate_s=source.cost_per_replicate_s,
    )


def measure_pair(source: ReportInput, baseline: str, challenger: str) -> Measurement:
    """Pair the confirm runs of two arms and estimate the effect."""
    differences = []
    for replicate in range(source.replicates):
        cells = (source.cells[baseline, replicate], source.cells[challenger, replicate])
        if all(source.has_searched(cell) for cell in cells):
            runs = pair_runs(cells[0].confirm, cells[1].confirm, source.chance_level)
            if runs:
                differences.append(ReplicateDifference(replicate, mean([r.log_ratio for r in runs]), tuple(runs)))
    effect = _effect(source, [d.mean for d in differences])
    components = variance_components([[run.log_ratio for run in d.runs] for d in differences])
    blockers = tuple(text for arm in (baseline, challenger) if (text := budget_gap(source, arm)))
    remarks = () if blockers else _remarks(source, (baseline, challenger), differences)
    return Measurement(baseline, challenger, tuple(differences), effect, components, blockers, remarks)


def _effect(source: ReportInput, means: Sequence[float]) -> Effect:
    """Replicates that were added after a look widen the interval for good; those that the spec announced do not."""
    if source.looks and not source.was_extended_after_look:
        return estimate_at_look(means, source.looks)
    return estimate_effect(means, is_anytime_valid=source.was_extended_after_look)


def pair_runs(
    baseline: Mapping[int, TrialRecord], challenger: Mapping[int, TrialRecord], chance_level: float
) -> list[PairedRun]:
    """The runs on common seeds, in the order of the baseline's seed indices."""
    common = sorted(baseline.keys() & challenger.keys(), key=lambda seed: (baseline[seed].seed_index, seed))
    return [_pair(seed, baseline[seed], challenger[seed], chance_level) for seed in common]


def _pair(seed: int, baseline: TrialRecord, challenger: TrialRecord, chance_level: float) -> PairedRun:
    values = endpoint(baseline, chance_level), endpoint(challenger, chance_level)
    return PairedRun(
        seed=seed,
        baseline_trial=baseline.number,
        challenger_trial=challenger.number,
        baseline_value=values[0],
        challenger_value=values[1],
        baseline_diverged=has_diverged(baseline),
        challenger_diverged=has_diverged(challenger),
        log_ratio=math.log(values[1]) - math.log(values[0]),
    )


def budget_gap(source: ReportInput, arm: str) -> str | None:
    """What the arm still has to run, such as "sgd 34 of 60" (search trials); None where nothing is to come.

    Where a budget in steps or seconds ends a search, its trials are not known beforehand, and searches are counted.
    """
    if source.is_finished:
        return None
    cells = source.cells_of(arm)
    n_over = sum(source.has_searched(cell) for cell in cells)
    if n_over < len(cells):
        if source.search_budget is not None:
            return f"{arm} {n_over} of {count(len(cells), 'search')}"
        n_searched = sum(min(len(cell.searched), source.trials_per_cell) for cell in cells)
        return f"{arm} {n_searched} of {source.trials_per_cell * source.replicates}"
    if any(cell.is_open or not cell.of_phase(Phase.CONFIRM) for cell in cells):
        n_confirmed = sum(len(cell.confirm) for cell in cells)
        return f"{arm} {n_confirmed} of {source.confirm_seeds * source.replicates} confirm runs"
    return None


def _remarks(source: ReportInput, arms: tuple[str, str], differences: Sequence[ReplicateDifference]) -> tuple[str, ...]:
    """What is missing from the replicates, in sentences."""
    remarks = []
    left_out = sorted(set(range(source.replicates)) - {d.replicate for d in differences})
    incomplete = [r for r in left_out if not all(source.has_searched(source.cells[arm, r]) for arm in arms)]
    if incomplete:
        reached = [f"{arm} {_n_searched(source, arm, incomplete)}" for arm in arms]
        most = "at most " if source.search_budget is not None else ""
        total = f"{most}{source.trials_per_cell * len(incomplete)}"
        remarks.append(f"{_left_out(incomplete)}: search trials there, of {total} each: {listing(reached)}.")
    if unpaired := [r for r in left_out if r not in incomplete]:
        remarks.append(f"{_left_out(unpaired)}: no confirm runs on common seeds.")
    if short := [d for d in differences if len(d.runs) < source.confirm_seeds]:
        n_missing = sum(source.confirm_seeds - len(d.runs) for d in short)
        where = _replicates([d.replicate for d in short])
        remarks.append(f"{count(n_missing, 'confirm pair')} missing in {where}: common seeds only there.")
    return tuple(remarks)


def _n_searched(source: ReportInput, arm: str, replicates: Sequence[int]) -> int:
    return sum(min(source.trials_per_cell, len(source.cells[arm, replicate].searched)) for replicate in replicates)


def _left_out(replicates: Sequence[int]) -> str:
    where = _replicates(replicates)
    return f"{where[0].upper()}{where[1:]} left out"


def _replicates(replicates: Sequence[int]) -> str:
    noun = "replicate" if len(replicates) == 1 else "replicates"
    return f"{noun} {listing([str(replicate) for replicate in replicates])}"
