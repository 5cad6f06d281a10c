"""A worker that is killed, stopped longer than its lease, or out of memory in the middle of a trial.

Each time: taken over within 1.5 leases, resumed from the last checkpoint, bitwise the result of an undisturbed run, and
nothing written by the one that lost it.
"""

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from service.domain.trial import StudyId
from service.store.database import Database
from service.store.studies import end_study
from tests.integration.faults.support import (
    LEAKING,
    LEASE_S,
    SLOW,
    Program,
    Service,
    counts_of,
    now_of,
    pause,
    result_of,
    resume,
    study_of,
    submit,
    trial_of,
    wait_for_trial,
    wait_until,
)
from tests.integration.store.support import assert_consistent

MB = 2**20
OPTIONS = {"epochs": 3, "step_s": 0.06}
"""48 steps, about 3 seconds; a checkpoint every 0.3 s."""


class Pair:
    """Two workers of one slot each, of which either may be killed; they share checkpoints at a URL and no folder."""

    def __init__(self, service: Service) -> None:
        self._service = service
        service.coordinator()
        self._n_started = 0
        self._workers = [self._start() for _ in range(2)]

    def _start(self) -> Program:
        self._n_started += 1
        folder = self._service.folder
        places = {"HOME": folder / f"home-{self._n_started}", "CHECKPOINT_DIR": f"file://{folder}/shared"}
        return self._service.start("workers", "--queues", "cpu", **{f"TANGENT_{k}": str(v) for k, v in places.items()})

    def complete(self, ledger: Database) -> None:
        """Replace those that were killed; return when the slots of both have been seen to train."""
        self._workers = [one for one in self._workers if one.is_running]
        self._workers += [self._start() for _ in range(2 - len(self._workers))]
        for worker in self._workers:
            worker.wait_for_line("serving cpu with 1 slots")
        study_id = submit(ledger, study_of(50, options=OPTIONS))
        wait_until(lambda: counts_of(ledger, study_id)["n_running"] == 2, "both slots at work")
        cancel(ledger, study_id)
        wait_until(lambda: counts_of(ledger, study_id)["n_running"] == 0, "both slots free")

    def worker_of(self, ledger: Database, trial: dict[str, Any]) -> Program:
        """The worker that executes a trial."""
        with ledger.transaction() as connection:
            query = "SELECT pid FROM workers WHERE id = %(id)s"
            pid = connection.exec_driver_sql(query, {"id": trial["worker_id"]}).scalar_one()
        return next(worker for worker in self._workers if worker.pid == pid)


@pytest.fixture(scope="module")
def running_pair(shared_service: Service) -> Pair:
    return Pair(shared_service)


@pytest.fixture
def pair(running_pair: Pair, shared_ledger: Database) -> Pair:
    running_pair.complete(shared_ledger)
    return running_pair


@pytest.fixture(scope="module")
def undisturbed(running_pair: Pair, shared_ledger: Database) -> dict[str, list[Any]]:
    """By workload: what the trial of `start_trial` gives when it is left alone."""
    running_pair.complete(shared_ledger)
    studies = {name: submit(shared_ledger, study_of(workload=name, options=OPTIONS)) for name in (SLOW, LEAKING)}
    results = {}
    for name, study_id in studies.items():
        trial = wait_for_trial(shared_ledger, study_id)
        assert [attempt["outcome"] for attempt in trial["attempts"]] == ["finished"]
        results[name] = result_of(trial)
        cancel(shared_ledger, study_id)
    return results


@pytest.fixture
def ledger(shared_ledger: Database) -> Iterator[Database]:
    yield shared_ledger
    assert_consistent(shared_ledger)


def start_trial(ledger: Database, workload: str = SLOW) -> tuple[StudyId, dict[str, Any]]:
    """A study whose first trial trains and has a checkpoint behind its first epoch."""
    study_id = submit(ledger, study_of(workload=workload, options=OPTIONS))
    wait_until(lambda: has_checkpoint(ledger, study_id), "a trial with a checkpoint")
    return study_id, trial_of(ledger, study_id)


def has_checkpoint(ledger: Database, study_id: StudyId) -> bool:
    with ledger.transaction() as connection:
        query = "SELECT (checkpoint ->> 'step')::int FROM trials WHERE study_id = %(id)s AND number = 0"
        step = connection.exec_driver_sql(query, {"id": study_id}).scalar_one_or_none()
    return step is not None and step > 16


def expect_taken_over(ledger: Database, study_id: StudyId, since: Any, *, first: str) -> dict[str, Any]:
    """Attempt 2 began within 1.5 leases, where a checkpoint was, and finished as an undisturbed run does."""
    trial = wait_for_trial(ledger, study_id)
    one, two = trial["attempts"]
    assert (one["outcome"], two["outcome"]) == (first, "finished")
    assert (two["started_at"] - since).total_seconds() < 1.5 * LEASE_S
    assert two["resumed_from_step"] > 16
    wait_until(lambda: counts_of(ledger, study_id)["n_running"], "the study's next trial")
    cancel(ledger, study_id)
    return trial


def cancel(ledger: Database, study_id: StudyId) -> None:
    with ledger.transaction() as connection:
        end_study(connection, study_id, "CANCELLED", "the test has seen enough")


def test_worker_stopped_longer_than_its_lease_is_replaced_and_its_late_writes_are_refused(
    pair: Pair, ledger: Database, undisturbed: dict[str, list[Any]]
) -> None:
    study_id, trial = start_trial(ledger)
    zombie = pair.worker_of(ledger, trial)
    (slot,) = zombie.slots()
    since = now_of(ledger)
    pause(slot.pid)
    pause(zombie.pid)
    wait_until(lambda: trial_of(ledger, study_id)["attempt"] == 2, "the trial taken over")
    assert trial_of(ledger, study_id)["worker_id"] != trial["worker_id"]
    before = zombie.text()
    resume(slot.pid)
    resume(zombie.pid)
    zombie.wait_for_line(f"attempt 1 of trial {id_of(ledger, study_id)} has lost its lease; it is given up")
    assert "has lost its lease" not in before
    trial = expect_taken_over(ledger, study_id, since, first="lost")
    assert trial["attempts"][0]["reason"] == "the lease ended"
    assert result_of(trial) == undisturbed[SLOW]
    assert {row["attempt"] for row in trial["measurements"] if row["epoch"] >= 2} == {2}


def id_of(ledger: Database, study_id: StudyId) -> int:
    with ledger.transaction() as connection:
        query = "SELECT id FROM trials WHERE study_id = %(id)s AND number = 0"
        return int(connection.exec_driver_sql(query, {"id": study_id}).scalar_one())


def test_trial_out_of_memory_goes_on_in_another_process(
    pair: Pair, ledger: Database, undisturbed: dict[str, list[Any]]
) -> None:
    """The kernel refuses the slot more memory than it has with 300 MB more; its successor may have all."""
    study_id, trial = start_trial(ledger, LEAKING)
    (slot,) = pair.worker_of(ledger, trial).slots()
    limit = slot.memory_info().vms + 300 * MB
    slot.rlimit(psutil.RLIMIT_AS, (limit, limit))
    since = now_of(ledger)
    wait_until(lambda: not slot.is_running() or slot.status() == psutil.STATUS_ZOMBIE, "the slot's end")
    trial = expect_taken_over(ledger, study_id, since, first="out_of_memory")
    assert "can't allocate memory" in trial["attempts"][0]["traceback"]
    assert result_of(trial) == undisturbed[LEAKING]


def test_killed_worker_is_replaced_by_another_one(
    pair: Pair, ledger: Database, undisturbed: dict[str, list[Any]]
) -> None:
    """SIGKILL of the worker, and with it of its slots."""
    study_id, trial = start_trial(ledger)
    victim = pair.worker_of(ledger, trial)
    slots = victim.slots()
    since = now_of(ledger)
    victim.kill()
    assert psutil.wait_procs(slots, timeout=3)[1] == []
    trial = expect_taken_over(ledger, study_id, since, first="lost")
    assert trial["attempts"][0]["reason"] == "the lease ended"
    assert trial["attempts"][0]["worker_id"] != trial["attempts"][1]["worker_id"]
    assert result_of(trial) == undisturbed[SLOW]


def test_killed_slot_is_replaced_at_once(pair: Pair, ledger: Database, undisturbed: dict[str, list[Any]]) -> None:
    study_id, trial = start_trial(ledger)
    (slot,) = pair.worker_of(ledger, trial).slots()
    since = now_of(ledger)
    os.kill(slot.pid, signal.SIGKILL)
    psutil.wait_procs([slot], timeout=3)
    assert not slot.is_running()
    trial = expect_taken_over(ledger, study_id, since, first="lost")
    assert trial["attempts"][0]["reason"] == "the slot process was killed by signal 9 (SIGKILL)"
    assert result_of(trial) == undisturbed[SLOW]
