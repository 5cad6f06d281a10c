"""Trials, listed and shown. The caller opens and commits the transaction."""

from __future__ import annotations

from typing import Any

from service.domain.plain import to_plain
from service.domain.trial import Phase, StudyId, TrialState
from service.errors import NotFoundError
from service.store import trials as store
from service.store.database import Connection
from service.studies import get


def list_page(
    connection: Connection,
    study_id: StudyId,
    *,
    after: int = -1,
    limit: int = 100,
    arm: str | None = None,
    phase: Phase | None = None,
    state: TrialState | None = None,
) -> tuple[list[dict[str, Any]], int | None]:
    """A page of a study's trials by number, and the `after` of the next page, None at the end.

    Raises:
        NotFoundError: There is no such study, or it has no such arm.
    """
    study = get(connection, study_id).study
    if arm is not None and arm not in {entry.name for entry in study.arms}:
        known = ", ".join(entry.name for entry in study.arms)
        raise NotFoundError(f"study {study_id} has no arm '{arm}'; it has {known}")
    found = store.list_trials(connection, study_id, after=after, limit=limit + 1, arm=arm, phase=phase, state=state)
    return [_plain(row) for row in found[:limit]], found[limit - 1]["number"] if len(found) > limit else None


def show(connection: Connection, study_id: StudyId, number: int) -> dict[str, Any]:
    """One trial with its attempts and measurements; raises NotFoundError."""
    get(connection, study_id)
    trial = store.get_trial(connection, study_id, number)
    if trial is None:
        raise NotFoundError(f"study {study_id} has no trial {number}")
    return _plain(trial)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without the ledger's own id, and without NaN, which JSON has not."""
    return {key: to_plain(value) for key, value in row.items() if key != "id"}
