"""What people change about a study while it is there: paused, retried, extended, reweighted, deleted.

Whoever acts locks as everyone does, trial rows before their study's row. What a coordinator must read anew is said by
an event of kind "control": it looks for one (`came_after`) under the study's row lock before it writes what it planned
from memory, so that an act and a plan never cross.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from service.domain.study import OPERATIONAL
from service.domain.trial import StudyId, TrialId
from service.store.studies import StudyRow, add_cells, add_event, get_study

CONTROL = "control"
"""Kind of the events after which what a coordinator has in memory no longer agrees with the ledger."""
_CLONES = 0x7463


class OutdatedError(Exception):
    """A study was changed by `CONTROL` while a coordinator planned from memory; nothing of the plan may be written."""


@dataclass(frozen=True)
class ActiveStudy:
    """A study that the coordinator has to look after.

    Attributes:
        revision: Of its last event.
        is_outdated: True where it was changed by `CONTROL` after the revision that the coordinator knew.
    """

    id: StudyId
    revision: int
    is_outdated: bool


def active_studies(connection: Connection, known: Mapping[StudyId, int]) -> list[ActiveStudy]:
    """Studies that the coordinator has to look after, the most urgent first.

    Args:
        known: Of those that it has in memory, the revision up to which it has looked for changes.
    """
    statement = text("""
        SELECT s.id, s.revision, known.revision IS NOT NULL AND EXISTS (
                   SELECT FROM events e
                   WHERE e.study_id = s.id AND e.revision > known.revision AND e.kind = 'control') AS is_outdated
        FROM studies s
        LEFT JOIN unnest(CAST(:ids AS bigint[]), CAST(:revisions AS bigint[])) known(id, revision) ON known.id = s.id
        WHERE s.state IN ('RUNNING', 'PAUSED') ORDER BY s.priority DESC, s.id
    """)
    rows = connection.execute(statement, {"ids": list(known), "revisions": list(known.values())})
    return [ActiveStudy(**row) for row in rows.mappings()]


def came_after(connection: Connection, study_id: StudyId, revision: int) -> bool:
    """Whether a `CONTROL` event came after that revision; certain only for who holds the study's row."""
    statement = text("""
        SELECT EXISTS (SELECT FROM events WHERE study_id = :id AND revision > :revision AND kind = 'control')
    """)
    return bool(connection.execute(statement, {"id": study_id, "revision": revision}).scalar_one())


def lock_trials(connection: Connection, study_id: StudyId, states: Sequence[str]) -> list[TrialId]:
    """Lock a study's trials in those states, in the order of their ids; to be called before `lock_study`."""
    statement = text("""
        SELECT id FROM trials WHERE study_id = :id AND state = ANY(:states) ORDER BY id FOR NO KEY UPDATE
    """)
    rows = connection.execute(statement, {"id": study_id, "states": list(states)})
    return [TrialId(row.id) for row in rows]


def lock_study(connection: Connection, study_id: StudyId) -> StudyRow | None:
    """Lock the study's row until the transaction ends, and read it; None where there is none."""
    connection.execute(text("SELECT 1 FROM studies WHERE id = :id FOR NO KEY UPDATE"), {"id": study_id})
    return get_study(connection, study_id)


def set_state(connection: Connection, study_id: StudyId, state: str) -> None:
    """Move a locked study to RUNNING or PAUSED; what said that it had ended is cleared."""
    statement = text("UPDATE studies SET state = :state, reason = NULL, finished_at = NULL WHERE id = :id")
    connection.execute(statement, {"id": study_id, "state": state})
    add_event(connection, study_id, "study", {"state": state, "reason": None})
    if state == "RUNNING":
        _notify(connection, [study_id, 0, "resumed"])


def ask_back(connection: Connection, study_id: StudyId) -> int:
    """Ask the running trials of a locked study to checkpoint and hand themselves back; returns how many run.

    The caller has locked those that ran before; one that a slot holds in this moment was just claimed or is ending.
    """
    statement = text("""
        UPDATE trials SET is_cancel_requested = true
        WHERE id IN (SELECT id FROM trials WHERE study_id = :id AND state = 'RUNNING' FOR NO KEY UPDATE SKIP LOCKED)
    """)
    return connection.execute(statement, {"id": study_id}).rowcount


def withdraw_requests(connection: Connection, study_id: StudyId) -> None:
    """Let the running trials of a locked study go on that were asked back; the caller has locked them."""
    statement = text("""
        UPDATE trials SET is_cancel_requested = false
        WHERE id IN (SELECT id FROM trials WHERE study_id = :id AND state = 'RUNNING' AND is_cancel_requested
                     FOR NO KEY UPDATE SKIP LOCKED)
    """)
    connection.execute(statement, {"id": study_id})


def failures_by_end(connection: Connection, study_id: StudyId) -> list[int]:
    """Numbers of a study's failed trials in the order in which they ended."""
    statement = text("SELECT number FROM trials WHERE study_id = :id AND state = 'FAIL' ORDER BY finished_at, id")
    return [row.number for row in connection.execute(statement, {"id": study_id})]


_REVIVE = text("""
    WITH revived AS (
        UPDATE trials SET state = 'WAITING', outcome = NULL, reason = NULL, is_told = false,
               n_attempts_forgiven = attempt, is_cancel_requested = false, prune_decision = NULL, checkpoint = NULL,
               worker_id = NULL, slot = NULL, value = NULL, test_value = NULL, metrics = '{}', n_steps = NULL,
               duration_s = NULL, cpu_s = NULL, content_key = NULL, finished_at = NULL
        WHERE study_id = :id AND number = ANY(:numbers) AND state = 'FAIL'
        RETURNING id, cell_id
    ), gone AS (
        DELETE FROM measurements m USING revived r WHERE m.trial_id = r.id
    ), study AS (
        UPDATE studies SET n_fail = n_fail - p.n, n_waiting = n_waiting + p.n
        FROM (SELECT count(*) AS n FROM revived) p WHERE id = :id
    )
    UPDATE cells c SET reason = NULL, state = (
        SELECT t.phase FROM trials t WHERE t.cell_id = c.id AND t.phase IN ('search', 'select', 'confirm')
        ORDER BY array_position(ARRAY['confirm', 'select', 'search'], t.phase) LIMIT 1)
    WHERE c.id IN (SELECT cell_id FROM revived)
""")


def revive(connection: Connection, study_id: StudyId, numbers: Sequence[int]) -> None:
    """Have failed trials of a locked study wait again, as if they had never run; the caller has locked them.

    Attempts that were made stay in their history and count no more. Their cells are again in the phase of their latest
    trial.
    """
    connection.execute(_REVIVE, {"id": study_id, "numbers": list(numbers)})


def amend(connection: Connection, study_id: StudyId, first: int, n: int, *, after_look: bool) -> int:
    """Add `n` replicates, from `first` on, to a locked study; returns the number of the amendment, from 1."""
    statement = text("""
        UPDATE studies SET amendments = amendments || jsonb_build_array(jsonb_build_object(
            'replicates', CAST(:n AS int), 'after_look', CAST(:after_look AS boolean), 'at', clock_timestamp()))
        WHERE id = :id RETURNING jsonb_array_length(amendments) AS number
    """)
    arguments = {"id": study_id, "n": n, "after_look": after_look}
    number = int(connection.execute(statement, arguments).scalar_one())
    add_cells(connection, study_id, first, first + n, number)
    return number


def count_replicates(connection: Connection, study_id: StudyId) -> int:
    """Replicates that have cells."""
    statement = text("SELECT coalesce(max(replicate) + 1, 0) FROM cells WHERE study_id = :id")
    return int(connection.execute(statement, {"id": study_id}).scalar_one())


def has_confirmed(connection: Connection, study_id: StudyId) -> bool:
    """True once a confirm run has ended with a result, which is when a report shows something."""
    statement = text("""
        SELECT EXISTS (SELECT FROM trials WHERE study_id = :id AND phase = 'confirm'
                       AND outcome IN ('finished', 'diverged'))
    """)
    return bool(connection.execute(statement, {"id": study_id}).scalar_one())


def set_operational(connection: Connection, study_id: StudyId, changes: Mapping[str, Any]) -> None:
    """Set some of priority, weight and max_running of a locked study."""
    names = [name for name in OPERATIONAL if name in changes]
    assignments = ", ".join(f"{name} = :{name}" for name in names)
    connection.execute(text(f"UPDATE studies SET {assignments} WHERE id = :id"), {"id": study_id, **changes})
    add_event(connection, study_id, "settings", {name: changes[name] for name in names})


def find_trial(connection: Connection, study_id: StudyId, number: int) -> tuple[TrialId, int, str] | None:
    """Lock a trial: (id, attempt, state), or None where there is none; to be called before `lock_study`."""
    statement = text("""
        SELECT id, attempt, state FROM trials WHERE study_id = :id AND number = :number FOR NO KEY UPDATE
    """)
    row = connection.execute(statement, {"id": study_id, "number": number}).one_or_none()
    return None if row is None else (TrialId(row.id), row.attempt, row.state)


def _notify(connection: Connection, payload: Sequence[object]) -> None:
    connection.execute(text("SELECT pg_notify('tangent', :payload)"), {"payload": json.dumps(payload)})


_IDS_IN_A_NOTICE = 300


def delete_study(connection: Connection, study_id: StudyId) -> None:
    """Delete a locked study that has ended, with everything that belongs to it.

    When this commits, workers are told the ids of trials that may have left checkpoints in their folders.
    """
    left = text("""
        SELECT id FROM trials
        WHERE study_id = :id AND attempt > 0 AND outcome NOT IN ('finished', 'diverged', 'pruned') ORDER BY id
    """)
    ids = [row.id for row in connection.execute(left, {"id": study_id})]
    connection.execute(text("DELETE FROM studies WHERE id = :id"), {"id": study_id})
    for start in range(0, max(1, len(ids)), _IDS_IN_A_NOTICE):
        _notify(connection, [study_id, 0, "deleted", ids[start : start + _IDS_IN_A_NOTICE]])


def unused_seed(connection: Connection, workload: str, above: int) -> int:
    """The lowest seed above `above` that no study of the workload has; no other clone takes it meanwhile."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:space, 0)"), {"space": _CLONES})
    statement = text("""
        SELECT DISTINCT (spec ->> 'seed')::bigint AS seed FROM studies
        WHERE workload = :workload AND (spec ->> 'seed')::bigint > :above ORDER BY 1
    """)
    seed = above + 1
    for row in connection.execute(statement, {"workload": workload, "above": above}):
        if row.seed != seed:
            break
        seed += 1
    return seed
