"""What people may change about a study, its trials and the workers. Each function is one transaction's work.

The caller opens and commits the transaction. Everywhere `revision` is the one that the caller has seen (an If-Match
header); where the study has gone on since, RevisionError is raised and nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from service import studies
from service.domain.retrying import refusals, too_many_failures
from service.domain.seeds import REPLICATE_LIMIT
from service.domain.study import OPERATIONAL
from service.domain.trial import Outcome, StudyId, TrialRecord
from service.domain.validation import MAX_RUNS, operational_problems
from service.domain.wording import count
from service.errors import ConflictError, InvalidInputError, NotFoundError, RevisionError
from service.store import control as store
from service.store import leases, trials, workers
from service.store.database import Connection
from service.store.studies import StudyRow, add_event


def pause(connection: Connection, study_id: StudyId, *, now: bool = False, revision: int | None = None) -> int:
    """Let no trial of a study start until it is resumed.

    Args:
        now: Also ask the running trials to write a checkpoint and wait; no attempt is counted for that.

    Returns:
        How many trials still run.

    Raises:
        NotFoundError: There is no such study.
        ConflictError: It has ended, or is paused already (with `now` that is none).
        RevisionError: See above.
    """
    if now:
        store.lock_trials(connection, study_id, ("RUNNING",))
    row = _active(connection, study_id, revision)
    if row.state == "PAUSED" and not now:
        raise ConflictError(f"study {study_id} is paused already")
    if row.state != "PAUSED":
        store.set_state(connection, study_id, "PAUSED")
    return store.ask_back(connection, study_id) if now else row.counts["n_running"]


def resume(connection: Connection, study_id: StudyId, *, revision: int | None = None) -> None:
    """Let the trials of a paused study start again; raises as `pause`."""
    store.lock_trials(connection, study_id, ("RUNNING",))
    row = _active(connection, study_id, revision)
    if row.state != "PAUSED":
        raise ConflictError(f"study {study_id} is not paused, it is {row.state}")
    store.withdraw_requests(connection, study_id)
    store.set_state(connection, study_id, "RUNNING")


def cancel(connection: Connection, study_id: StudyId, *, revision: int | None = None) -> None:
    """End a study: waiting trials end as cancelled, running ones stop at their next step; raises as `pause`."""
    if revision is not None:
        store.lock_trials(connection, study_id, ("WAITING", "RUNNING"))
        _locked(connection, study_id, revision)
    studies.cancel(connection, study_id)


def change_settings(
    connection: Connection, study_id: StudyId, changes: Mapping[str, Any], *, revision: int | None = None
) -> None:
    """Change when a study's trials run: some of priority, weight and max_running (None for no limit).

    Raises:
        NotFoundError: There is no such study.
        ConflictError: It has ended.
        InvalidInputError: A value is out of its range, or nothing is changed.
        RevisionError: See above.
    """
    row = _active(connection, study_id, revision)
    if not changes:
        raise InvalidInputError(f"nothing to change; what can be changed: {', '.join(OPERATIONAL)}")
    problems = operational_problems(replace(row.study, **changes))
    if problems:
        raise InvalidInputError("the study cannot run like that", [(p.field, p.message) for p in problems])
    store.set_operational(connection, study_id, changes)


def retry(
    connection: Connection, study_id: StudyId, number: int | None = None, *, revision: int | None = None
) -> list[int]:
    """Have a failed trial, or all that can be, wait again; a study that had ended for it goes on.

    Together with any retry in a study that had failed, the trials that were cancelled when it failed wait again.

    Returns:
        Numbers of the trials that wait again.

    Raises:
        NotFoundError: There is no such study, or trial.
        ConflictError: The study was cancelled or imported, the trial has not failed, or its place is taken.
        RevisionError: See above.
    """
    store.lock_trials(connection, study_id, ("FAIL",))
    row = _locked(connection, study_id, revision)
    again = _retried(connection, row, number)
    store.revive(connection, study_id, again)
    if row.is_finished:
        store.set_state(connection, study_id, "RUNNING")
    add_event(connection, study_id, store.CONTROL, {"act": "retry", "n": len(again), "trials": again[:100]})
    return again


def why_not_retried(connection: Connection, study_id: StudyId, number: int) -> str | None:
    """Why `retry` would refuse a trial, None where it would not; changes nothing. Raises NotFoundError."""
    try:
        _retried(connection, studies.get(connection, study_id), number)
    except ConflictError as error:
        return str(error)
    return None


def _retried(connection: Connection, row: StudyRow, number: int | None) -> list[int]:
    """Numbers of the trials that would wait again if one, or with None all that can, were retried."""
    _refuse_retry(row)
    records = trials.records(connection, row.id)
    ended = store.failures_by_end(connection, row.id)
    found = refusals(row.study, records, ended, has_failed=row.state == "FAILED")
    cancelled = [t.number for t in records if t.outcome is Outcome.CANCELLED] if row.state == "FAILED" else []
    wanted = _all_retried(row.id, found, cancelled) if number is None else [_one_retried(records, found, number)]
    again = sorted({*wanted, *cancelled})
    if reason := too_many_failures(row.study, records, again):
        raise ConflictError(reason)
    return again


def _refuse_retry(row: StudyRow) -> None:
    if row.origin == "imported":
        raise ConflictError(f"study {row.id} was imported; its trials cannot run here")
    if row.state == "CANCELLED":
        raise ConflictError(f"study {row.id} was cancelled; clone it to run it again")
    _refuse_stopping(row)


def _refuse_stopping(row: StudyRow) -> None:
    """Trials of an ended study that have not ended yet would end in the middle of what follows."""
    n_open = row.counts["n_running"] + row.counts["n_waiting"]
    if row.is_finished and n_open:
        raise ConflictError(
            f"study {row.id} has ended, and {count(n_open, 'trial')} of it not yet; try again in a moment"
        )


def _one_retried(records: list[TrialRecord], found: Mapping[int, str | None], number: int) -> int:
    trial = next((t for t in records if t.number == number), None)
    if trial is None:
        raise NotFoundError(f"there is no trial {number}; the study has trials 0 to {len(records) - 1}")
    if number not in found and trial.outcome is not Outcome.CANCELLED:
        state = f"its outcome is {trial.outcome}" if trial.outcome else f"it is {trial.state}"
        raise ConflictError(f"trial {number} has not failed: {state}")
    if reason := found.get(number):
        raise ConflictError(f"trial {number} cannot run again: {reason}")
    return number


def _all_retried(study_id: StudyId, found: Mapping[int, str | None], cancelled: list[int]) -> list[int]:
    again = [number for number, reason in found.items() if reason is None]
    if again or cancelled:
        return again
    if not found:
        raise ConflictError(f"study {study_id} has no failed trial")
    reasons = "; ".join(f"{reason}" for reason in list(found.values())[:3])
    raise ConflictError(f"no failed trial of study {study_id} can run again: {reasons}")


def add_replicates(connection: Connection, study_id: StudyId, n: int, *, revision: int | None = None) -> int:
    """Add `n` replicates to every arm, as an amendment that reports show; a finished study goes on.

    Returns:
        The number of the amendment, from 1.

    Raises:
        NotFoundError: There is no such study.
        ConflictError: It was cancelled or imported, has failed, or adds replicates by its own rule.
        InvalidInputError: `n` is out of its range, or the study would become too large.
        RevisionError: See above.
    """
    row = _locked(connection, study_id, revision)
    _refuse_replicates(row)
    first = store.count_replicates(connection, study_id)
    most = REPLICATE_LIMIT - 1
    if n < 1 or first + n > most:
        rule = f"must be from 1, and {first + n:,} replicates in all at most {most:,}"
        raise InvalidInputError(f"study {study_id} cannot have {n:,} more replicates", [("n", f"{rule}; got {n:,}")])
    n_runs = replace(row.study, replicates=first + n).n_runs
    if n_runs > MAX_RUNS:
        message = f"the study would take {n_runs:,} trainings; the most is {MAX_RUNS:,}"
        raise InvalidInputError(f"study {study_id} cannot have {n:,} more replicates", [("n", message)])
    after_look = row.is_finished or store.has_confirmed(connection, study_id)
    number = store.amend(connection, study_id, first, n, after_look=after_look)
    if row.is_finished:
        store.set_state(connection, study_id, "RUNNING")
    data = {"act": "replicates", "n": n, "amendment": number, "after_look": after_look}
    add_event(connection, study_id, store.CONTROL, data)
    return number


def _refuse_replicates(row: StudyRow) -> None:
    if row.origin == "imported":
        raise ConflictError(f"study {row.id} was imported; it cannot be extended")
    if row.state == "CANCELLED":
        raise ConflictError(f"study {row.id} was cancelled; clone it with more replicates")
    if row.state == "FAILED":
        raise ConflictError(f"study {row.id} has failed; retry its failed trials before adding to it")
    if row.study.sequential is not None and not row.is_finished:
        raise ConflictError(f"study {row.id} is sequential and adds replicates by its own rule; wait for its end")


def requeue(connection: Connection, study_id: StudyId, number: int, *, revision: int | None = None) -> None:
    """Take a running trial from its slot, to be run on from its last checkpoint; no attempt is counted.

    Raises:
        NotFoundError: There is no such study, or trial.
        ConflictError: The trial does not run, or its study has ended.
        RevisionError: See above.
    """
    trial = store.find_trial(connection, study_id, number)
    _active(connection, study_id, revision)
    if trial is None:
        raise NotFoundError(f"study {study_id} has no trial {number}")
    trial_id, attempt, state = trial
    if state != "RUNNING":
        raise ConflictError(f"trial {number} of study {study_id} does not run, it is {state}")
    leases.hand_back_trial(connection, trial_id, attempt, outcome=None, reason="requeued by a user")
    add_event(connection, study_id, "requeue", {"number": number})


def delete(connection: Connection, study_id: StudyId, confirm: str, *, revision: int | None = None) -> None:
    """Delete a study that has ended, with its trials, events and report; studies made from it stay.

    Args:
        confirm: The study's name, as a proof that this study is meant.

    Raises:
        NotFoundError: There is no such study.
        InvalidInputError: The name is another.
        ConflictError: It has not ended, or some of its trials have not.
        RevisionError: See above.
    """
    row = _locked(connection, study_id, revision)
    if confirm != row.name:
        message = f"must be the study's name, '{row.name}', got '{confirm}'"
        raise InvalidInputError(f"study {study_id} was not deleted", [("confirm", message)])
    if not row.is_finished:
        raise ConflictError(f"study {study_id} is {row.state}; cancel it before deleting it")
    _refuse_stopping(row)
    store.delete_study(connection, study_id)


def drain(connection: Connection, worker_id: UUID, *, is_draining: bool) -> str:
    """Let a worker take no new trials, or take some again; returns its state now.

    Raises:
        NotFoundError: There is no such worker.
        ConflictError: It is offline.
    """
    state = workers.drain(connection, worker_id, is_draining)
    if state is None:
        raise NotFoundError(f"there is no worker {worker_id}")
    if state == "offline":
        raise ConflictError(f"worker {worker_id} is offline")
    return state


def _active(connection: Connection, study_id: StudyId, revision: int | None) -> StudyRow:
    row = _locked(connection, study_id, revision)
    if row.is_finished:
        raise ConflictError(f"study {study_id} has ended: it is {row.state}")
    return row


def _locked(connection: Connection, study_id: StudyId, revision: int | None) -> StudyRow:
    row = store.lock_study(connection, study_id)
    if row is None:
        raise NotFoundError(f"there is no study {study_id}")
    if revision is not None and row.revision != revision:
        raise RevisionError(f"study {study_id} is at revision {row.revision}, not {revision}; look again before acting")
    return row
