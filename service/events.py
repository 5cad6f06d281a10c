"""A study's events for those who follow it. The caller opens and commits the transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.domain.trial import StudyId
from service.store import events as store
from service.store.database import Connection
from service.studies import get


@dataclass(frozen=True)
class EventBatch:
    """What happened after some revision.

    Attributes:
        events: In order, without gaps: revision, kind, data, created_at.
        is_complete: True where the study has ended, no trial runs any more and these are its last events.
    """

    events: list[dict[str, Any]]
    is_complete: bool


def read_after(connection: Connection, study_id: StudyId, after: int) -> EventBatch:
    """Events above the revision `after`, the earliest first, some hundreds at most; raises NotFoundError."""
    row = get(connection, study_id)
    events = store.events_after(connection, study_id, after)
    is_settled = row.is_finished and not row.counts["n_waiting"] and not row.counts["n_running"]
    last = events[-1]["revision"] if events else after
    return EventBatch(events, is_settled and last >= row.revision)
