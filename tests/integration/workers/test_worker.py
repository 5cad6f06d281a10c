"""A worker with two slots, as a process: what it does with trials that go well, and with those that do not."""

import os
import signal
import time

import pytest
from celery import Celery

from service.engines import RedisHandle
from service.queue import announce_work, make_app
from service.store.database import Database
from service.store.workers import list_workers, registered_catalog
from tests.integration.workers.support import (
    RAISING,
    SLOW,
    WorkerProcess,
    add_study,
    has_torch,
    trial_of,
    wait_for_end,
    wait_until,
)


@pytest.fixture
def ledger(shared_ledger: tuple[str, Database], shared_worker: WorkerProcess) -> Database:
    return shared_ledger[1]


@pytest.fixture
def app(redis: RedisHandle) -> Celery:
    return make_app(redis.url)


@pytest.fixture
def worker(shared_worker: WorkerProcess) -> WorkerProcess:
    return shared_worker


def wait_for_measurements(ledger: Database, study: int, n: int = 1) -> dict[str, object]:
    wait_until(lambda: len(trial_of(ledger, study)["measurements"]) >= n)
    return trial_of(ledger, study)


def test_hinted_trials_are_trained_and_finished(ledger, worker, app):
    study = add_study(ledger, n_trials=4)
    announce_work(app, "cpu", 2)
    for number in range(4):
        trial = wait_for_end(ledger, study, number)
        assert (trial["outcome"], trial["attempt"]) == ("finished", 1)
        assert [row["epoch"] for row in trial["measurements"]] == [0, 1]


def test_hint_that_follows_a_finished_trial_is_taken_at_once(ledger, worker, app):
    delays = []
    for _ in range(5):
        study = add_study(ledger)
        hinted_at = time.time()
        announce_work(app, "cpu", 1)
        delays.append(wait_for_end(ledger, study)["started_at"].timestamp() - hinted_at)
    assert sorted(delays)[2] < 0.3


def test_parent_never_has_torch_in_memory_and_its_slots_do(ledger, worker, app):
    study = add_study(ledger)
    announce_work(app, "cpu", 1)
    wait_for_end(ledger, study)
    assert len(worker.slots()) == 2
    assert all(has_torch(slot.pid) for slot in worker.slots())
    assert not has_torch(worker.pid)


def test_redelivered_hint_does_not_start_a_second_run(ledger, worker, app):
    study = add_study(ledger, workload=SLOW, options={"epochs": 1, "step_s": 0.02})
    announce_work(app, "cpu", 5)
    trial = wait_for_end(ledger, study)
    assert (trial["outcome"], len(trial["attempts"])) == ("finished", 1)


def test_killed_slot_hands_its_trial_back_at_once_and_attempt_2_finishes_it(ledger, worker, app):
    study = add_study(ledger, workload=SLOW, options={"epochs": 4, "step_s": 0.03})
    announce_work(app, "cpu", 1)
    trial = wait_for_measurements(ledger, study, 2)
    (victim,) = (slot for slot in worker.slots() if slot.cmdline()[-1] == str(trial["slot"]))
    os.kill(victim.pid, signal.SIGKILL)
    wait_until(lambda: trial_of(ledger, study)["attempts"][0]["outcome"], patience_s=1.5)
    trial = wait_for_end(ledger, study)
    first, second = trial["attempts"]
    assert (first["outcome"], first["reason"]) == ("lost", "the slot process was killed by signal 9 (SIGKILL)")
    assert (trial["outcome"], second["resumed_from_step"] > 0) == ("finished", True)
    assert [row["epoch"] for row in trial["measurements"]] == [0, 1, 2, 3, 4]
    wait_until(lambda: len(worker.slots()) == 2)


def test_trial_over_its_time_limit_is_ended_with_its_slot(ledger, worker, app):
    study = add_study(ledger, workload=SLOW, options={"epochs": 1, "step_s": 60}, trial_s=0.5)
    announce_work(app, "cpu", 1)
    trial = wait_for_end(ledger, study)
    assert (trial["state"], trial["outcome"]) == ("FAIL", "time_limit")
    assert trial["reason"] == "the trial ran longer than its limit of 0.5 s, over all its attempts"
    assert (trial["finished_at"] - trial["started_at"]).total_seconds() < 2


def test_failing_workload_leaves_class_reason_traceback_and_log(ledger, worker, app):
    study = add_study(ledger, workload=RAISING)
    announce_work(app, "cpu", 1)
    trial = wait_for_end(ledger, study)
    assert (trial["outcome"], trial["reason"]) == ("workload_error", "RuntimeError: the batch is broken")
    (attempt,) = trial["attempts"]
    assert "this is the second line" in attempt["traceback"]
    assert "about to fail" in attempt["log_tail"]
    assert "WARNING worker" in attempt["log_tail"]


def test_worker_is_registered_with_what_it_can_run(ledger, worker):
    with ledger.transaction() as connection:
        (row,) = list_workers(connection, only_online=True)
        optimizers, workloads = registered_catalog(connection)
    assert (row["pid"], row["queues"], row["devices"], row["n_slots"]) == (worker.pid, ["cpu"], ["cpu"], 2)
    assert row["heartbeat_age_s"] < 3
    assert row["environment"]["torch"]
    assert workloads[SLOW]["options"][-1]["name"] == "step_s"
    assert "AdamP" in optimizers
