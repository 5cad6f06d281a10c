"""How workers end: told to, killed, and with engines that come late or go away."""

import os
import signal
import time

import psutil

from service.queue import ask_for_report, make_app
from service.store.workers import list_workers
from tests.integration.workers.support import SLOW, add_study, has_torch, trial_of, wait_for_end, wait_until


def test_sigterm_releases_the_trial_and_the_next_worker_resumes_it_bit_for_bit(ledger, start_worker):
    options = {"epochs": 3, "step_s": 0.02}
    study = add_study(ledger, workload=SLOW, options=options)
    worker = start_worker(TANGENT_LEASE="1")
    wait_until(lambda: len(trial_of(ledger, study)["measurements"]) >= 2)
    assert worker.stop() < 10
    released = trial_of(ledger, study)
    assert (released["state"], released["attempts"][0]["outcome"]) == ("WAITING", "released")
    with ledger.transaction() as connection:
        assert [row["state"] for row in list_workers(connection)] == ["offline"]
    uninterrupted = add_study(ledger, workload=SLOW, options=options)
    start_worker()
    parted, whole = wait_for_end(ledger, study), wait_for_end(ledger, uninterrupted)
    assert parted["attempts"][1]["resumed_from_step"] > 16
    same = ("value", "metrics", "n_steps", "content_key")
    assert [parted[name] for name in same] == [whole[name] for name in same]
    rows = ("epoch", "step", "value", "metrics", "layers")
    assert [[row[name] for name in rows] for row in parted["measurements"]] == [
        [row[name] for name in rows] for row in whole["measurements"]
    ]


def test_killed_worker_leaves_no_slot_behind(ledger, start_worker):
    study = add_study(ledger, workload=SLOW, options={"epochs": 1, "step_s": 60})
    worker = start_worker()
    wait_until(lambda: trial_of(ledger, study)["state"] == "RUNNING")
    slots = worker.slots()
    os.kill(worker.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(slots, timeout=3)
    assert len(slots) == 1
    assert alive == []


def test_second_signal_ends_the_worker_and_its_slots_at_once(ledger, start_worker):
    study = add_study(ledger, workload=SLOW, options={"epochs": 1, "step_s": 60})
    worker = start_worker()
    wait_until(lambda: trial_of(ledger, study)["state"] == "RUNNING")
    slots = worker.slots()
    worker.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert worker.process.poll() is None
    worker.process.send_signal(signal.SIGINT)
    assert worker.process.wait(2) == 128 + signal.SIGINT
    assert psutil.wait_procs(slots, timeout=3)[1] == []


def test_trial_that_does_not_reach_a_step_is_released_within_ten_seconds(ledger, start_worker):
    study = add_study(ledger, workload=SLOW, options={"epochs": 1, "step_s": 60})
    worker = start_worker()
    wait_until(lambda: trial_of(ledger, study)["state"] == "RUNNING")
    assert worker.stop() < 10
    trial = trial_of(ledger, study)
    assert (trial["state"], trial["attempts"][0]["outcome"]) == ("WAITING", "released")


def test_reports_worker_has_neither_slots_nor_torch_and_outlives_its_broker(ledger, start_worker, own_redis):
    study = add_study(ledger)
    worker = start_worker(queues="reports", TANGENT_REDIS_URL=own_redis.url)
    worker.wait_for_line("waiting: Redis does not answer")
    assert "Traceback" not in worker.text()
    own_redis.start()
    worker.wait_for_line("serving reports with 0 slots")
    own_redis.stop()
    time.sleep(0.5)
    own_redis.start()
    ask_for_report(make_app(own_redis.url), study)

    def report() -> object:
        with ledger.transaction() as connection:
            return connection.exec_driver_sql("SELECT study_id FROM reports").scalar()

    assert wait_until(report) == study
    assert worker.slots() == []
    assert not has_torch(worker.pid)
    assert worker.stop() < 5
