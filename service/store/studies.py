"""Studies as rows: submitted, listed, cancelled, and moved on by the coordinator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from service.domain.study import OPERATIONAL, Study
from service.domain.trial import StudyId

_COUNTERS = ("n_waiting", "n_running", "n_complete", "n_pruned", "n_fail", "n_diverged")


@dataclass(frozen=True)
class StudyRow:
    """A study as the ledger has it.

    Attributes:
        study: The study as it runs: the frozen file with the replicates that there are by now (up to the look that a
            sequential study is at, and with those that were added later), and the priority, weight and limit of now.
        spec_hash: Hash of the file as it was frozen, before the first trial.
        registered_replicates: Most replicates that the frozen file plans.
        amendments: What was added later, oldest first: {"replicates": n, "after_look": bool, "at": ISO 8601}.
        looks: Looks of a sequential study, oldest first, each with `replicates`, `is_decided` and the `pairs`.
        origin: "submitted" or "imported".
        revision: Number of the study's last event.
        counts: Trials by state, such as {"n_waiting": 3}; `n_diverged` are among `n_complete`.
        environment: What was recorded when the study was submitted and started.
    """

    id: StudyId
    name: str
    state: str
    reason: str | None
    study: Study
    spec_hash: str
    code_revision: str | None
    parent_id: StudyId | None
    revision: int
    counts: Mapping[str, int]
    environment: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    amendments: Sequence[Mapping[str, Any]] = ()
    looks: Sequence[Mapping[str, Any]] = ()
    origin: str = "submitted"
    registered_replicates: int = 0

    @property
    def planned_looks(self) -> tuple[int, ...]:
        """Numbers of replicates at which a sequential study is looked at; empty for any other."""
        sequential = self.study.sequential
        return sequential.looks(self.registered_replicates) if sequential else ()

    @property
    def is_finished(self) -> bool:
        """True where no more trials will run."""
        return self.state in ("FINISHED", "FAILED", "CANCELLED")


def insert_study(
    connection: Connection, study: Study, environment: Mapping[str, Any], parent_id: StudyId | None = None
) -> StudyId:
    """Add a study with its arms and cells, of a sequential study those of its first look; trials come later.

    Args:
        parent_id: The study that this one was made from.
    """
    statement = text("""
        INSERT INTO studies (name, spec, spec_hash, workload, queue, device, priority, weight, max_running, trial_s,
                             max_attempts, environment, parent_id)
        VALUES (:name, CAST(:spec AS jsonb), :spec_hash, :workload, :queue, :device, :priority, :weight, :max_running,
                :trial_s, :max_attempts, CAST(:environment AS jsonb), :parent_id)
        RETURNING id
    """)
    arguments = {
        "name": study.name,
        "spec": json.dumps(study.to_dict(), allow_nan=False),
        "spec_hash": study.spec_hash,
        "workload": study.workload,
        "queue": study.queue,
        "device": study.device,
        "priority": study.priority,
        "weight": study.weight,
        "max_running": study.max_running,
        "parent_id": parent_id,
        "trial_s": study.limits.trial_s,
        "max_attempts": study.limits.attempts,
        "environment": json.dumps(dict(environment)),
    }
    study_id = StudyId(connection.execute(statement, arguments).scalar_one())
    _insert_cells(connection, study_id, study)
    add_event(connection, study_id, "submitted", {"name": study.name})
    return study_id


def _insert_cells(connection: Connection, study_id: StudyId, study: Study) -> None:
    arm = text(
        "INSERT INTO arms (study_id, position, name, optimizer) VALUES (:study_id, :position, :name, :optimizer)"
    )
    rows = [
        {"study_id": study_id, "position": i, "name": a.name, "optimizer": a.optimizer}
        for i, a in enumerate(study.arms)
    ]
    connection.execute(arm, rows)
    add_cells(connection, study_id, 0, study.sequential.first if study.sequential else study.replicates)


def add_cells(connection: Connection, study_id: StudyId, first: int, end: int, amendment: int = 0) -> None:
    """Add the cells of every arm for replicates from `first` to before `end`.

    Args:
        amendment: 0 for those of the frozen file, else the number of the amendment, from 1.
    """
    cells = text("""
        INSERT INTO cells (study_id, arm_id, replicate, amendment)
        SELECT a.study_id, a.id, r, :amendment FROM arms a CROSS JOIN generate_series(:first, :end - 1) r
        WHERE a.study_id = :study_id ORDER BY r, a.position
    """)
    connection.execute(cells, {"study_id": study_id, "first": first, "end": end, "amendment": amendment})


def get_study(connection: Connection, study_id: StudyId) -> StudyRow | None:
    """The study, or None."""
    rows = connection.execute(text("SELECT * FROM studies WHERE id = :id"), {"id": study_id})
    row = rows.mappings().one_or_none()
    return None if row is None else _study_row(row)


def list_studies(
    connection: Connection, *, before: int | None = None, limit: int = 50, state: str | None = None
) -> list[StudyRow]:
    """Studies, newest first, with an id below `before`, at most `limit`."""
    statement = text("""
        SELECT * FROM studies
        WHERE (CAST(:before AS bigint) IS NULL OR id < :before) AND (CAST(:state AS text) IS NULL OR state = :state)
        ORDER BY id DESC LIMIT :limit
    """)
    rows = connection.execute(statement, {"before": before, "limit": limit, "state": state})
    return [_study_row(row) for row in rows.mappings()]


def studies_of_seed(connection: Connection, study: Study) -> list[tuple[StudyId, bool]]:
    """Studies of the same workload and spec seed, the newest first, at most 5, and whether the whole spec is the same.

    They share draws and training seeds.
    """
    statement = text("""
        SELECT id, spec_hash = :spec_hash AS is_same FROM studies
        WHERE workload = :workload AND (spec ->> 'seed')::bigint = :seed AND origin = 'submitted'
        ORDER BY id DESC LIMIT 5
    """)
    arguments = {"seed": study.seed, "spec_hash": study.spec_hash, "workload": study.workload}
    return [(StudyId(row.id), row.is_same) for row in connection.execute(statement, arguments)]


def add_event(connection: Connection, study_id: StudyId, kind: str, data: Mapping[str, Any]) -> int:
    """Append an event under the study's row lock; returns the study's new revision."""
    statement = text("""
        WITH study AS (
            UPDATE studies SET revision = revision + 1 WHERE id = :study_id RETURNING id, revision
        ), event AS (
            INSERT INTO events (study_id, revision, kind, data)
            SELECT id, revision, :kind, CAST(:data AS jsonb) FROM study
            RETURNING study_id, revision, kind
        )
        SELECT revision, pg_notify('tangent', json_build_array(study_id, revision, kind)::text) FROM event
    """)
    arguments = {"study_id": study_id, "kind": kind, "data": json.dumps(dict(data))}
    return int(connection.execute(statement, arguments).one().revision)


def add_look(connection: Connection, study_id: StudyId, look: Mapping[str, Any]) -> None:
    """Note a look of a sequential study, with an event."""
    statement = text("UPDATE studies SET looks = looks || jsonb_build_array(CAST(:look AS jsonb)) WHERE id = :id")
    connection.execute(statement, {"id": study_id, "look": json.dumps(dict(look), allow_nan=False)})
    add_event(connection, study_id, "look", {"replicates": look["replicates"], "is_decided": look["is_decided"]})


def record_environment(connection: Connection, study_id: StudyId, data: Mapping[str, Any]) -> None:
    """Add to what is recorded about how the study is run, such as the sampler's version; what stands there stays."""
    statement = text("UPDATE studies SET environment = CAST(:data AS jsonb) || environment WHERE id = :id")
    connection.execute(statement, {"id": study_id, "data": json.dumps(dict(data))})


_LOCK_OPEN = text("""
    SELECT id FROM trials WHERE study_id = :id AND state IN ('WAITING', 'RUNNING') ORDER BY id FOR NO KEY UPDATE
""")
_END_STUDY = text("""
    UPDATE studies SET state = :state, reason = :reason, finished_at = clock_timestamp()
    WHERE id = :id AND state IN ('RUNNING', 'PAUSED') RETURNING id
""")
# What came in after the locks were taken is skipped where a slot holds it: waiting for it here, with the study's row
# locked, could be a deadlock. Such a claim fails on the study's state; such a hand-back leaves a straggler.
_END_TRIALS = text("""
    WITH open AS (
        SELECT id FROM trials WHERE study_id = :id AND state IN ('WAITING', 'RUNNING') FOR NO KEY UPDATE SKIP LOCKED
    ), asked AS (
        UPDATE trials t SET is_cancel_requested = true FROM open WHERE t.id = open.id AND t.state = 'RUNNING'
    ), ended AS (
        UPDATE trials t
        SET state = 'FAIL', outcome = 'cancelled', reason = :reason, finished_at = clock_timestamp()
        FROM open WHERE t.id = open.id AND t.state = 'WAITING'
        RETURNING 1
    )
    UPDATE studies SET n_waiting = n_waiting - ended.n, n_fail = n_fail + ended.n
    FROM (SELECT count(*) AS n FROM ended) ended WHERE id = :id
""")


def end_study(connection: Connection, study_id: StudyId, state: str, reason: str | None = None) -> bool:
    """Move an active study to FINISHED, FAILED or CANCELLED; False, with nothing changed, where it had ended before.

    Waiting trials end as cancelled; running ones are asked to stop and end by their slots. The caller must not hold
    the study's row, as every event does: trial rows are locked here, and they come first.
    """
    connection.execute(_LOCK_OPEN, {"id": study_id})
    if connection.execute(_END_STUDY, {"id": study_id, "state": state, "reason": reason}).one_or_none() is None:
        return False
    connection.execute(_END_TRIALS, {"id": study_id, "reason": reason or "the study ended"})
    add_event(connection, study_id, "study", {"state": state, "reason": reason})
    return True


def cancel_stragglers(connection: Connection) -> int:
    """End trials that still wait in a study that has ended: added, or handed back, while it was ending.

    Returns:
        How many studies had some; each gets an event.
    """
    statement = text("""
        WITH stray AS (
            SELECT t.id, t.study_id FROM trials t JOIN studies s ON s.id = t.study_id
            WHERE t.state = 'WAITING' AND s.state NOT IN ('RUNNING', 'PAUSED')
            ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
        ), ended AS (
            UPDATE trials t SET state = 'FAIL', outcome = 'cancelled', reason = 'the study ended',
                   finished_at = clock_timestamp()
            FROM stray WHERE t.id = stray.id
            RETURNING t.study_id
        ), locked AS (
            SELECT id FROM studies WHERE id IN (SELECT study_id FROM stray) ORDER BY id FOR NO KEY UPDATE
        ), study AS (
            UPDATE studies s
            SET n_waiting = s.n_waiting - p.n, n_fail = s.n_fail + p.n, revision = s.revision + 1
            FROM locked, (SELECT study_id, count(*) AS n FROM ended GROUP BY study_id) p
            WHERE s.id = locked.id AND p.study_id = s.id
            RETURNING s.id, s.revision, s.state, s.reason
        ), event AS (
            INSERT INTO events (study_id, revision, kind, data)
            SELECT id, revision, 'study', jsonb_build_object('state', state, 'reason', reason) FROM study
            RETURNING study_id, revision, kind
        )
        SELECT pg_notify('tangent', json_build_array(study_id, revision, kind)::text) FROM event
    """)
    return len(connection.execute(statement).all())


@dataclass(frozen=True)
class CellRow:
    """One (arm, replicate) as the ledger has it."""

    id: int
    arm: str
    position: int
    replicate: int
    state: str
    winner: int | None
    reason: str | None
    next_cell_number: int


def cells_of(connection: Connection, study_id: StudyId) -> list[CellRow]:
    """The cells of a study by replicate, then arm."""
    statement = text("""
        SELECT c.id, a.name AS arm, a.position, c.replicate, c.state, c.winner, c.reason, c.next_cell_number
        FROM cells c JOIN arms a ON a.id = c.arm_id
        WHERE c.study_id = :id ORDER BY c.replicate, a.position
    """)
    return [CellRow(**row) for row in connection.execute(statement, {"id": study_id}).mappings()]


def update_cells(connection: Connection, study_id: StudyId, rows: Sequence[CellRow], revision: int) -> bool:
    """Write the state, winner, reason and next number of cells; the caller has written to the study's row before.

    Returns:
        False, with nothing written, where somebody changed the study (`service.store.control`) after `revision`.
    """
    statement = text("""
        UPDATE cells c
        SET state = r.state, winner = r.winner, reason = r.reason, next_cell_number = r.next_cell_number
        FROM jsonb_to_recordset(CAST(:rows AS jsonb))
             AS r(id bigint, state text, winner int, reason text, next_cell_number int)
        WHERE c.id = r.id AND NOT EXISTS (
            SELECT FROM events WHERE study_id = :study_id AND revision > :revision AND kind = 'control')
        RETURNING c.id
    """)
    if not rows:
        return True
    documents = json.dumps([vars(row) for row in rows])
    arguments = {"study_id": study_id, "rows": documents, "revision": revision}
    return len(connection.execute(statement, arguments).all()) == len(rows)


def _study_row(row: RowMapping) -> StudyRow:
    counts = {name: row[name] for name in _COUNTERS}
    same = ("id", "name", "state", "reason", "spec_hash", "code_revision", "parent_id", "revision", "environment")
    moments = ("created_at", "started_at", "finished_at")
    fields = {name: row[name] for name in (*same, *moments, "amendments", "looks", "origin")}
    frozen = Study.from_dict(row["spec"])
    added = sum(amendment["replicates"] for amendment in row["amendments"])
    replicates = frozen.replicates_after(sum(not look["is_decided"] for look in row["looks"])) + added
    fields["registered_replicates"] = frozen.replicates
    now = {name: row[name] for name in OPERATIONAL}
    return StudyRow(study=replace(frozen, replicates=replicates, **now), counts=counts, **fields)
