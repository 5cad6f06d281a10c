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
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from service.domain.trial import Outcome, Params, Phase, StudyId, TrialId, TrialState
from service.store.lease_statements import CLAIM, FINISH, HAND_BACK, RENEW

_MAX_REFUSALS = 100


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


class Wish(StrEnum):
    """What the ledger wants of a running trial.

    CANCEL where its study has ended: it ends as cancelled. HAND_BACK where its study goes on later: it writes a
    checkpoint and is handed back, without an attempt counted.
    """

    GO_ON = "go on"
    HAND_BACK = "hand back"
    CANCEL = "cancel"


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
        row = connection.execute(CLAIM, arguments).one_or_none()
        if row is None or row.id is not None:
            return row
        connection.execute(text("ROLLBACK AND CHAIN"))
    return None


def renew_lease(
    connection: Connection,
    trial_id: TrialId,
    attempt: int,
    lease: timedelta,
    measurements: Sequence[Mapping[str, Any]] = (),
    *,
    is_rung: bool = False,
) -> Wish | None:
    """Extend the lease and save measurements.

    Args:
        is_rung: Wake the coordinator, which decides whether the trial may go on.

    Returns:
        What the trial has to do; None where the lease is lost and nothing was written.
    """
    arguments = {"trial_id": trial_id, "attempt": attempt, "lease": lease, "is_rung": is_rung}
    arguments["measurements"] = _rows(measurements)
    row = connection.execute(RENEW, arguments).one_or_none()
    return None if row is None else Wish(row.wish)


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
    return connection.execute(FINISH, arguments).one_or_none() is not None


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
    row = connection.execute(HAND_BACK, arguments).one_or_none()
    return None if row is None else TrialState(row.state)


def expired_trials(connection: Connection, *, grace: timedelta = timedelta(0)) -> list[tuple[TrialId, int]]:
    """(trial, attempt) of every RUNNING trial whose lease has ended.

    None within `grace` after Postgres started: slots that went on training while it was away renew in that time.
    """
    statement = text("""
        SELECT id, attempt FROM trials
        WHERE state = 'RUNNING' AND lease_expires_at < clock_timestamp()
          AND pg_postmaster_start_time() + CAST(:grace AS interval) < clock_timestamp()
        ORDER BY id
    """)
    return [(TrialId(row.id), row.attempt) for row in connection.execute(statement, {"grace": grace})]


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
