"""Searches that a budget in training steps or seconds ends: cells then hold different numbers of trials."""

import dataclasses

import numpy as np
import pytest

from service.domain.comparison import budget_gap
from service.domain.report import build_report
from service.domain.trial import Outcome, Phase, TrialState
from service.domain.verdict import VerdictKind
from service.output.forms import render
from tests.reference import estimates_oracle as oracle
from tests.reference.report_oracle import recompute
from tests.unit.domain.estimate_cases import document, full_source, table
from tests.unit.domain.report_cases import change

BUDGET = {"steps": 600}


def budgeted(**changes):
    """Trials of 96 steps, but adamp's of 150: 600 steps are 7 trials of one and 4 of the other, of at most 8."""
    source = full_source(search_budget=BUDGET, compare=(("adamw", "adamp"),), **changes)
    n_trials = {"adamw": 7, "adamp": 4, "tuned": 7}
    kept = [t for t in source.trials if t.phase is not Phase.SEARCH or t.cell_number < n_trials[t.arm]]
    kept = [t for t in kept if t.phase is Phase.SEARCH or t.config < n_trials[t.arm]]
    trials = change(kept, lambda t: t.arm == "adamp", n_steps=150, duration_s=3.0)
    return dataclasses.replace(source, trials=tuple(confirmed(trials)))


def confirmed(trials):
    """Every cell confirms what its search has; those whose winner was cut off confirm their first trial."""
    for replicate in {t.replicate for t in trials}:
        for arm in ("adamw", "adamp", "tuned"):
            own = [t for t in trials if (t.arm, t.replicate) == (arm, replicate)]
            yield from (t for t in own if t.phase is Phase.SEARCH)
            for index in range(3):
                seed, number = 10_000 * replicate + index, 1000 + 100 * replicate + 10 * index + len(arm) + ord(arm[-1])
                value = 0.4 + 0.01 * index + (0.1 + 0.02 * replicate) * (arm == "adamw")
                yield dataclasses.replace(
                    own[0], phase=Phase.CONFIRM, config=0, seed=seed, seed_index=index, number=number, value=value,
                    test_value=value, outcome=Outcome.FINISHED,
                )  # fmt: skip


def test_a_comparison_does_not_wait_for_trials_that_will_never_come():
    (pair,) = build_report(budgeted(is_finished=False)).comparisons
    assert pair.verdict.kind is VerdictKind.BETTER_BY_MARGIN
    assert pair.measurement.effect.n == 5
    assert "T = up to 8 search trials per cell, within 600 training steps" in pair.verdict.sentence


def test_it_waits_for_a_search_that_has_budget_left_and_counts_searches():
    source = budgeted(is_finished=False)
    trials = [t for t in source.trials if not (t.arm == "adamp" and t.replicate == 2 and t.cell_number == 3)]
    trials = [t for t in trials if not (t.arm == "adamp" and t.replicate == 2 and t.phase is Phase.CONFIRM)]
    short = dataclasses.replace(source, trials=tuple(trials))
    assert budget_gap(short, "adamp") == "adamp 4 of 5 searches"
    assert budget_gap(short, "adamw") is None
    (pair,) = build_report(short).comparisons
    assert pair.verdict.words == "not comparable yet: adamp 4 of 5 searches"
    (ended,) = build_report(dataclasses.replace(short, is_finished=True)).comparisons
    assert "Replicate 2 left out: search trials there, of at most 8 each: adamw 7 and adamp 3." in (
        ended.verdict.sentence
    )


def test_an_open_trial_of_a_search_that_is_over_holds_the_verdict_back():
    source = budgeted(is_finished=False)
    extra = dataclasses.replace(
        source.trials[0], number=9999, cell_number=7, config=7, state=TrialState.RUNNING, outcome=None, value=None
    )
    running = dataclasses.replace(source, trials=(*source.trials, extra))
    assert budget_gap(running, "adamw") == "adamw 15 of 15 confirm runs"


def test_seconds_are_a_budget_too():
    source = dataclasses.replace(budgeted(is_finished=False), search_budget={"device_s": 12})
    assert budget_gap(source, "adamw") is None  # 7 trials of 2 s
    assert budget_gap(source, "adamp") is None  # 4 trials of 3 s
    assert budget_gap(dataclasses.replace(source, search_budget={"device_s": 13}), "adamp") == "adamp 0 of 5 searches"


def test_every_verdict_and_curve_is_recomputed_from_the_json():
    report = document(budgeted())
    (found,), (expected,) = report["comparisons"], recompute(oracle.as_export(report))
    assert found["verdict"]["kind"] == expected["kind"]
    assert found["effect"]["mean"] == pytest.approx(expected["mean"], abs=1e-12)
    for row in table(report, "expected_best"):
        assert row["trials"][-1] == {"adamw": 7, "adamp": 4, "tuned": 7}[row["arm"]]
        assert row["value"] == pytest.approx(oracle.expected_best(report, row["arm"]))
    for row in table(report, "tunability"):
        found = (row["weighted_incumbent"], row["share_near_best"], row["few_over_all"])
        assert found == pytest.approx(oracle.tunability(report, row["arm"]))
    (row,) = table(report, "difference")
    mean, _ = oracle.difference(report, "adamw", "adamp")
    assert row["log_ratio"] == pytest.approx(mean)
    assert len(row["log_ratio"]) == 4
    assert "A budget of 600 training steps ended the searches" in report["estimates"]["difference"]["remark"]


@pytest.mark.parametrize(
    ("axis", "field", "ends"), [("steps", "n_steps", (150, 384)), ("device_s", "duration_s", (3, 8))]
)
def test_at_equal_cost_the_slower_arm_is_charged_for_it(axis, field, ends):
    report = document(budgeted())
    curve = table(report, "difference")[0][f"by_{axis}"]
    assert (curve["at"][0], curve["at"][-1]) == pytest.approx(ends)
    for index in (0, 5, 20, len(curve["at"]) - 1):
        expected = oracle.difference_at_cost(report, "adamw", "adamp", field, curve["at"][index])
        assert curve["log_ratio"][index] == pytest.approx(expected)
        assert curve["lower"][index] <= curve["log_ratio"][index] <= curve["upper"][index]


def test_arms_of_equal_cost_differ_by_cost_as_they_do_by_trials():
    report = document(full_source())
    for row in table(report, "difference"):
        assert row["by_steps"]["log_ratio"][-1] == pytest.approx(row["log_ratio"][-1])
        at = np.array(row["by_steps"]["at"]) / 96
        assert row["by_steps"]["log_ratio"] == pytest.approx(list(np.interp(at, row["trials"], row["log_ratio"])))


def test_arms_whose_costs_never_meet_have_no_curve_at_equal_cost():
    source = full_source()
    trials = change(source.trials, lambda t: t.arm == "adamp", duration_s=100.0, n_steps=None)
    row = table(document(dataclasses.replace(source, trials=trials)), "difference")[0]
    assert (row["by_steps"], row["by_device_s"]) == (None, None)


def test_planned_trainings_are_those_that_the_budget_left():
    report = document(budgeted())
    assert [arm["n_runs_planned"]["search"] for arm in report["arms"]] == [35, 20, 35]
    running = dataclasses.replace(budgeted(is_finished=False), trials=())
    assert document(running)["arms"][0]["n_runs_planned"]["search"] == 40


@pytest.mark.parametrize("form", ["md", "html", "csv", "svg"])
def test_every_form_says_the_budget(form):
    text = render(document(budgeted()), form)
    assert form in ("csv", "svg") or "up to 8 search trials within 600 training steps" in text
