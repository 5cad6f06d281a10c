"""A trial under a lease: claimed, renewed, measured, finished or handed back.

Each step is one SQL statement, so that a trial without a pruner costs few round trips: its share of an insert, one
claim, one renewal per third of a lease, one finish.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from service.domain.trial import Outcome, Params, Phase, StudyId, TrialId, TrialState


@dataclass(frozen=True)
class Capabilities:
    """What a slot can run.

    Attributes:
        devices: Device classes, such as ("cuda", "cuda:H200").
        code_revision: Hash of the training code; a study is run by one revision only.
    """

    devices: Sequence[str]
    workloads: Sequence[str]
    optimizers: Sequence[str]
    code_revision: str


@dataclass(frozen=True)
class Claim:
    """A trial that now belongs to one slot, until its lease ends.

    Attributes:
        attempt: Names this execution; every write carries it.
        spec: The study's frozen document.
        deadline_s: Seconds of training that are left of the trial's limit.
    """

    trial_id: TrialId
    study_id: StudyId
    number: int
    attempt: int
    phase: Phase
    seed: int
    optimizer: str
    params: Params
    spec: Mapping[str, Any]
    checkpoint: Mapping[str, Any] | None
    deadline_s: float


@dataclass(frozen=True)
class Finish:
    """How an attempt ended.

    Attributes:
        measurements: Rows not written yet: epoch, step, value, metrics, layers.
        traceback: Kept on the attempt, never sent to a sampler.
    """

    outcome: Outcome
    value: float | None = None
    test_value: float | None = None
    metrics: Mapping[str, float] | None = None
    n_steps: int | None = None
    duration_s: float | None = None
    cpu_s: float | None = None
    content_key: str | None = None
    reason: str | None = None
    traceback: str | None = None
    log_tail: str | None = None
    measurements: Sequence[Mapping[str, Any]] = ()


_EVENT = """
    event AS (
        INSERT INTO events (study_id, revision, kind, data)
        SELECT study.id, study.revision, 'trial',
               jsonb_build_object('number', changed.number, 'state', changed.state, 'outcome', changed.outcome)
        FROM study, changed
        RETURNING study_id, revision, kind
    )"""
_NOTIFY = "pg_notify('tangent', json_build_array(event.study_id, event.revision, event.kind)::text)"
_MEASURED = """
    measured AS (
        INSERT INTO measurements (trial_id, epoch, attempt, step, value, metrics, layers)
        SELECT changed.id, m.epoch, changed.attempt, m.step, m.value, m.metrics, m.layers
        FROM changed, jsonb_to_recordset(CAST(:measurements AS jsonb))
             AS m(epoch int, step bigint, value double precision, metrics jsonb, layers jsonb)
        ON CONFLICT (trial_id, epoch) DO UPDATE
        SET attempt = excluded.attempt, step = excluded.step, value = excluded.value,
            metrics = excluded.metrics, layers = excluded.layers
        RETURNING 1
    )"""

_CLAIM = text(f"""
    WITH picked AS (
        SELECT t.id, s.id AS study_id
        FROM (
            SELECT id FROM studies
            WHERE state = 'RUNNING' AND n_waiting > 0 AND queue = :queue
              AND device = ANY(:devices) AND workload = ANY(:workloads)
              AND (code_revision IS NULL OR code_revision = :code_revision)
              AND (max_running IS NULL OR n_running < max_running)
            ORDER BY priority DESC, n_running / weight, id
        ) s CROSS JOIN LATERAL (
            SELECT id FROM trials
            WHERE study_id = s.id AND state = 'WAITING' AND optimizer = ANY(:optimizers)
            ORDER BY sort_key LIMIT 1
            FOR UPDATE SKIP LOCKED
        ) t
        LIMIT 1
    ), study AS (
        UPDATE studies s
        SET n_waiting = s.n_waiting - 1, n_running = s.n_running + 1, revision = s.revision + 1,
            code_revision = coalesce(s.code_revision, :code_revision),
            started_at = coalesce(s.started_at, clock_timestamp())
        FROM picked
        WHERE s.id = picked.study_id AND s.state = 'RUNNING'
          AND (s.code_revision IS NULL OR s.code_revision = :code_revision)
          AND (s.max_running IS NULL OR s.n_running < s.max_running)
        RETURNING s.id, s.revision, s.spec, s.trial_s, picked.id AS trial_id
    ), changed AS (
        UPDATE trials t
        SET state = 'RUNNING', attempt = t.attempt + 1, worker_id = :worker_id, slot = :slot,
            lease_expires_at = clock_timestamp() + :lease, started_at = coalesce(t.started_at, clock_timestamp())
        FROM study WHERE t.id = study.trial_id
        RETURNING t.*
    ), attempt AS (
        INSERT INTO attempts (trial_id, attempt, worker_id, slot, environment_id)
        SELECT id, attempt, :worker_id, :slot, :environment_id FROM changed
        RETURNING 1
    ), {_EVENT}
    SELECT changed.id, changed.study_id, changed.number, changed.attempt, changed.phase, changed.seed,
           changed.optimizer, changed.params, changed.checkpoint, study.spec,
           study.trial_s - coalesce(
               (SELECT sum(extract(epoch FROM a.ended_at - a.started_at)) FROM attempts a
                WHERE a.trial_id = changed.id), 0) AS deadline_s,
           CASE WHEN event.revision IS NOT NULL
                THEN pg_notify('tangent', json_build_array(event.study_id, event.revision, 'claim')::text) END
    FROM picked LEFT JOIN (changed CROSS JOIN study CROSS JOIN event) ON true
""")
_MAX_REFUSALS = 100


def claim_next_trial(
    connection: Connection,
    queue: str,
    capabilities: Capabilities,
    *,
    worker_id: UUID,
    slot: int,
    environment_id: str | None,
    lease: timedelta,
) -> Claim | None:
    """Take the next trial that this slot can run, or None where there is none.

    Order: the study's priority, then the study with the fewest running trials for its weight, then the oldest.
    The first claim of a study fixes its code revision. The caller must have written nothing before in the transaction,
    which may be rolled back and begun anew.
    """
    arguments = {**vars(capabilities), "queue": queue, "worker_id": worker_id, "slot": slot, "lease": lease}
    for key in ("devices", "workloads", "optimizers"):
        arguments[key] = list(arguments[key])
    row = _claim_row(connection, {**arguments, "environment_id": environment_id})
    if row is None:
        return None
    return Claim(
        trial_id=TrialId(row.id),
        study_id=StudyId(row.study_id),
        number=row.number,
        attempt=row.attempt,
        phase=Phase(row.phase),
        seed=row.seed,
        optimizer=row.optimizer,
        params=row.params,
        spec=row.spec,
        checkpoint=row.checkpoint,
        deadline_s=float(row.deadline_s),
    )


def _claim_row(connection: Connection, arguments: Mapping[str, Any]) -> Row[Any] | None:
    """One look after another, while a study refuses: another slot took its last place, fixed its revision, or it ended.

    A refused statement has changed nothing but holds locks on the trial and the study; they go before the next look,
    for nobody may wait for one study's row while holding another's.
    """
    for _ in range(_MAX_REFUSALS):
        row = connection.execute(_CLAIM, arguments).one_or_none()
        if row is None or row.id is not None:
            return row
        connection.execute(text("ROLLBACK AND CHAIN"))
    return None


_RENEW = text(f"""
    WITH changed AS (
        UPDATE trials t
        SET lease_expires_at = clock_timestamp() + :lease
        WHERE t.id = :trial_id AND t.attempt = :attempt AND t.state = 'RUNNING'
        RETURNING t.id, t.study_id, t.attempt, t.is_cancel_requested
    ), {_MEASURED}
    SELECT changed.is_cancel_requested OR s.state NOT IN ('RUNNING', 'PAUSED') AS is_cancel_requested
    FROM changed JOIN studies s ON s.id = changed.study_id
""")


def renew_lease(
    connection: Connection,
    trial_id: TrialId,
    attempt: int,
    lease: timedelta,
    measurements: Sequence[Mapping[str, Any]] = (),
) -> bool | None:
    """Extend the lease and save measurements.

    Returns:
        Whether the trial has to stop, asked to or because its study has ended; None where the lease is lost and
        nothing was written.
    """
    arguments = {"trial_id": trial_id, "attempt": attempt, "lease": lease, "measurements": _rows(measurements)}
    row = connection.execute(_RENEW, arguments).one_or_none()
    return None if row is None else bool(row.is_cancel_requested)


_FINISH = text(f"""
    WITH changed AS (
        UPDATE trials t
        SET state = :state, outcome = :outcome, reason = :reason, lease_expires_at = NULL, value = :value,
            test_value = :test_value, metrics = CAST(:metrics AS jsonb), n_steps = :n_steps, duration_s = :duration_s,
            cpu_s = :cpu_s, content_key = :content_key, checkpoint = NULL, finished_at = clock_timestamp()
        WHERE t.id = :trial_id AND t.attempt = :attempt AND t.state = 'RUNNING'
        RETURNING t.*
    ), study AS (
        UPDATE studies s
        SET n_running = s.n_running - 1, revision = s.revision + 1,
            n_complete = s.n_complete + (:state = 'COMPLETE')::int, n_pruned = s.n_pruned + (:state = 'PRUNED')::int,
            n_fail = s.n_fail + (:state = 'FAIL')::int, n_diverged = s.n_diverged + (:outcome = 'diverged')::int
        FROM changed WHERE s.id = changed.study_id
        RETURNING s.id, s.revision
    ), attempt AS (
        UPDATE attempts a
        SET ended_at = clock_timestamp(), outcome = :outcome, reason = :reason, traceback = :traceback,
            log_tail = :log_tail
        FROM changed WHERE a.trial_id = changed.id AND a.attempt = changed.attempt
        RETURNING 1
    ), {_MEASURED}, {_EVENT}
    SELECT {_NOTIFY} FROM event
""")


def finish_trial(connection: Connection, trial_id: TrialId, attempt: int, finish: Finish) -> bool:
    """Write the end of an attempt that ends its trial; False where the lease is lost and nothing was written."""
    arguments = {
        **vars(finish),
        "trial_id": trial_id,
        "attempt": attempt,
        "state": finish.outcome.state.value,
        "outcome": finish.outcome.value,
        "value": _endpoint(finish, finish.value),
        "test_value": _endpoint(finish, finish.test_value),
        "metrics": json.dumps(dict(finish.metrics or {})),
        "measurements": _rows(finish.measurements),
    }
    return connection.execute(_FINISH, arguments).one_or_none() is not None


_HAND_BACK = text(f"""
    WITH lost AS (
        SELECT count(*) AS n FROM attempts
        WHERE trial_id = :trial_id AND outcome IN ('lost', 'out_of_memory')
    ), changed AS (
        UPDATE trials t
        SET state = CASE WHEN :counts AND lost.n + 1 >= s.max_attempts THEN 'FAIL' ELSE 'WAITING' END,
            outcome = CASE WHEN :counts AND lost.n + 1 >= s.max_attempts THEN :outcome END,
            finished_at = CASE WHEN :counts AND lost.n + 1 >= s.max_attempts THEN clock_timestamp() END,
            reason = :reason, lease_expires_at = NULL, worker_id = NULL, slot = NULL,
            checkpoint = coalesce(CAST(:checkpoint AS jsonb), t.checkpoint)
        FROM lost, studies s
        WHERE t.id = :trial_id AND t.attempt = :attempt AND t.state = 'RUNNING' AND s.id = t.study_id
          AND (NOT :only_expired OR t.lease_expires_at < clock_timestamp())
        RETURNING t.*
    ), study AS (
        UPDATE studies s
        SET n_running = s.n_running - 1, revision = s.revision + 1,
            n_waiting = s.n_waiting + (changed.state = 'WAITING')::int,
            n_fail = s.n_fail + (changed.state = 'FAIL')::int
        FROM changed WHERE s.id = changed.study_id
        RETURNING s.id, s.revision
    ), attempt AS (
        UPDATE attempts a
        SET ended_at = clock_timestamp(), outcome = :outcome, reason = :reason, traceback = :traceback,
            log_tail = :log_tail
        FROM changed WHERE a.trial_id = changed.id AND a.attempt = changed.attempt
        RETURNING 1
    ), {_EVENT}
    SELECT changed.state, {_NOTIFY} FROM changed, event
""")


def hand_back_trial(
    connection: Connection,
    trial_id: TrialId,
    attempt: int,
    *,
    outcome: Outcome | None,
    reason: str,
    checkpoint: Mapping[str, Any] | None = None,
    traceback: str | None = None,
    log_tail: str | None = None,
    only_expired: bool = False,
) -> TrialState | None:
    """Give a RUNNING trial back, to be run again with the same parameters.

    Args:
        outcome: LOST or OUT_OF_MEMORY, which count towards the study's cap of attempts and end the trial there; None
            where the slot stops in good order, which does not count.
        checkpoint: Where the next attempt may resume.
        only_expired: Do so only where the lease has ended by Postgres's clock.

    Returns:
        The trial's new state, WAITING or FAIL; None where it no longer runs under that attempt.
    """
    arguments = {
        "trial_id": trial_id,
        "attempt": attempt,
        "counts": outcome is not None,
        "outcome": outcome.value if outcome else "released",
        "reason": reason,
        "checkpoint": json.dumps(dict(checkpoint)) if checkpoint else None,
        "traceback": traceback,
        "log_tail": log_tail,
        "only_expired": only_expired,
    }
    row = connection.execute(_HAND_BACK, arguments).one_or_none()
    return None if row is None else TrialState(row.state)


def expired_trials(connection: Connection) -> list[tuple[TrialId, int]]:
    """(trial, attempt) of every RUNNING trial whose lease has ended."""
    statement = text(
        "SELECT id, attempt FROM trials WHERE state = 'RUNNING' AND lease_expires_at < clock_timestamp() ORDER BY id"
    )
    return [(TrialId(row.id), row.attempt) for row in connection.execute(statement)]


def save_checkpoint(connection: Connection, trial_id: TrialId, attempt: int, checkpoint: Mapping[str, Any]) -> bool:
    """Note where a later attempt may resume; False where the lease is lost."""
    statement = text("""
        UPDATE trials SET checkpoint = CAST(:checkpoint AS jsonb)
        WHERE id = :trial_id AND attempt = :attempt AND state = 'RUNNING' RETURNING id
    """)
    arguments = {"trial_id": trial_id, "attempt": attempt, "checkpoint": json.dumps(dict(checkpoint))}
    return connection.execute(statement, arguments).one_or_none() is not None


def note_resumed(connection: Connection, trial_id: TrialId, attempt: int, step: int) -> bool:
    """Say on the attempt at which step it started, 0 where it started anew; False where the lease is lost."""
    statement = text("""
        WITH held AS (
            SELECT id, attempt FROM trials
            WHERE id = :trial_id AND attempt = :attempt AND state = 'RUNNING' FOR NO KEY UPDATE
        )
        UPDATE attempts a SET resumed_from_step = :step FROM held
        WHERE a.trial_id = held.id AND a.attempt = held.attempt RETURNING a.attempt
    """)
    arguments = {"trial_id": trial_id, "attempt": attempt, "step": step}
    return connection.execute(statement, arguments).one_or_none() is not None


def _endpoint(finish: Finish, value: float | None) -> float | None:
    """What is no number is none for a run that did not finish, and for one that did the schema's to refuse."""
    is_number = value is None or math.isfinite(value)
    return value if is_number or finish.outcome is Outcome.FINISHED else None


def _rows(measurements: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps([dict(row) for row in measurements], allow_nan=False)
