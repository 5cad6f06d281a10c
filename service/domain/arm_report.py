"""One arm of a report: its winners, its confirmed endpoint, its divergence and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.domain.ranges import EdgeFinding, find_edges
from service.domain.report_input import REPORTED_PHASES, ArmInput, Cell, ReportInput, endpoint, has_diverged
from service.domain.ruling import ArmStanding
from service.domain.statistics import Interval, Rate, clopper_pearson, estimate_effect, mean
from service.domain.trial import Outcome, Phase, TrialRecord


@dataclass(frozen=True)
class Winner:
    """The configuration that one replicate chose.

    Attributes:
        config: `cell_number` of its search trial.
        trial: The search trial's number; None where that trial is not among the records.
        params: Its hyperparameters.
        search_value: Validation endpoint of its one search run: optimistic, because it was chosen for it.
        select_mean: Geometric mean of the validation endpoint over its select runs; None where one diverged, or
            there are none.
        n_select: Its select runs.
    """

    replicate: int
    config: int
    trial: int | None
    params: Mapping[str, float | int | str | bool]
    search_value: float | None
    select_mean: float | None
    n_select: int


@dataclass(frozen=True)
class ConfirmRun:
    """One held-out run of a winner; `value` is the test endpoint, chance level where it diverged."""

    replicate: int
    seed_index: int
    seed: int
    trial: int
    value: float
    diverged: bool
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ArmReport:
    """One arm.

    Attributes:
        winners: By replicate; replicates that have not chosen yet are missing.
        endpoint: Geometric mean test endpoint: over replicates of the mean log over seeds; None without runs.
        endpoint_interval_95: t interval over replicates, back from the log; None for fewer than 2 replicates.
        test_accuracy: Mean over replicates of the mean over seeds, 0 to 1; None where no run reports it.
        search_divergence: Of the search trials that count.
        confirm_divergence: Of the confirm runs.
        n_search: Search trials that count towards the budget.
        n_search_planned: T times replicates; of cells whose search a budget ended, what they have.
        n_pruned: Search trials that the pruner ended; they are among `n_search`.
        n_runs: Trainings that say something (finished, diverged, pruned), by phase.
        n_runs_planned: The same as planned, by phase.
        n_not_counted: Runs that were lost, failed or cancelled, over all phases.
        cpu_s: Processor seconds of all runs that report them; None where none does.
        duration_s: Seconds of training, likewise.
        edges: Winners at the edges of their ranges.
        confirm_runs: The raw values behind the endpoint.
    """

    name: str
    optimizer: str
    family: str
    winners: tuple[Winner, ...]
    endpoint: float | None
    endpoint_interval_95: Interval | None
    test_accuracy: float | None
    search_divergence: Rate
    confirm_divergence: Rate
    n_search: int
    n_search_planned: int
    n_pruned: int
    n_runs: Mapping[str, int]
    n_runs_planned: Mapping[str, int]
    n_not_counted: int
    cpu_s: float | None
    duration_s: float | None
    edges: tuple[EdgeFinding, ...]
    confirm_runs: tuple[ConfirmRun, ...]

    @property
    def standing(self) -> ArmStanding:
        """What speaks against believing a verdict about the arm."""
        narrow = tuple(edge.text for edge in self.edges if edge.is_narrow)
        return ArmStanding(self.name, self.confirm_divergence.n, self.confirm_divergence.count, narrow)


def describe_arm(source: ReportInput, arm: ArmInput) -> ArmReport:
    """Everything that the report says of one arm by itself."""
    cells = source.cells_of(arm.name)
    trials = [trial for cell in cells for trial in cell.trials]
    runs = [run for cell in cells for run in _confirm_runs(cell, source.chance_level)]
    center, interval = _confirmed_endpoint(runs)
    searched = [trial for cell in cells for trial in cell.searched]
    return ArmReport(
        name=arm.name,
        optimizer=arm.optimizer,
        family=arm.family,
        winners=tuple(winner for cell in cells if (winner := _winner(cell)) is not None),
        endpoint=center,
        endpoint_interval_95=interval,
        test_accuracy=_test_accuracy(runs),
        search_divergence=clopper_pearson(sum(map(_is_diverged, searched)), len(searched)),
        confirm_divergence=clopper_pearson(sum(run.diverged for run in runs), len(runs)),
        n_search=len(searched),
        n_search_planned=_planned_searches(source, cells),
        n_pruned=sum(trial.outcome is Outcome.PRUNED for trial in searched),
        n_runs=_runs_by_phase(trials),
        n_runs_planned=_planned_runs(source, cells),
        n_not_counted=sum(t.outcome is not None and not t.outcome.counts for t in trials),
        cpu_s=_total(trial.cpu_s for trial in trials),
        duration_s=_total(trial.duration_s for trial in trials),
        edges=find_edges(arm, cells),
        confirm_runs=tuple(runs),
    )


def _winner(cell: Cell) -> Winner | None:
    if cell.winner is None:
        return None
    search, trial = cell.search_trial(cell.winner), cell.winning_trial
    select = [t for t in cell.of_phase(Phase.SELECT) if t.config == cell.winner]
    return Winner(
        replicate=cell.replicate,
        config=cell.winner,
        trial=search.number if search else None,
        params=dict(trial.params) if trial else {},
        search_value=search.value if search else None,
        select_mean=_geometric_mean([t.value for t in select]),
        n_select=len(select),
    )


def _geometric_mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None and 0 < value < math.inf]
    if not known or len(known) < len(values):
        return None
    return math.exp(mean([math.log(value) for value in known]))


def _confirm_runs(cell: Cell, chance_level: float) -> list[ConfirmRun]:
    runs = sorted(cell.confirm.values(), key=lambda trial: (trial.seed_index, trial.number))
    return [
        ConfirmRun(
            replicate=cell.replicate,
            seed_index=trial.seed_index,
            seed=trial.seed,
            trial=trial.number,
            value=endpoint(trial, chance_level),
            diverged=has_diverged(trial),
            metrics=dict(trial.metrics),
        )
        for trial in runs
    ]


def _by_replicate(pairs: Iterable[tuple[int, float]]) -> list[float]:
    """Mean of each replicate's values, by replicate."""
    groups: dict[int, list[float]] = {}
    for replicate, value in pairs:
        groups.setdefault(replicate, []).append(value)
    return [mean(values) for _, values in sorted(groups.items())]


def _confirmed_endpoint(runs: list[ConfirmRun]) -> tuple[float | None, Interval | None]:
    effect = estimate_effect(_by_replicate((run.replicate, math.log(run.value)) for run in runs))
    if effect.n == 0:
        return None, None
    interval = effect.interval_95
    back = None if interval is None else Interval(_exp(interval.lower), _exp(interval.upper))
    return _exp(effect.mean), back


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def _test_accuracy(runs: list[ConfirmRun]) -> float | None:
    known = [(run.replicate, run.metrics["test_accuracy"]) for run in runs if "test_accuracy" in run.metrics]
    return mean(_by_replicate(known)) if known else None


def _is_diverged(trial: TrialRecord) -> bool:
    return trial.outcome is Outcome.DIVERGED


def _runs_by_phase(trials: list[TrialRecord]) -> dict[str, int]:
    counted = [t.phase for t in trials if t.outcome is not None and t.outcome.counts]
    return {phase.value: counted.count(phase) for phase in REPORTED_PHASES}


def _planned_searches(source: ReportInput, cells: Sequence[Cell]) -> int:
    if source.search_budget is None:
        return source.trials_per_cell * source.replicates
    return sum(len(cell.searched) if source.has_searched(cell) else source.trials_per_cell for cell in cells)


def _planned_runs(source: ReportInput, cells: Sequence[Cell]) -> dict[str, int]:
    reruns = (source.select_top * source.select_seeds, source.confirm_seeds)
    planned = (_planned_searches(source, cells), *(n * source.replicates for n in reruns))
    return {phase.value: n for phase, n in zip(REPORTED_PHASES, planned, strict=True)}


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None
