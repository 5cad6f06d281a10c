"""SIGKILL of every process of an instance while a study runs: each is started again, and the study finishes."""

import signal
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from tests.e2e.support import SMALL, family, kill, recorded, runs, slots_of, succeed, tangent, wait_for

pytestmark = pytest.mark.xdist_group("killing")
SLOW = {
    **SMALL,
    "workload": {"name": "digits-mlp", "options": {"epochs": 12}},
    "replicates": 2,
    "confirm": {"seeds": 1},
}
"""24 trainings of some tenths of a second each."""


def submit(client: Client, name: str) -> int:
    return int(client.submit({**SLOW, "name": name, "seed": sum(map(ord, name))})["id"])


def running_trials(client: Client, study: int) -> dict[int, int]:
    """Attempts of the running trials, by number."""
    return {trial["number"]: trial["attempt"] for trial in client.trials(study, state="RUNNING")}


def hold_while_both_train(client: Client, study: int, slots: list[int]) -> dict[int, int]:
    """Stop the slots where they are, each in a trial, so that what runs now runs still when one is killed."""
    for pid in slots:
        kill(pid, signal.SIGSTOP)
    running = running_trials(client, study)
    if len(running) == len(slots):
        return running
    for pid in slots:
        kill(pid, signal.SIGCONT)
    return {}


def expect_finished(instance: Path, client: Client, study: int) -> list[dict[str, Any]]:
    """The command that waits must outlive the outage too."""
    succeed(tangent(instance, "watch", study))
    view = client.show(study)
    assert view["state"] == "FINISHED"
    assert view["counts"]["n_complete"] == view["n_planned"] == 24
    assert view["counts"]["n_fail"] == 0
    return client.trials(study)


@pytest.mark.parametrize("victim", ["slot", "worker-cpu"])
def test_killed_trainer_costs_a_second_attempt_and_no_trial(instance: Path, client: Client, victim: str) -> None:
    study = submit(client, victim)
    wait_for(lambda: client.show(study)["counts"]["n_complete"] >= 2, "a study under way")
    slots = [slot.pid for slot in slots_of(instance)]
    running = wait_for(lambda: hold_while_both_train(client, study, slots), "two running trials")
    pid = slots[0] if victim == "slot" else recorded(instance)[victim]
    below = [one.pid for one in family(pid)]
    kill(pid)
    if victim == "slot":
        kill(slots[1], signal.SIGCONT)
    wait_for(lambda: not any(map(runs, below)), "the slots gone too", 5)
    trials = {trial["number"]: trial for trial in expect_finished(instance, client, study)}
    again = [number for number in running if trials[number]["attempt"] == 2]
    assert len(again) == (1 if victim == "slot" else len(running))
    for number in again:
        attempts = client.trial(study, number)["attempts"]
        assert [attempt["attempt"] for attempt in attempts] == [1, 2]
        assert attempts[0]["outcome"] == "lost"


@pytest.mark.parametrize("victim", ["coordinator", "api", "redis", "postgres", "worker-reports"])
def test_killed_process_is_started_again_and_the_study_finishes(instance: Path, client: Client, victim: str) -> None:
    study = submit(client, victim)
    wait_for(lambda: client.show(study)["counts"]["n_complete"] >= 1, "a study under way")
    before = recorded(instance)
    kill(before[victim])
    after = wait_for(
        lambda: (pid := recorded(instance).get(victim)) not in (None, before[victim]) and pid, f"another {victim}", 20
    )
    assert after != before[victim]
    expect_finished(instance, client, study)
    assert succeed(tangent(instance, "report", study)).count("←") >= 1
