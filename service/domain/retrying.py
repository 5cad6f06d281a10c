"""Which failed trials may run again, and why the others may not: decided from the trials alone.

A trial is run again only where its place is still open. The coordinator asks another search trial in the place of one
that failed, and a cell that has chosen its winner has done so without the select runs that failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from service.domain.plan import is_budget_spent
from service.domain.study import Study
from service.domain.trial import Outcome, Phase, TrialRecord


def refusals(
    study: Study, trials: Iterable[TrialRecord], ended: Sequence[int], *, has_failed: bool
) -> dict[int, str | None]:
    """Why each failed trial cannot run again, None where it can, by number.

    Trials that were cancelled because the study failed are not among them: they wait again with any retry.

    Args:
        study: As it runs now.
        trials: All trials of the study.
        ended: Numbers of the failed ones in the order in which they ended.
        has_failed: True where the study ended as FAILED, so that nothing was asked in the place of its last failures.
    """
    cells: dict[tuple[str, int], list[TrialRecord]] = {}
    for trial in trials:
        cells.setdefault((trial.arm, trial.replicate), []).append(trial)
    order = {number: position for position, number in enumerate(ended)}
    found: dict[int, str | None] = {}
    for cell in cells.values():
        found.update(_refusals_of_cell(study, cell, order, has_failed=has_failed))
    return found


def _refusals_of_cell(
    study: Study, cell: Sequence[TrialRecord], order: Mapping[int, int], *, has_failed: bool
) -> dict[int, str | None]:
    failed = sorted((t for t in cell if _has_failed(t)), key=lambda t: order[t.number])
    replaced = _replaced(study, cell, [t for t in failed if t.phase is Phase.SEARCH])
    found: dict[int, str | None] = {}
    for trial in failed:
        if trial.phase is Phase.SEARCH:
            found[trial.number] = _search_refusal(study, cell, trial, replaced, has_failed=has_failed)
        elif trial.phase is Phase.SELECT:
            found[trial.number] = _select_refusal(cell, trial)
        else:
            found[trial.number] = None
    return found


def _has_failed(trial: TrialRecord) -> bool:
    return trial.outcome is not None and not trial.outcome.counts and trial.outcome is not Outcome.CANCELLED


def _replaced(study: Study, cell: Sequence[TrialRecord], failed: Sequence[TrialRecord]) -> dict[int, int]:
    """The trial that was asked in the place of each failed search trial, where one was.

    A search that asks step by step goes on with its next trial; one that asked all T at once asks beyond T, once for
    each failure, in their order.
    """
    search = sorted((t for t in cell if t.phase is Phase.SEARCH), key=lambda t: t.cell_number)
    later = list(search if study.search.is_stepwise else search[study.search.trials :])
    found: dict[int, int] = {}
    for trial in failed:
        substitute = next((t for t in later if t.number > trial.number), None)
        if substitute is not None:
            found[trial.number] = substitute.number
            later.remove(substitute)
    return found


def _search_refusal(
    study: Study, cell: Sequence[TrialRecord], trial: TrialRecord, replaced: Mapping[int, int], *, has_failed: bool
) -> str | None:
    if (substitute := replaced.get(trial.number)) is not None:
        return f"trial {trial.number} failed and trial {substitute} was asked in its place"
    search = [t for t in cell if t.phase is Phase.SEARCH]
    counted = [t for t in search if t.outcome is not None and t.outcome.counts]
    has_moved = any(t.phase is not Phase.SEARCH for t in cell)
    if has_moved or len(counted) >= study.search.trials or is_budget_spent(study.search, counted):
        return f"the search of {_place(trial)} has ended without trial {trial.number}"
    if not has_failed:
        return f"trial {trial.number} failed and the search asks another in its place"
    return None


def _select_refusal(cell: Sequence[TrialRecord], trial: TrialRecord) -> str | None:
    confirm = min((t.number for t in cell if t.phase is Phase.CONFIRM), default=None)
    if confirm is None:
        return None
    return f"the winner of {_place(trial)} was chosen without trial {trial.number}; trial {confirm} confirms it"


def too_many_failures(study: Study, trials: Iterable[TrialRecord], revived: Iterable[int]) -> str | None:
    """Why the study would fail again at once if those trials, and only they, ran again; None where it would not."""
    again, n_failed = set(revived), dict[tuple[str, int], int]()
    for trial in trials:
        if trial.outcome is not None and not trial.outcome.counts and trial.number not in again:
            place = trial.arm, trial.replicate
            n_failed[place] = n_failed.get(place, 0) + 1
            if n_failed[place] > study.limits.failures:
                return (
                    f"more than {study.limits.failures} trials (limits.failures) of {_place(trial)} would still have "
                    "failed, and the study with them; retry all of its failed trials together"
                )
    return None


def _place(trial: TrialRecord) -> str:
    return f"arm {trial.arm}, replicate {trial.replicate}"
