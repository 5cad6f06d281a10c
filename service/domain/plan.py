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


def plan_cell(study: Study, trials: Sequence[TrialRecord]) -> CellPlan:
    """Decide what a cell does next.

    Args:
        study: The frozen specification.
        trials: All trials of one cell, in any order.
    """
    n_failed = sum(t.state.is_finished and t.outcome is not None and not t.outcome.counts for t in trials)
    if n_failed > study.limits.failures:
        reason = f"{n_failed} trials of the cell failed; limits.failures is {study.limits.failures}"
        return CellPlan(CellState.FAILED, reason=reason)
    search = [t for t in trials if t.phase is Phase.SEARCH]
    counted = [t for t in search if t.outcome is not None and t.outcome.counts]
    n_open = sum(not t.state.is_finished for t in search)
    is_spent = is_budget_spent(study.search, counted)
    if is_spent and n_open:
        return CellPlan(CellState.SEARCH)
    if len(counted) < study.search.trials and not is_spent:
        missing = study.search.trials - len(counted) - n_open
        if study.search.is_stepwise:
            missing = min(missing, study.search.parallelism - n_open)
        return CellPlan(CellState.SEARCH, n_suggestions=max(0, missing))
    return _plan_reruns(study, counted, trials)


def is_budget_spent(search: SearchPlan, counted: Iterable[TrialRecord]) -> bool:
    """True where the counted trials of a cell have used what `search.budget` allows; False without one."""
    if search.budget is None:
        return False
    ((unit, most),) = search.budget.items()
    used = sum((t.n_steps if unit == "steps" else t.duration_s) or 0 for t in counted)
    return used >= most


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
