"""The short form of the self-test: each kind of plant once, through the command; `make test-long` plants all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.check.plants import read_plants
from workers.check.selftest import SHORT, make_repository, self_test


@pytest.fixture(scope="module")
def outcomes():
    return {outcome.name: outcome for outcome in self_test(SHORT, [0], lambda _: None)}


@pytest.mark.timeout(600)
def test_planted_bugs_trip_their_layer_and_a_refactor_none(outcomes):
    assert [outcome.name for outcome in outcomes.values() if not outcome.is_right] == []
    assert set(outcomes) == set(SHORT)
    assert {outcome.exit_code for outcome in outcomes.values() if outcome.expected} == {1}
    assert {outcome.exit_code for outcome in outcomes.values() if not outcome.expected} == {0}


@pytest.mark.timeout(600)
def test_the_scripts_fail_with_the_bug_on_the_path_and_pass_without_it(outcomes, tmp_path):
    original, planted = (make_repository(tmp_path / name) for name in ("original", "planted"))
    plants = {plant.name: plant for plant in read_plants()}
    with_script = [outcome for outcome in outcomes.values() if outcome.script]
    assert len(with_script) >= 2
    for outcome in with_script:
        assert len(outcome.script.splitlines()) <= 15
        assert run(outcome.script, original) == ""
        plants[outcome.name].apply(planted / "adamp")
        assert "AssertionError: off by" in run(outcome.script, planted)
        subprocess.run(["git", "checkout", "-q", "--", "."], cwd=planted, check=True)


def run(script: str, folder: Path) -> str:
    """What it says on standard error."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-"], input=script, env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is (done.stderr == "")
    return done.stderr
