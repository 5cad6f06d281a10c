"""Requests to running trials reach real slots at once, however long the lease; draining workers leave hints to others.

The lease is so long that its renewals, which would bring the requests too, come far too late for these tests.
"""

import redis as redis_client

from service import control
from service.queue import announce_work, make_app
from service.store.workers import list_workers
from tests.integration.workers.support import SLOW, add_study, trial_of, wait_for_end, wait_until

LONG = {"TANGENT_LEASE": "600", "TANGENT_CHECKPOINT_EVERY": "600"}
SLOWLY = {"epochs": 50, "step_s": 0.2}
"""An epoch of about 4 s."""


def act(ledger, function, *arguments, **options):
    with ledger.transaction() as connection:
        return function(connection, *arguments, **options)


def start_running(ledger, start_worker, options=SLOWLY, **variables):
    study = add_study(ledger, workload=SLOW, options=options)
    worker = start_worker(**{**LONG, **variables})
    wait_until(lambda: trial_of(ledger, study)["state"] == "RUNNING")
    return study, worker


def test_cancelled_trial_stops_within_an_epoch(ledger, start_worker):
    study, _ = start_running(ledger, start_worker)
    act(ledger, control.cancel, study)
    trial = wait_for_end(ledger, study)
    assert (trial["outcome"], trial["reason"]) == ("cancelled", "the trial was cancelled")
    assert max((row["epoch"] for row in trial["measurements"]), default=0) <= 1


def test_paused_now_hands_back_with_a_checkpoint_and_resumes_from_it_uncounted(ledger, start_worker, redis):
    options = {"epochs": 2, "step_s": 0.1}
    study, worker = start_running(ledger, start_worker, options)
    slot = worker.slots()[0].pid
    assert act(ledger, control.pause, study, now=True) == 1
    wait_until(lambda: trial_of(ledger, study)["state"] == "WAITING")
    released = trial_of(ledger, study)["attempts"][0]
    assert released["outcome"] == "released"
    assert released["reason"].startswith("the trial was asked back after step ")
    act(ledger, control.resume, study)
    announce_work(make_app(redis.url), "cpu", 1)
    trial = wait_for_end(ledger, study)
    assert (trial["outcome"], trial["attempts"][1]["outcome"]) == ("finished", "finished")
    step = int(released["reason"].rpartition(" ")[2])
    assert trial["attempts"][1]["resumed_from_step"] == step > 0
    assert worker.slots()[0].pid == slot


def test_requeued_trial_runs_again_and_the_slot_that_had_it_writes_nothing(ledger, start_worker):
    study, worker = start_running(ledger, start_worker, {"epochs": 1, "step_s": 0.2})
    act(ledger, control.requeue, study, 0)
    trial = wait_for_end(ledger, study)
    assert [(a["outcome"], a["reason"]) for a in trial["attempts"]] == [
        ("released", "requeued by a user"),
        ("finished", None),
    ]
    assert "attempt 1 of trial" in worker.text()


def test_draining_worker_finishes_its_trial_and_leaves_hints_in_the_queue(ledger, start_worker, own_redis):
    own_redis.start()
    study, worker = start_running(ledger, start_worker, {"epochs": 1, "step_s": 0.05}, TANGENT_REDIS_URL=own_redis.url)
    (row,) = act(ledger, list_workers)
    assert act(ledger, control.drain, row["id"], is_draining=True) == "draining"
    worker.wait_for_line("drains; leaves hints")
    other = add_study(ledger)
    announce_work(make_app(own_redis.url), "cpu", 1)
    assert wait_for_end(ledger, study)["outcome"] == "finished"
    with redis_client.Redis.from_url(own_redis.url) as client:
        assert client.llen("cpu") == 1
    assert trial_of(ledger, other)["state"] == "WAITING"
    assert act(ledger, control.drain, row["id"], is_draining=False) == "online"
    assert wait_for_end(ledger, other)["outcome"] == "finished"
    assert worker.stop() < 10


def test_checkpoints_of_a_deleted_study_are_removed(ledger, start_worker, tmp_path):
    study, _ = start_running(ledger, start_worker)
    act(ledger, control.pause, study, now=True)
    wait_until(lambda: trial_of(ledger, study)["state"] == "WAITING")
    folder = tmp_path / "checkpoints"
    assert len(list(folder.glob("trial-*"))) == 1
    act(ledger, control.cancel, study)
    act(ledger, control.delete, study, "test")
    wait_until(lambda: not list(folder.glob("trial-*")))
