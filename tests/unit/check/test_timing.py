"""Judging times: on numbers, without a clock."""

import math
from pathlib import Path

import numpy as np
import pytest

from service.domain.checks import CheckVerdict, Finding
from workers.check.config import make_config
from workers.check.speed import log_ratio, steps_of_a_burst, time_subject, timing_finding
from workers.check.timing import ROUNDS, judge_timing

LIMIT = 0.10


def a_round(baseline_s, candidate_s, waits=0):
    sides = ("baseline", "candidate", "candidate", "baseline")
    times = {"baseline": baseline_s, "candidate": candidate_s}
    n_waits = {"baseline": 0, "candidate": waits}
    return [(side, {"time_s": times[side], "wall_s": 2 * times[side], "waits": n_waits[side]}) for side in sides]


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0.0, CheckVerdict.PASS), (-0.5, CheckVerdict.PASS), (0.2, CheckVerdict.FAIL), (0.095, CheckVerdict.INCONCLUSIVE)],
)
def test_a_shift_is_judged_against_the_limit(shift, verdict):
    noise = np.random.default_rng(0).normal(shift, 0.03, 24)
    assert judge_timing(list(noise), LIMIT).verdict is verdict


def test_one_wild_round_decides_nothing():
    steady = [0.001 * k for k in range(11)]
    assert judge_timing([*steady, 5.0], LIMIT).verdict is CheckVerdict.PASS
    assert judge_timing([0.3 + value for value in steady] + [-5.0], LIMIT).verdict is CheckVerdict.FAIL


@pytest.mark.parametrize("n", [8, 12, 24])
def test_the_interval_covers_the_median_of_a_skewed_distribution_in_99_of_100(n):
    draws = np.random.default_rng(n).exponential(1.0, (4000, n)) - math.log(2)  # median 0
    found = [judge_timing(list(row), LIMIT) for row in draws]
    assert 0.985 < np.mean([timing.low <= 0 <= timing.high for timing in found]) <= 1.0


def test_the_same_code_fails_at_no_look_in_a_thousand_checks_under_heavy_noise():
    draws = np.random.default_rng(5).standard_t(3, (1000, ROUNDS[-1])) * 0.06
    assert not any(judge_timing(list(row[:n]), LIMIT).verdict is CheckVerdict.FAIL for row in draws for n in ROUNDS)


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="at least 8 rounds, got 7"):
        judge_timing([0.0] * 7, LIMIT)


def test_a_round_is_the_ratio_of_geometric_means_and_does_not_see_a_drift():
    assert log_ratio(a_round(2.0, 3.0)) == pytest.approx(math.log(1.5))
    drifting = [(side, {"time_s": math.exp(0.1 * k)}) for k, (side, _) in enumerate(a_round(1.0, 1.0))]
    assert log_ratio(drifting) == pytest.approx(0.0)


@pytest.mark.parametrize(("step_s", "n_steps"), [(1e-4, 120), (1.0, 1), (1e-9, 2000), (3e-3, 4)])
def test_a_burst_takes_as_many_steps_as_fill_twelve_milliseconds(step_s, n_steps):
    assert steps_of_a_burst(lambda n: {"time_s": n * step_s}) == n_steps


def test_the_finding_carries_what_it_was_judged_on():
    finding = timing_finding("small", [a_round(1e-3, 1.5e-3)] * 12, 10, LIMIT)
    assert (finding.verdict, finding.name, finding.unit) == (CheckVerdict.FAIL, "step-time-small", "%")
    assert finding.estimate == pytest.approx(50.0)
    assert finding.limit == pytest.approx(10.0)
    assert finding.sentence == (
        "a step on small tensors: +50.0 % time (99 % +50.0 % to +50.0 %) in 12 rounds: more than 10 % slower"
    )
    assert finding.data["step_us"] == {"baseline": pytest.approx(100.0), "candidate": pytest.approx(150.0)}
    assert len(finding.data["rounds"]) == 12


def test_a_candidate_that_waits_is_told_so():
    finding = timing_finding("small", [a_round(1e-3, 1.5e-3, waits=10)] * 12, 10, LIMIT)
    assert "gives the processor away 1 times a step" in finding.explanation
    assert timing_finding("small", [a_round(1e-3, 1.5e-3, waits=2)] * 12, 10, LIMIT).explanation == ""


def test_an_undecided_time_says_what_would_decide_it():
    rounds = [a_round(1.0, math.exp(0.02 * k)) for k in range(12)]
    finding = timing_finding("small", rounds, 10, LIMIT)
    assert finding.verdict is CheckVerdict.INCONCLUSIVE
    assert "again on a quieter machine, or with more speed_budget_s" in finding.sentence


class Clock:
    """A side whose steps take 50 us each, or more in its first process."""

    def __init__(self, role: str, *, slower: float = 0.0, at_first: float = 0.0) -> None:
        self.role, self.n_steps, self.n_processes = role, 0, 1
        self._slower, self._at_first = slower, at_first

    def call(self, command: str, *, steps: int, **_: object) -> dict[str, float]:
        assert command == "burst"
        self.n_steps += steps
        time_s = 5e-5 * steps * (1 + self._slower + (self._at_first if self.n_processes == 1 else 0.0))
        return {"time_s": time_s, "wall_s": time_s, "waits": 0}

    def close(self) -> None:
        self.n_processes += 1


def timed(**how: float) -> tuple[Finding, Clock, Clock]:
    sides = Clock("baseline"), Clock("candidate", **how)
    config = make_config("sgd", {"optimizer": "torch.optim:SGD"}, Path())
    return time_subject(*sides, config, 0, "small", lambda _: None), *sides


def test_both_sides_take_the_same_steps_because_later_ones_may_cost_less():
    finding, baseline, candidate = timed()
    assert finding.verdict is CheckVerdict.PASS
    assert (baseline.n_processes, candidate.n_processes) == (1, 1)
    assert baseline.n_steps == candidate.n_steps > 0


def test_a_loss_of_speed_that_new_processes_do_not_show_is_none():
    finding, baseline, candidate = timed(at_first=0.2)
    assert finding.verdict is CheckVerdict.PASS
    assert finding.data["new_processes_after"][:2] == [12, 24]
    assert baseline.n_processes == candidate.n_processes > 2


def test_a_loss_of_speed_that_new_processes_show_too_fails():
    finding, _, candidate = timed(slower=0.2)
    assert finding.verdict is CheckVerdict.FAIL
    assert "more than 10 % slower" in finding.sentence
    assert (len(finding.data["rounds"]), candidate.n_processes) == (24, 2)
