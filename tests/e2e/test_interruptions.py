"""Ctrl-C, kills and lifelines: at whatever moment, nothing is left running, and the next demo goes on."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.support import (
    TANGENT,
    environment_of,
    expect_nothing_left,
    in_foreground,
    kill,
    recorded,
    refusal,
    runs,
    slots_of,
    succeed,
    tangent,
    wait_for,
)

pytestmark = pytest.mark.xdist_group("interruptions")
STOP = "stop       tangent down"
"""What `up` writes when everything runs."""
SECTIONS = ("The mechanism", "The verdicts", "The controls", "What to do next", "from adamp import AdamP")


def test_interrupted_demo_leaves_nothing_and_the_next_one_finishes_its_studies(home: Path) -> None:
    with in_foreground(home, "demo", "--quick", "--slots", "2") as demo:
        demo.read_until("starts anew")
        demo.read_until(" 1/", 60)  # the bars are drawn, and a training has ended
        trainers = wait_for(lambda: slots_of(home), "slots that train")
        pids = [*recorded(home).values(), *(slot.pid for slot in trainers)]
        started = time.monotonic()
        demo.press_ctrl_c()
        time.sleep(0.1)
        demo.press_ctrl_c()
        assert demo.wait(20) == 130
        assert time.monotonic() - started < 20
    assert len(pids) == 9
    assert not any(runs(pid) for pid in pids)
    expect_nothing_left(home)
    assert "Traceback" not in demo.screen
    finished = tangent(home, "demo", "--quick", "--slots", "2", patience_s=200)
    assert all(section in succeed(finished) for section in SECTIONS)
    assert finished.stderr.count("which an earlier demo left unfinished") >= 1
    assert "starts anew" not in finished.stderr
    assert re.search(
        r"^  its dashboard, live: http://127\.0\.0\.1:\d+/login\?code=\S+ \(", finished.stderr, re.MULTILINE
    )
    assert "`make demo OPEN=1` keeps its pages up" in " ".join(finished.stdout.split())
    assert "\x1b" not in finished.stdout
    expect_nothing_left(home)


@pytest.mark.parametrize("moment", ["Is AdamP", "starting PostgreSQL", "migrating", "starting the API"])
def test_ctrl_c_twice_while_starting_leaves_nothing(home: Path, moment: str) -> None:
    with in_foreground(home, "demo", "--quick") as demo:
        demo.read_until(moment)
        demo.press_ctrl_c()
        demo.press_ctrl_c()
        assert demo.wait(20) == 130
    assert "Traceback" not in demo.screen
    expect_nothing_left(home)


def test_sigterm_while_starting_leaves_nothing(home: Path) -> None:
    with in_foreground(home, "up", "--port", "0") as up:
        up.read_until("starting the API")
        os.kill(up.process.pid, signal.SIGTERM)
        assert up.wait(20) == 128 + signal.SIGTERM
    expect_nothing_left(home)


def test_ctrl_c_while_stopping_does_not_cut_the_stop_short(home: Path) -> None:
    with in_foreground(home, "up", "--foreground", "--port", "0") as up:
        up.read_until(STOP)
        up.press_ctrl_c()
        worker = recorded(home)["worker-cpu"]
        wait_for(lambda: not runs(worker), "the worker stopped")
        up.press_ctrl_c()
        assert up.wait(20) == 130
    assert "Traceback" not in up.screen
    expect_nothing_left(home)


def test_instance_does_not_outlive_a_killed_command(home: Path) -> None:
    with in_foreground(home, "up", "--foreground", "--port", "0") as up:
        up.read_until(STOP)
        supervisor = recorded(home)["supervisor"]
        kill(up.process.pid)
        wait_for(lambda: not runs(supervisor), "the supervisor stopped by its lifeline")
    expect_nothing_left(home)


def test_killed_supervisor_is_said_and_reaped(home: Path) -> None:
    command = subprocess.Popen(
        [TANGENT, "demo", "--quick"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_of(home),
        start_new_session=True,
    )
    with command:
        wait_for(lambda: slots_of(home), "slots")
        pids = recorded(home)
        kill(pids["supervisor"])
        output, errors = command.communicate(timeout=40)
    sentence = refusal(subprocess.CompletedProcess([], command.returncode, output, errors))
    assert sentence.startswith("the supervisor was killed by signal 9")
    assert not any(runs(pid) for pid in pids.values())
    expect_nothing_left(home)


def test_supervisor_killed_under_up_is_reaped_by_the_next_one(home: Path) -> None:
    succeed(tangent(home, "up", "--port", "0"))
    before = recorded(home)
    kill(before["supervisor"])
    assert "no Tangent runs" in refusal(tangent(home, "list"))
    again = tangent(home, "up", "--port", "0")
    succeed(again)
    assert "had left: worker-cpu, worker-reports, coordinator, api" in again.stderr
    assert not any(runs(pid) for pid in before.values())


def test_child_that_dies_again_and_again_stops_the_instance(home: Path) -> None:
    with in_foreground(home, "up", "--foreground", "--port", "0", columns=200) as up:
        up.read_until(STOP)
        last = None
        for _ in range(4):
            last = wait_for(
                lambda last=last: (pid := recorded(home).get("coordinator")) != last and pid,  # type: ignore[misc]
                "another coordinator",
            )
            kill(last)
        assert up.wait(20) == 1
    assert up.screen.count("it is started again") == 3
    assert "tangent: coordinator was killed by signal 9 for the 4th time in five minutes; see " in up.screen
    expect_nothing_left(home)
