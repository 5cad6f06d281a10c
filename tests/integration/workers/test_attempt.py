"""One attempt of a trial in this process, against the real ledger."""

import dataclasses
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from service.domain.trial import Outcome, Phase
from service.store.leases import hand_back_trial
from service.store.studies import end_study
from tests.integration.workers.support import (
    EXHAUSTING,
    RAISING,
    SLOW,
    add_study,
    trial_of,
    wait_until,
)
from workers.attempt import execute
from workers.checkpoint_folder import CheckpointFolder


class StopAfter(threading.Event):
    """Set by itself when it was asked so many times."""

    def __init__(self, n_times: int) -> None:
        super().__init__()
        self._n_left = n_times

    def is_set(self) -> bool:
        self._n_left -= 1
        return self._n_left < 0


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_finished_trial_has_its_result_and_all_measurements(ledger, place, claim):
    study = add_study(ledger, options={"epochs": 2})
    assert execute(claim(), place)
    trial = trial_of(ledger, study)
    assert (trial["state"], trial["outcome"], trial["attempt"]) == ("COMPLETE", "finished", 1)
    assert [row["epoch"] for row in trial["measurements"]] == [0, 1, 2]
    assert trial["measurements"][2]["value"] == trial["value"] > 0
    assert trial["measurements"][2]["step"] == trial["n_steps"] == 32
    assert set(trial["measurements"][1]["layers"]) >= {"hidden1.weight", "head.weight"}
    assert trial["duration_s"] > 0
    assert trial["cpu_s"] > 0
    assert len(trial["content_key"]) == 64
    assert trial["test_value"] is None
    assert trial["attempts"][0]["resumed_from_step"] is None


def test_only_a_confirm_trial_reads_the_test_set(ledger, place, claim):
    study = add_study(ledger, phase=Phase.CONFIRM)
    execute(claim(), place)
    assert trial_of(ledger, study)["test_value"] > 0


def test_memory_error_hands_the_trial_back_until_attempts_are_used_up(ledger, place, claim):
    study = add_study(ledger, workload=EXHAUSTING, attempts=2)
    assert not execute(claim(), place)
    first = trial_of(ledger, study)
    assert (first["state"], first["attempts"][0]["outcome"]) == ("WAITING", "out_of_memory")
    assert not execute(claim(), place)
    second = trial_of(ledger, study)
    assert (second["state"], second["outcome"], second["reason"]) == ("FAIL", "out_of_memory", "MemoryError")


def test_exception_of_a_workload_ends_its_trial_with_reason_and_traceback(ledger, place, claim):
    study = add_study(ledger, workload=RAISING)
    assert not execute(claim(), place)
    trial = trial_of(ledger, study)
    assert (trial["state"], trial["outcome"]) == ("FAIL", "workload_error")
    assert trial["reason"] == "RuntimeError: the batch is broken"
    assert 'trial_workloads.py", line' in trial["attempts"][0]["traceback"]
    assert [row["epoch"] for row in trial["measurements"]] == [0]


def test_unwritable_checkpoint_is_not_the_workloads_fault(ledger, place, claim, tmp_path):
    study = add_study(ledger, options={"epochs": 2})
    (tmp_path / "file").write_text("no folder")
    broken = CheckpointFolder(tmp_path / "file")
    execute(claim(), dataclasses.replace(place, checkpoints=broken, checkpoint_every_s=0.0))
    trial = trial_of(ledger, study)
    assert (trial["state"], trial["attempts"][0]["outcome"]) == ("WAITING", "lost")
    assert trial["reason"].startswith("the checkpoint cannot be written: ")


def test_cancelled_study_ends_a_running_trial(ledger, place, claim):
    study = add_study(ledger, workload=SLOW, options={"epochs": 10, "step_s": 0.02})
    taken = claim()
    thread = in_background(lambda: execute(taken, dataclasses.replace(place, lease=timedelta(seconds=0.6))))
    wait_until(lambda: trial_of(ledger, study)["measurements"])
    with ledger.transaction() as connection:
        assert end_study(connection, study, "CANCELLED")
    thread.join(5)
    assert not thread.is_alive()
    trial = trial_of(ledger, study)
    assert (trial["outcome"], trial["reason"]) == ("cancelled", "the trial was cancelled")


def test_attempt_that_lost_its_lease_stops_and_writes_nothing(ledger, place, claim):
    study = add_study(ledger, workload=SLOW, options={"epochs": 10, "step_s": 0.02})
    first = claim()
    thread = in_background(lambda: execute(first, dataclasses.replace(place, lease=timedelta(seconds=0.6))))
    wait_until(lambda: trial_of(ledger, study)["measurements"])
    with ledger.transaction() as connection:
        hand_back_trial(connection, first.trial_id, first.attempt, outcome=Outcome.LOST, reason="the lease ended")
    second = claim()
    thread.join(5)
    assert not thread.is_alive()
    trial = trial_of(ledger, study)
    assert (trial["state"], trial["attempt"], second.attempt) == ("RUNNING", 2, 2)
    assert len(trial["measurements"]) < 11


def test_late_write_of_a_lost_attempt_is_refused(ledger, place, claim, caplog):
    study = add_study(ledger)
    first = claim()
    with ledger.transaction() as connection:
        hand_back_trial(connection, first.trial_id, first.attempt, outcome=Outcome.LOST, reason="the lease ended")
    second = claim()
    with caplog.at_level(logging.WARNING):
        execute(first, place)
    assert "attempt 1 of trial 1 came too late" in caplog.text
    trial = trial_of(ledger, study)
    assert (trial["state"], trial["attempt"], trial["measurements"]) == ("RUNNING", second.attempt, [])


def test_interrupted_and_resumed_trial_equals_an_uninterrupted_one(ledger, place, claim):
    options = {"epochs": 3}
    whole, parted = add_study(ledger, options=options), add_study(ledger, options=options)
    execute(claim(), place)
    assert execute(claim(), dataclasses.replace(place, stopping=StopAfter(20)))
    released = trial_of(ledger, parted)
    assert (released["state"], released["attempts"][0]["outcome"]) == ("WAITING", "released")
    assert released["reason"] == "the worker stopped after step 21"
    assert [row["epoch"] for row in released["measurements"]] == [0, 1]
    execute(claim(), place)
    a, b = trial_of(ledger, whole), trial_of(ledger, parted)
    assert b["attempts"][1]["resumed_from_step"] == 21
    same = ("value", "test_value", "metrics", "n_steps", "content_key")
    assert [a[name] for name in same] == [b[name] for name in same]
    rows = ("epoch", "step", "value", "metrics", "layers")
    assert [[m[name] for name in rows] for m in a["measurements"]] == [
        [m[name] for name in rows] for m in b["measurements"]
    ]


def test_checkpoints_are_removed_when_their_trial_has_finished(ledger, place, claim, tmp_path):
    add_study(ledger, options={"epochs": 2})
    execute(claim(), dataclasses.replace(place, stopping=StopAfter(3)))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["trial-1-attempt-1.safetensors"]
    execute(claim(), place)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_checkpoint_of_another_host_means_a_restart_that_the_attempt_says(ledger, place, claim, tmp_path):
    study = add_study(ledger, options={"epochs": 2})
    execute(claim(), dataclasses.replace(place, stopping=StopAfter(3)))
    (tmp_path / "checkpoints" / "trial-1-attempt-1.safetensors").unlink()
    execute(claim(), place)
    trial = trial_of(ledger, study)
    assert (trial["outcome"], trial["attempts"][1]["resumed_from_step"]) == ("finished", 0)


def test_periodic_checkpoint_is_noted_with_no_measurement_missing_before_it(ledger, place, claim):
    study = add_study(ledger, workload=SLOW, options={"epochs": 2, "step_s": 0.02})
    taken = claim()
    thread = in_background(lambda: execute(taken, dataclasses.replace(place, checkpoint_every_s=0.1)))

    def noted() -> dict[str, object] | None:
        with ledger.transaction() as connection:
            row = connection.exec_driver_sql("SELECT checkpoint, attempt FROM trials").one()
        return row.checkpoint

    checkpoint = wait_until(noted)
    assert Path(checkpoint["path"]).name == "trial-1-attempt-1.safetensors"
    assert checkpoint["step"] > 0
    assert trial_of(ledger, study)["measurements"]
    thread.join(10)
    assert trial_of(ledger, study)["outcome"] == "finished"
