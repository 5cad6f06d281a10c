"""The speed layer between two real processes: what a planted fault trips, and what the same code does not."""

from collections.abc import Iterator

import pytest

from service.domain.checks import CheckVerdict, LayerResult
from tests.integration.check.planting import Stable, toy_config
from workers.check.speed import run_speed


@pytest.fixture(scope="module")
def stable() -> Iterator[Stable]:
    shared = Stable()
    yield shared
    shared.close()


def compared(stable: Stable, name: str) -> LayerResult:
    config = toy_config(speed_limit=0.5)  # far from noise: the fault takes many times the step's own time
    return run_speed(stable.side("baseline", "Plain"), stable.side("candidate", name), config, 0, lambda _: None)


def test_the_same_code_passes_and_every_counter_is_equal(stable: Stable) -> None:
    result = compared(stable, "Rebuilt")
    verdicts = {finding.name: finding.verdict for finding in result.findings}
    counters = ("aten-operators", "host-reads", "state-bytes")
    assert {name: verdicts[name] for name in counters} == dict.fromkeys(counters, CheckVerdict.PASS)
    assert {name for name in verdicts if name.startswith("step-time")} == {"step-time-small", "step-time-large"}
    assert CheckVerdict.FAIL not in verdicts.values()
    assert all(finding.data for finding in result.findings)


def test_a_sleep_is_time_though_it_takes_no_processor(stable: Stable) -> None:
    result = compared(stable, "Slower")
    by_name = {finding.name: finding for finding in result.findings}
    assert by_name["step-time-small"].verdict is CheckVerdict.FAIL
    assert "a sleep, a lock or a file" in by_name["step-time-small"].explanation


@pytest.mark.parametrize(("name", "finding"), [("Shadow", "state-bytes"), ("Peeking", "host-reads")])
def test_a_counter_that_fails_decides_before_anything_is_timed(stable: Stable, name: str, finding: str) -> None:
    result = compared(stable, name)
    assert {f.name: f.verdict for f in result.findings}[finding] is CheckVerdict.FAIL
    assert result.reason == "not timed: a counter failed, which decides"
    assert not any(f.name.startswith("step-time") for f in result.findings)


def test_fewer_operators_ask_for_a_new_baseline(stable: Stable) -> None:
    found = {f.name: f for f in compared(stable, "Thrifty").findings}["aten-operators"]
    assert found.verdict is CheckVerdict.CHANGED
    assert found.sentence.endswith("an improvement; update the baseline")
