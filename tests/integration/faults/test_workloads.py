"""Workloads that go wrong: each ends with a class, a reason and the end of its log, and its study goes on."""

import contextlib
import resource
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from service.domain.study import Limits
from service.domain.trial import StudyId
from service.store.database import Database
from service.store.studies import end_study
from tests.integration.faults.support import (
    HANGING,
    LEAKING,
    NAN,
    RAISING,
    SUICIDAL,
    Program,
    Service,
    counts_of,
    study_of,
    submit,
    wait_for_trial,
    wait_until,
)
from tests.integration.store.support import assert_consistent

MB = 2**20


@pytest.fixture(scope="module")
def worker(shared_service: Service) -> Program:
    shared_service.coordinator()
    return shared_service.worker()


@pytest.fixture
def ledger(shared_ledger: Database) -> Iterator[Database]:
    yield shared_ledger
    assert_consistent(shared_ledger)


def run(ledger: Database, workload: str, **limits: Any) -> dict[str, Any]:
    """A trial that fails, once its study has another one in its place."""
    study_id = submit(ledger, study_of(1, workload=workload, limits=Limits(**{"attempts": 2, **limits})))
    trial = wait_for_trial(ledger, study_id)
    expect_successor(ledger, study_id)
    return trial


def expect_successor(ledger: Database, study_id: StudyId) -> None:
    """The study goes on; as much as is needed to see that."""
    wait_until(lambda: is_active(counts_of(ledger, study_id)), "a trial in the place of the failed one")
    with ledger.transaction() as connection:
        end_study(connection, study_id, "CANCELLED", "the test has seen enough")


def is_active(counts: dict[str, Any]) -> bool:
    return counts["state"] == "RUNNING" and counts["n_fail"] > 0 and counts["n_waiting"] + counts["n_running"] > 0


def test_workload_that_raises(worker: Program, ledger: Database) -> None:
    trial = run(ledger, RAISING)
    (attempt,) = trial["attempts"]
    assert (trial["state"], trial["outcome"]) == ("FAIL", "workload_error")
    assert trial["reason"] == attempt["reason"] == "RuntimeError: the batch is broken"
    assert 'raise RuntimeError("the batch is broken")' in attempt["traceback"]
    assert "about to raise" in attempt["log_tail"]


def test_workload_that_hangs_past_its_limit(worker: Program, ledger: Database) -> None:
    trial = run(ledger, HANGING, trial_s=8.0)  # the first training of a slot imports for some seconds
    (attempt,) = trial["attempts"]
    assert (trial["state"], trial["outcome"]) == ("FAIL", "time_limit")
    assert trial["reason"] == "the trial ran longer than its limit of 8 s, over all its attempts"
    assert "about to hang" in attempt["log_tail"]
    assert "slot 0: the process was killed by signal 9 (SIGKILL)" in worker.text()


def test_workload_that_kills_its_own_process(worker: Program, ledger: Database) -> None:
    trial = run(ledger, SUICIDAL)
    assert (trial["state"], trial["outcome"]) == ("FAIL", "lost")
    assert trial["reason"] == "the slot process was killed by signal 9 (SIGKILL)"
    assert [attempt["outcome"] for attempt in trial["attempts"]] == ["lost", "lost"]
    assert all("the last words" in attempt["log_tail"] for attempt in trial["attempts"])


def test_workload_whose_loss_is_nan(worker: Program, ledger: Database) -> None:
    """It has diverged, which is a result: it counts, and the study needs no other trial in its place."""
    study_id = submit(ledger, study_of(2, workload=NAN))
    trial = wait_for_trial(ledger, study_id)
    (attempt,) = trial["attempts"]
    assert (trial["state"], trial["outcome"], trial["value"]) == ("COMPLETE", "diverged", None)
    assert trial["reason"] == attempt["reason"] == "the training loss was not finite by step 3"
    assert "the loss is about to be nan" in attempt["log_tail"]
    wait_until(lambda: counts_of(ledger, study_id)["state"] not in ("RUNNING", "PAUSED"), "the study's end")
    assert counts_of(ledger, study_id)["n_fail"] == 0


def test_workload_that_leaks_until_memory_is_refused(worker: Program, ledger: Database) -> None:
    """Every slot is limited as soon as it trains, so that no attempt gets through."""
    options, limits = {"epochs": 10, "step_s": 0.05}, Limits(attempts=2)
    study_id = submit(ledger, study_of(1, workload=LEAKING, options=options, limits=limits))
    for attempt in (1, 2):
        wait_until(lambda a=attempt: has_checkpoint_of(ledger, study_id, a), f"a checkpoint of attempt {attempt}")
        (slot,) = worker.slots()
        limit = slot.memory_info().vms + 100 * MB
        slot.rlimit(psutil.RLIMIT_AS, (limit, limit))
    trial = wait_for_trial(ledger, study_id)
    assert (trial["state"], trial["outcome"]) == ("FAIL", "out_of_memory")
    assert [attempt["outcome"] for attempt in trial["attempts"]] == ["out_of_memory"] * 2
    assert "can't allocate memory" in trial["reason"]
    assert "failed: RuntimeError" in trial["attempts"][0]["log_tail"]
    expect_successor(ledger, study_id)


def has_checkpoint_of(ledger: Database, study_id: StudyId, attempt: int) -> bool:
    with ledger.transaction() as connection:
        query = "SELECT checkpoint ->> 'path' FROM trials WHERE study_id = %(id)s AND number = 0"
        path = connection.exec_driver_sql(query, {"id": study_id}).scalar_one_or_none()
    return path is not None and f"-attempt-{attempt}." in path


def test_disk_that_is_full_when_a_checkpoint_is_due(service: Service, ledger_of_service: Database) -> None:
    """Files of the worker and its slots may have 20 kB, so that no checkpoint fits; later they may have more."""
    ledger = ledger_of_service
    service.coordinator()
    worker = service.worker()
    limit_files(worker, 20_000)
    options = {"epochs": 1, "step_s": 0.05}
    study_id = submit(ledger, study_of(1, options=options, limits=Limits(attempts=2)))
    trial = wait_for_trial(ledger, study_id)
    assert (trial["state"], trial["outcome"]) == ("FAIL", "lost")
    assert [attempt["outcome"] for attempt in trial["attempts"]] == ["lost", "lost"]
    assert trial["reason"] == "the checkpoint cannot be written: OSError: [Errno 27] File too large"
    assert "failed: the checkpoint cannot be written" in trial["attempts"][0]["log_tail"]
    limit_files(worker, resource.RLIM_INFINITY)
    wait_until(lambda: counts_of(ledger, study_id)["state"] == "FINISHED", "the study's end")
    assert list((service.folder / "checkpoints").glob("*")) == [], "no rest of a checkpoint is left"


def limit_files(worker: Program, n_bytes: int) -> None:
    """The size of files of the worker and of all slots that it has and will have."""
    for pid in (worker.pid, *(slot.pid for slot in worker.slots())):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


@pytest.fixture
def ledger_of_service(service: Service) -> Iterator[Database]:
    database = Database(service.database_url, application_name="tangent-tests")
    yield database
    assert_consistent(database)
    database.close()
