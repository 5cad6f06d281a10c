"""What the Optuna storage reads: studies with their cells, and the trials that changed since the last look.

Nothing here writes, and every transaction says so to Postgres.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from service.domain.trial import Outcome, Phase, StudyId, TrialState
from service.store.database import Database


@dataclass(frozen=True)
class TrialLine:
    """A trial with all that Optuna's tools can show of it.

    Attributes:
        id: The row's; unique in the ledger.
        number: Unique in the study, rising in the order in which trials were added.
        rungs: Validation endpoint by epoch; None where it was no number.
    """

    id: int
    number: int
    arm: str
    cell_id: int
    replicate: int
    phase: Phase
    cell_number: int
    config: int
    seed_index: int
    seed: int
    state: TrialState
    outcome: Outcome | None
    reason: str | None
    attempt: int
    params: Mapping[str, Any]
    value: float | None
    test_value: float | None
    metrics: Mapping[str, float]
    duration_s: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    rungs: Mapping[int, float | None]


@dataclass(frozen=True)
class Look:
    """What a study's trials have become.

    Attributes:
        revision: Of the study, at this look.
        trials: Those that changed since the revision that was asked about, by number; running ones always.
    """

    revision: int
    trials: list[TrialLine]


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """A transaction that sees one state of the ledger, in which Postgres refuses every write."""
    with database.transaction() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield connection


_LINES = """
    SELECT t.id, t.number, a.name AS arm, t.cell_id, c.replicate, t.phase, t.cell_number, t.config, t.seed_index,
           t.seed, t.state, t.outcome, t.reason, t.attempt, t.params, t.value, t.test_value, t.metrics, t.duration_s,
           t.created_at, t.started_at, t.finished_at, m.epochs, m.values
    FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
    LEFT JOIN LATERAL (
        SELECT array_agg(epoch ORDER BY epoch) AS epochs, array_agg(value ORDER BY epoch) AS values
        FROM measurements WHERE trial_id = t.id
    ) m ON true
"""
_ALL = text(f"{_LINES} WHERE t.study_id = :study_id ORDER BY t.number")
# One index for each of the three: an OR over them would scan the study at every look.
_CHANGED = text(f"""{_LINES}
    WHERE t.id IN (
        SELECT id FROM trials WHERE study_id = :study_id AND state = 'RUNNING'
        UNION ALL SELECT id FROM trials WHERE study_id = :study_id AND number > :last_number
        UNION ALL SELECT id FROM trials WHERE study_id = :study_id AND number IN (
            SELECT (e.data ->> 'number')::int FROM events e
            WHERE e.study_id = :study_id AND e.revision > :since AND e.kind = 'trial')
    )
    ORDER BY t.number
""")
_TOLD_BY_TRIAL = ("trial", "trials_added", "cell", "look", "submitted")
"""Events after which the trials that changed are known: each names its own, or none changed."""


def look(connection: Connection, study_id: StudyId, since: int | None, last_number: int) -> Look | None:
    """Trials that changed after revision `since`, all where it is None; None where there is no such study.

    Args:
        since: `revision` of the last look.
        last_number: Highest number that was seen, -1 for none.
    """
    heads = text("""
        SELECT s.revision, EXISTS (
            SELECT 1 FROM events e
            WHERE e.study_id = s.id AND e.revision > :since AND NOT e.kind = ANY(:known)) AS is_whole
        FROM studies s WHERE s.id = :study_id
    """)
    arguments = {"study_id": study_id, "since": -1 if since is None else since, "known": list(_TOLD_BY_TRIAL)}
    head = connection.execute(heads, arguments).one_or_none()
    if head is None:
        return None
    if since is None or head.is_whole:
        rows = connection.execute(_ALL, {"study_id": study_id})
    else:
        changed = {"study_id": study_id, "since": since, "last_number": last_number}
        rows = connection.execute(_CHANGED, changed)
    return Look(head.revision, [_line(row) for row in rows.mappings()])


def _line(row: RowMapping) -> TrialLine:
    fields: dict[str, Any] = dict(row)
    epochs, values = fields.pop("epochs") or (), fields.pop("values") or ()
    fields["phase"], fields["state"] = Phase(fields["phase"]), TrialState(fields["state"])
    fields["outcome"] = Outcome(fields["outcome"]) if fields["outcome"] else None
    return TrialLine(**fields, rungs=dict(zip(epochs, values, strict=True)))


@dataclass(frozen=True)
class Shelf:
    """An arm of a study with its cells.

    Attributes:
        revision: Of the study.
        cells: (id, replicate) of each.
    """

    study_id: StudyId
    revision: int
    arm_id: int
    arm: str
    cells: tuple[tuple[int, int], ...]


def shelves(connection: Connection, study_id: StudyId | None) -> list[Shelf]:
    """The arms of a study, or of all, by study and position."""
    statement = text("""
        SELECT s.id AS study_id, s.revision, a.id AS arm_id, a.name AS arm,
               array_agg(c.id ORDER BY c.replicate) AS ids, array_agg(c.replicate ORDER BY c.replicate) AS replicates
        FROM studies s JOIN arms a ON a.study_id = s.id JOIN cells c ON c.arm_id = a.id
        WHERE CAST(:study_id AS bigint) IS NULL OR s.id = :study_id
        GROUP BY s.id, s.revision, a.id ORDER BY s.id, a.position
    """)
    return [
        Shelf(
            StudyId(row.study_id), row.revision, row.arm_id, row.arm, tuple(zip(row.ids, row.replicates, strict=True))
        )
        for row in connection.execute(statement, {"study_id": study_id})
    ]


def study_of_trial(connection: Connection, trial_id: int) -> StudyId | None:
    """The study of a trial, None where there is no such trial."""
    found = connection.execute(
        text("SELECT study_id FROM trials WHERE id = :id"), {"id": trial_id}
    ).scalar_one_or_none()
    return None if found is None else StudyId(found)
