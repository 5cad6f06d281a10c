"""Times for the planner come from real trainings, whole ones or the part that fits."""

import io
import itertools
import json
import math

import pytest

from service.calibrating import calibrated, calibration_document
from service.domain.catalog import BUILT_IN
from service.domain.cost import estimate_cost, total_s
from service.domain.plain import to_plain
from service.domain.validation import study_from_file
from service.errors import TangentError
from workers import calibrate
from workers.run import Measurement, Run, Start

FILE = {
    "schema": 1,
    "name": "timed",
    "workload": {"name": "digits-mlp", "options": {"epochs": 2, "width": 8}},
    "arms": [{"name": "adamw", "optimizer": "AdamW"}, {"name": "sgd", "optimizer": "SGD", "search": {"lr": 0.1}}],
}


def answer(**changes):
    """As the API validates the file."""
    study = study_from_file({**FILE, **changes}, BUILT_IN)
    cost = to_plain(estimate_cost(study, BUILT_IN.workloads["digits-mlp"]))
    return {"spec": study.to_dict(), "cost": {**cost, "n_slots": 4, "wall_s": cost["device_s"] / 4}}


def test_every_arm_is_timed_in_the_middle_of_its_ranges_on_the_seed_of_calibration():
    document = calibration_document(answer()["spec"])
    adamw, sgd = document["runs"]
    assert adamw["params"]["lr"] == pytest.approx(math.sqrt(1e-4 * 1e-1))
    assert sgd["params"]["lr"] == 0.1
    assert adamw["seed"] == sgd["seed"]
    assert document["most_s"] == 30


def test_the_cost_follows_from_what_was_measured():
    before = answer()
    after = calibrated(before)
    run_s = after["cost"]["calibration"]
    assert set(run_s) == {"adamw", "sgd"}
    assert all(0 < seconds < 60 for seconds in run_s.values())
    assert after["cost"]["run_s"] == pytest.approx(sum(run_s.values()) / 2)
    assert after["cost"]["device_s"] == pytest.approx(after["cost"]["run_s"] * before["cost"]["n_trainings"])
    assert after["cost"]["wall_s"] == pytest.approx(after["cost"]["device_s"] / 4)
    assert after["cost"]["n_measured"] == 2


def test_what_cannot_run_here_is_one_sentence():
    spec = answer()["spec"]
    foreign = {**spec, "arms": [{"name": "lion", "optimizer": "my.lib:Lion", "search": {"lr": 0.1}}]}
    with pytest.raises(TangentError, match=r"cannot run on this machine, to be timed: .*my\.lib:Lion"):
        calibrated({**answer(), "spec": foreign})


def test_a_training_that_takes_too_long_is_timed_by_its_steps(monkeypatch):
    """A clock that jumps a second at each look: after 2 of 10 steps' epochs the time is over."""
    seconds = itertools.count()
    monkeypatch.setattr(calibrate.time, "perf_counter", lambda: float(next(seconds)))
    watch = calibrate.Stopwatch(most_s=3)
    watch.started(Start(step=0, n_steps=10, n_epochs=5))
    watch.measured(Measurement(0, 0, 2.3, {}, {}))
    assert not watch.should_stop()  # no epoch was timed yet
    watch.measured(Measurement(1, 2, 1.0, {}, {}))
    assert watch._elapsed_s == 2
    assert [watch.should_stop(), watch.should_stop()] == [False, True]
    assert watch.run_s() == 10


def test_a_stopped_training_is_no_whole_one_and_a_short_one_is():
    run = Run("digits-mlp", {"epochs": 400, "width": 8}, "AdamW", {"lr": 0.01}, 5)
    run_s, is_whole = calibrate.measure(run, 0.2, ())
    assert not is_whole
    assert run_s > 0.2
    short = Run("digits-mlp", {"epochs": 1, "width": 8}, "AdamW", {"lr": 0.01}, 5)
    assert calibrate.measure(short, 60.0, ())[1]


def test_the_program_answers_in_json_and_says_what_cannot_run(monkeypatch, capsys):
    document = {"runs": [{**calibration_document(answer()["spec"])["runs"][0], "workload": "nowhere"}], "most_s": 1}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(document)))
    assert calibrate.main() == calibrate.CANNOT_RUN
    assert "nowhere" in json.loads(capsys.readouterr().out)["error"]


def test_a_budget_in_seconds_bounds_what_searches_take():
    free = study_from_file(FILE, BUILT_IN)
    bound = study_from_file({**FILE, "search": {"trials": 30, "budget": {"device_s": 10}}}, BUILT_IN)
    reruns = 25 + 5
    assert total_s(free, 2.0) == free.n_cells * (30 + reruns) * 2.0
    assert total_s(bound, 2.0) == bound.n_cells * (11 + reruns * 2.0)
    assert total_s(bound, 0.1) == bound.n_cells * (30 + reruns) * 0.1
