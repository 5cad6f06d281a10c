"""What a cell does next: pure decisions from its trials, the same at every look.

A cell searches T configurations, re-runs the best few on fresh seeds (select) and the winner on held-out seeds
(confirm). Only runs that say something about their parameters count towards T: a lost worker's do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.domain.study import SearchPlan, Study
from service.domain.trial import Phase, TrialRecord


class CellState(StrEnum):
    """Where a cell stands."""

    SEARCH = "search"
    SELECT = "select"
    CONFIRM = "confirm"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class Rerun:
    """A configuration to run again on a fresh seed.

    Attributes:
        config: `cell_number` of the search trial whose parameters are run.
        seed_index: Which of the phase's seeds, from 0.
    """

    config: int
    seed_index: int


@dataclass(frozen=True)
class CellPlan:
    """The next step of a cell.

    Attributes:
        state: The state that the cell is in now.
        n_suggestions: How many new search trials to ask the sampler for.
        reruns: Select or confirm runs to add.
        reason: Why the cell failed, where it did.
        winner: `config` of the chosen configuration, once there is one.
    """

    state: CellState
    n_suggestions: int = 0
    reruns: tuple[Rerun, ...] = ()
    reason: str | None = None
    winner: int | None = None


@dataclass
class Tally:
    """A cell's trials as counts, kept up to date trial by trial: a search of 10,000 costs a step what one of 10 does.

    Attributes:
        n_failed: Trials of any phase that finished and do not count.
        n_counted: Search trials that count.
        n_open: Search trials that have not finished.
        n_steps: Steps of the counted ones.
        duration_s: Seconds of the counted ones.
    """

    n_failed: int = 0
    n_counted: int = 0
    n_open: int = 0
    n_steps: int = 0
    duration_s: float = 0.0

    def add(self, trial: TrialRecord, sign: int = 1) -> None:
        """Count a trial, or with -1 no longer."""
        is_counted = trial.outcome is not None and trial.outcome.counts
        if trial.state.is_finished and not is_counted:
            self.n_failed += sign
        if trial.phase is not Phase.SEARCH:
            return
        if not trial.state.is_finished:
            self.n_open += sign
        if is_counted:
            self.n_counted += sign
            self.n_steps += sign * (trial.n_steps or 0)
            self.duration_s += sign * (trial.duration_s or 0.0)

    def has_spent(self, search: SearchPlan) -> bool:
        """True where the counted trials have used what `search.budget` allows; False without one."""
        if search.budget is None:
            return False
        ((unit, most),) = search.budget.items()
        return (self.n_steps if unit == "steps" else self.duration_s) >= most


def tally_of(trials: Iterable[TrialRecord]) -> Tally:
    """The counts of a cell's trials."""
    tally = Tally()
    for trial in trials:
        tally.add(trial)
    return tally


def is_budget_spent(search: SearchPlan, counted: Iterable[TrialRecord]) -> bool:
    """`Tally.has_spent` of the counted search trials of a cell."""
    return tally_of(counted).has_spent(search)


def plan_search(study: Study, tally: Tally) -> CellPlan | None:
    """Decide what a cell does next as far as counts tell: while it searches, and where it has failed; else None."""
    if tally.n_failed > study.limits.failures:
        reason = f"{tally.n_failed} trials of the cell failed; limits.failures is {study.limits.failures}"
        return CellPlan(CellState.FAILED, reason=reason)
    is_spent = tally.has_spent(study.search)
    if is_spent and tally.n_open:
        return CellPlan(CellState.SEARCH)
    if tally.n_counted < study.search.trials and not is_spent:
        missing = study.search.trials - tally.n_counted - tally.n_open
        if study.search.is_stepwise:
            missing = min(missing, study.search.parallelism - tally.n_open)
        return CellPlan(CellState.SEARCH, n_suggestions=max(0, missing))
    return None


def plan_cell(study: Study, trials: Sequence[TrialRecord]) -> CellPlan:
    """Decide what a cell does next.

    Args:
        study: The frozen specification.
        trials: All trials of one cell, in any order.
    """
    plan = plan_search(study, tally_of(trials))
    if plan is not None:
        return plan
    counted = [t for t in trials if t.phase is Phase.SEARCH and t.outcome is not None and t.outcome.counts]
    return _plan_reruns(study, counted, trials)


def _plan_reruns(study: Study, searched: Sequence[TrialRecord], trials: Sequence[TrialRecord]) -> CellPlan:
    select = [t for t in trials if t.phase is Phase.SELECT]
    if not select:
        finalists = choose_finalists(searched, study.select_top)
        reruns = tuple(Rerun(config, seed) for seed in range(study.select_seeds) for config in finalists)
        return CellPlan(CellState.SELECT, reruns=reruns)
    if any(not t.state.is_finished for t in select):
        return CellPlan(CellState.SELECT)
    winner = choose_winner(select)
    confirm = [t for t in trials if t.phase is Phase.CONFIRM]
    if not confirm:
        reruns = tuple(Rerun(winner, seed) for seed in range(study.confirm_seeds))
        return CellPlan(CellState.CONFIRM, reruns=reruns, winner=winner)
    is_open = any(not t.state.is_finished for t in confirm)
    return CellPlan(CellState.CONFIRM if is_open else CellState.FINISHED, winner=winner)


def choose_finalists(searched: Iterable[TrialRecord], top: int) -> list[int]:
    """The `top` configurations of a search with the lowest validation endpoint; ties by `cell_number`."""
    ranked = sorted(searched, key=lambda t: (_log_value(t), t.cell_number))
    return [t.config for t in ranked[:top]]


def choose_winner(select: Iterable[TrialRecord]) -> int:
    """The configuration with the lowest mean log validation endpoint over the select seeds.

    A run without a value (diverged, failed) makes its configuration's mean infinite: it wins only where all do,
    and then the lowest `config` does.
    """
    values: dict[int, list[float]] = {}
    for trial in select:
        values.setdefault(trial.config, []).append(_log_value(trial))
    return min(values, key=lambda config: (sum(values[config]) / len(values[config]), config))


def _log_value(trial: TrialRecord) -> float:
    if trial.value is None or trial.outcome is None or not trial.outcome.counts:
        return math.inf
    return math.log(trial.value)
