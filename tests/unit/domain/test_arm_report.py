"""Arms, ranges and notes of a report, and what it is built from."""

import dataclasses
import math
import random

import numpy as np
import pytest

from service.domain.plain import to_plain
from service.domain.report import ArmInput, ReportInput, build_report
from service.domain.space import log
from service.domain.study import Arm, SearchPlan, Study
from service.domain.trial import LayerMeasurement, Phase
from service.domain.verdict import VerdictKind
from tests.unit.domain.report_cases import (
    CONFIRM,
    confirms,
    diverge,
    example_study,
    lose,
)
from tests.unit.domain.study_simulation import SimulatedStudy

K = VerdictKind


@pytest.fixture(scope="module")
def study():
    return example_study()


class TestArms:
    def test_winners_are_those_of_the_select_phase(self, study):
        arm = build_report(study.report_input()).arms[1]
        assert [w.replicate for w in arm.winners] == list(range(5))
        winner = arm.winners[2]
        select = [t for t in study.records if (t.arm, t.replicate, t.phase) == ("adamp", 2, Phase.SELECT)]
        means = {
            c: np.exp(np.mean([math.log(t.value) for t in select if t.config == c])) for c in {t.config for t in select}
        }
        assert winner.select_mean == pytest.approx(min(means.values()))
        assert winner.select_mean == pytest.approx(means[winner.config])
        search = next(t for t in study.records if t.number == winner.trial)
        assert (search.phase, search.arm, search.replicate) == (Phase.SEARCH, "adamp", 2)
        assert search.params == winner.params

    def test_a_winner_with_a_diverged_select_run_has_no_select_mean(self, study):
        winner = build_report(study.report_input()).arms[0].winners[0]
        trials = diverge(
            study.records,
            lambda t: (t.arm, t.replicate, t.phase, t.seed_index) == ("adamw", 0, Phase.SELECT, 0),
        )
        arm = build_report(study.report_input(trials=trials)).arms[0]
        assert (arm.winners[0].config, arm.winners[0].select_mean, arm.winners[0].n_select) == (winner.config, None, 2)

    def test_confirm_runs_of_another_configuration_are_ignored(self, study):
        winner = build_report(study.report_input()).arms[0].winners[0]
        run = next(t for t in study.records if confirms("adamw", 0)(t))
        other = dataclasses.replace(run, number=10_000, config=winner.config + 1, seed=5, seed_index=9, test_value=9.0)
        report = build_report(study.report_input(trials=(*study.records, other)))
        assert report.arms[0] == dataclasses.replace(
            build_report(study.report_input()).arms[0],
            n_runs=report.arms[0].n_runs,
            cpu_s=report.arms[0].cpu_s,
            duration_s=report.arms[0].duration_s,
        )

    def test_winners_show_before_the_confirm_phase(self, study):
        trials = [t for t in study.records if t.phase is not CONFIRM]
        confirmed = build_report(study.report_input()).arms[1].winners
        assert build_report(study.report_input(trials=trials)).arms[1].winners == confirmed

    def test_confirmed_endpoint_is_a_geometric_mean_over_replicates(self, study):
        arm = build_report(study.report_input()).arms[0]
        logs = [np.mean([math.log(t.test_value) for t in study.records if confirms("adamw", r)(t)]) for r in range(5)]
        assert arm.endpoint == pytest.approx(math.exp(np.mean(logs)))
        half = 2.7764451 * np.std(logs, ddof=1) / math.sqrt(5)
        assert arm.endpoint_interval_95.upper == pytest.approx(math.exp(np.mean(logs) + half))
        accuracies = [t.metrics["test_accuracy"] for t in study.records if confirms("adamw")(t)]
        assert arm.test_accuracy == pytest.approx(np.mean(accuracies))

    def test_budget_divergence_and_cost(self, study):
        trials = diverge(study.records, lambda t: t.arm == "sgd" and t.phase is Phase.SEARCH and t.cell_number == 7)
        trials = lose(trials, confirms("sgd", replicate=0, seeds=[0]))
        arm = build_report(study.report_input(trials=trials)).arms[2]
        assert (arm.n_search, arm.n_search_planned, arm.n_not_counted) == (40, 40, 1)
        assert arm.n_runs == {"search": 40, "select": 20, "confirm": 14}
        assert arm.n_runs_planned == {"search": 40, "select": 20, "confirm": 15}
        assert (arm.search_divergence.count, arm.search_divergence.n) == (5, 40)
        assert (arm.confirm_divergence.count, arm.confirm_divergence.n) == (0, 14)
        assert (arm.cpu_s, arm.duration_s) == (75 * 1.5, 75 * 2.0)

    def test_an_arm_without_runs_has_no_numbers(self, study):
        arm = build_report(study.report_input(trials=())).arms[0]
        assert (arm.endpoint, arm.endpoint_interval_95, arm.test_accuracy, arm.cpu_s) == (None,) * 4
        assert arm.winners == ()


class TestRangesAndNotes:
    def test_a_narrow_range_downgrades_the_verdict(self):
        shifts = {"adamw": 0.0, "adamp": -0.2}
        study = SimulatedStudy(shifts, optimum=1.2, n_trials=30, tuning_sd=0.02)
        report = build_report(study.report_input())
        verdict = report.comparisons[0].verdict
        assert verdict.before_downgrade is K.BETTER_BY_MARGIN
        assert verdict.kind is K.INCONCLUSIVE
        assert "range of adamw too narrow: lr at its upper edge (0.1)" in verdict.sentence
        assert any(note.startswith("Range too narrow: adamw, lr at its upper edge") for note in report.notes)

    def notes(self, *optimizers, spaces=None):
        arms = tuple(
            ArmInput(name.lower(), name, "adam", (spaces or {}).get(name, {"weight_decay": 0.1})) for name in optimizers
        )
        compare = ((arms[0].name, arms[1].name),)
        study = SimulatedStudy({arm.name: 0.0 for arm in arms})
        return " ".join(build_report(study.report_input(arms=arms, compare=compare)).notes)

    def test_a_projecting_arm_without_its_decoupled_baseline_is_a_confounder(self):
        assert "AdamP is compared without AdamW" in self.notes("Adam", "AdamP")
        assert "adamp against adam mixes two changes" in self.notes("Adam", "AdamP")
        assert "SGDP is compared without SGDW" in self.notes("AdamW", "SGDP")
        assert "sgdp against sgd mixes two changes" in self.notes("SGD", "SGDP", "SGDW")
        assert self.notes("AdamW", "AdamP") == ""
        assert self.notes("SGDW", "SGDP", "SGD") == ""
        assert self.notes("Lion", "AdamW") == ""

    def test_a_decay_ratio_without_decay_is_dead(self):
        spaces = {"AdamP": {"weight_decay": 0.0, "wd_ratio": {"log": [0.01, 1]}}}
        assert "wd_ratio is searched in adamp where weight_decay is 0" in self.notes("AdamW", "AdamP", spaces=spaces)

    def test_projections_that_never_fire_are_named(self, study):
        trials = [t.number for t in study.records if confirms("adamp")(t)]
        layers = [LayerMeasurement(n, "conv", e, 1.0, 0.1, 0.0, True) for n in trials for e in (0, 1)]
        report = build_report(study.report_input(layers=layers))
        assert any(note.startswith("No projection fired in adamp") for note in report.notes)
        assert report.to_dict()["mechanism"]["arms"][1]["projection_rate"] == 0.0


def test_input_from_a_study_file_takes_every_constant():
    space = {"lr": log(1e-4, 1e-1), "delta": 0.1}
    spec = Study(
        name="demo",
        workload="digits-cnn",
        arms=(Arm("adamw", "AdamW", space), Arm("mine", "Mine", space)),
        compare=(("adamw", "mine"),),
        search=SearchPlan(trials=12),
        select_top=3,
        select_seeds=2,
        confirm_seeds=4,
        replicates=6,
        margin=0.1,
    )
    source = ReportInput.from_study(spec, (), is_finished=True, cost_per_replicate_s=9.0)
    assert (source.metric, source.chance_level, source.margin) == ("test NLL", math.log(10), 0.1)
    assert (source.trials_per_cell, source.select_top, source.select_seeds, source.confirm_seeds) == (12, 3, 2, 4)
    assert (source.replicates, source.spec_hash, source.is_finished) == (6, spec.spec_hash, True)
    assert [arm.family for arm in source.arms] == ["adam", "other"]
    assert source.arms[0].dimensions == {"lr": space["lr"]}
    document = build_report(source).to_dict()
    assert document["schema"] == 1
    assert document["budget"]["cost_per_replicate_s"] == 9.0


def test_plain_data_has_no_nan_and_keeps_floats():
    rng = random.Random(0)
    value = rng.random()
    assert to_plain({"a": (math.nan, math.inf, value), 1: K.BETTER, "b": True}) == {
        "a": [None, None, value],
        "1": "better",
        "b": True,
    }
