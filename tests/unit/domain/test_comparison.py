"""Declared pairs: effects, missing runs, unequal budgets, degenerate studies."""

import dataclasses
import json
import math

import numpy as np
import pytest

from service.domain.report import build_report
from service.domain.statistics import estimate_effect
from service.domain.trial import Phase, TrialState
from service.domain.verdict import VerdictKind
from tests.unit.domain.report_cases import (
    CONFIRM,
    EXTENDED,
    change,
    confirms,
    diverge,
    example_study,
    lose,
    only,
)
from tests.unit.domain.study_simulation import SimulatedStudy

K = VerdictKind


@pytest.fixture(scope="module")
def study():
    return example_study()


class TestComparison:
    def test_effect_worked_by_hand(self, study):
        # Baseline 1, challenger 0.8 in every run, but for one seed with 0.4: D = log .8, twice, and log .8 + log(.5)/3.
        trials = change(study.records, confirms("adamw"), test_value=1.0)
        trials = change(trials, confirms("adamp"), test_value=0.8)
        trials = change(trials, confirms("adamp", replicate=2, seeds=[0]), test_value=0.4)
        comparison = only(study.report_input(trials=trials, compare=(("adamw", "adamp"),)))
        means = [math.log(0.8)] * 5
        means[2] += math.log(0.5) / 3
        assert [d.mean for d in comparison.measurement.replicates] == pytest.approx(means)
        assert comparison.measurement.effect == estimate_effect([d.mean for d in comparison.measurement.replicates])
        # within: one replicate of five deviates, by 2/3, -1/3, -1/3 of log 2, over 10 degrees of freedom
        assert comparison.measurement.components.within_sd == pytest.approx(math.log(2) * math.sqrt(6 / 9 / 10))

    def test_numbers_behind_the_effect_are_traceable(self, study):
        (comparison, *_) = build_report(study.report_input()).comparisons
        run = comparison.measurement.replicates[1].runs[2]
        by_number = {t.number: t for t in study.records}
        baseline, challenger = by_number[run.baseline_trial], by_number[run.challenger_trial]
        assert (baseline.arm, challenger.arm, baseline.replicate) == ("adamw", "adamp", 1)
        assert baseline.seed == challenger.seed == run.seed
        assert run.log_ratio == math.log(challenger.test_value) - math.log(baseline.test_value)

    def test_everything_recomputes_from_the_reports_own_json(self, study):
        document = json.loads(json.dumps(build_report(study.report_input()).to_dict()))
        for pair in document["comparisons"]:
            means = [
                np.mean([math.log(r["challenger_value"] / r["baseline_value"]) for r in replicate["runs"]])
                for replicate in pair["replicates"]
            ]
            effect = estimate_effect([float(m) for m in means])
            assert effect.mean == pytest.approx(pair["effect"]["mean"], abs=1e-12)
            assert math.expm1(effect.interval_95.upper) == pytest.approx(
                pair["effect"]["relative_interval_95"]["upper"], abs=1e-9
            )

    def test_diverged_confirm_runs_count_as_chance_level(self, study):
        trials = diverge(study.records, confirms("adamp", replicate=0, seeds=[1]))
        comparison = only(study.report_input(trials=trials))
        run = comparison.measurement.replicates[0].runs[1]
        assert (run.challenger_value, run.challenger_diverged) == (math.log(10), True)

    def test_a_finished_run_without_a_finite_endpoint_has_diverged(self, study):
        trials = change(study.records, confirms("adamp", replicate=0, seeds=[1]), test_value=math.nan)
        source = study.report_input(trials=trials)
        assert only(source).measurement.replicates[0].runs[1].challenger_diverged
        assert build_report(source).arms[1].confirm_divergence.count == 1

    def test_missing_confirm_runs_pair_on_common_seeds_and_are_said(self, study):
        trials = lose(study.records, confirms("adamp", replicate=3, seeds=[0]))
        trials = lose(trials, confirms("adamw", replicate=3, seeds=[2]))
        comparison = only(study.report_input(trials=trials))
        assert [run.seed % 10 for run in comparison.measurement.replicates[3].runs] == [1]
        assert "2 confirm pairs missing in replicate 3: common seeds only there." in comparison.verdict.sentence

    def test_a_replicate_without_common_seeds_is_left_out_and_said(self, study):
        trials = lose(study.records, confirms("adamp", replicate=3))
        comparison = only(study.report_input(trials=trials))
        assert comparison.measurement.effect.n == 4
        assert "R = 4 of 5 replicates" in comparison.verdict.sentence
        assert "Replicate 3 left out: no confirm runs on common seeds." in comparison.verdict.sentence

    def test_seeds_that_differ_between_arms_are_not_paired(self, study):
        trials = change(study.records, confirms("adamp"), seed=77)
        assert only(study.report_input(trials=trials)).measurement.effect.n == 0

    def test_replicates_added_after_a_look_widen_the_interval(self, study):
        plain = only(study.report_input()).measurement.effect
        looked = only(study.report_input(registration=EXTENDED)).measurement.effect
        assert looked.interval_95.lower < plain.interval_95.lower
        assert looked.p_value > plain.p_value

    def test_holm_runs_over_all_declared_pairs(self, study):
        alone = only(study.report_input(compare=(("adamw", "adamp"),)))
        both = build_report(study.report_input()).comparisons
        assert both[0].holm_p == pytest.approx(2 * alone.holm_p)


class TestCompleteness:
    def test_incomplete_search_is_not_comparable_yet(self, study):
        keep = [t for t in study.records if not (t.arm == "adamp" and t.replicate == 4 and t.cell_number >= 2)]
        comparison = only(study.report_input(trials=keep))
        assert comparison.verdict.kind is K.NOT_COMPARABLE
        assert comparison.verdict.words == "not comparable yet: adamp 34 of 40"
        assert comparison.holm_p is None

    def test_lost_runs_do_not_use_up_budget(self, study):
        trials = lose(study.records, lambda t: t.number == 0)
        assert only(study.report_input(trials=trials)).verdict.words == "not comparable yet: adamw 39 of 40"

    def test_open_confirm_runs_hold_the_verdict_back(self, study):
        running = {"state": TrialState.RUNNING, "outcome": None, "test_value": None}
        trials = change(study.records, confirms("adamp", replicate=4), **running)
        assert "adamp 12 of 15 confirm runs" in only(study.report_input(trials=trials)).verdict.words
        none_yet = [t for t in study.records if not confirms("adamp", replicate=4)(t)]
        assert "adamp 12 of 15 confirm runs" in only(study.report_input(trials=none_yet)).verdict.words

    def test_a_finished_study_leaves_incomplete_replicates_out(self, study):
        keep = [t for t in study.records if not (t.arm == "adamp" and t.replicate == 4 and t.cell_number >= 2)]
        comparison = only(study.report_input(trials=keep, is_finished=True))
        assert comparison.measurement.effect.n == 4
        sentence = comparison.verdict.sentence
        assert "Replicate 4 left out: search trials there, of 8 each: adamw 8 and adamp 2." in sentence


class TestDegenerateStudies:
    def verdict(self, study, trials, **changes):
        return only(study.report_input(trials=trials, compare=(("adamw", "adamp"),), **changes)).verdict

    def test_no_trials_at_all(self, study):
        assert self.verdict(study, ()).kind is K.NOT_COMPARABLE
        assert self.verdict(study, (), is_finished=True).kind is K.NO_VERDICT

    def test_equal_endpoints_are_equivalent(self, study):
        trials = change(study.records, lambda t: t.phase is CONFIRM, test_value=0.5)
        verdict = self.verdict(study, trials)
        assert verdict.kind is K.EQUIVALENT
        assert "same endpoint in every replicate" in verdict.sentence

    def test_the_same_difference_everywhere_has_no_verdict(self, study):
        trials = change(study.records, confirms("adamw"), test_value=0.5)
        trials = change(trials, confirms("adamp"), test_value=0.4)
        verdict = self.verdict(study, trials)
        assert verdict.kind is K.NO_VERDICT
        assert "not independent" in verdict.sentence

    def test_all_confirm_runs_diverged(self, study):
        one = diverge(study.records, confirms("adamp"))
        assert self.verdict(study, one).kind is K.WORSE_BY_MARGIN
        both = diverge(one, confirms("adamw"))
        assert "Both arms diverged in every confirm run" in self.verdict(study, both).sentence

    def test_all_search_and_select_trials_diverged(self, study):
        everything = diverge(study.records, lambda t: t.arm == "adamp")
        assert self.verdict(study, everything).kind is K.WORSE_BY_MARGIN
        arm = build_report(study.report_input(trials=everything)).arms[1]
        assert arm.search_divergence.rate == 1.0
        assert arm.winners[0].select_mean is None

    @pytest.mark.parametrize("replicates", [1, 2])
    def test_few_replicates(self, replicates):
        study = SimulatedStudy({"adamw": 0.0, "adamp": -0.5}, replicates=replicates, confirm_seeds=1)
        verdict = only(study.report_input()).verdict
        assert verdict.kind is K.NO_VERDICT
        assert "compares two configurations, not two optimizers" in verdict.sentence

    def test_an_endpoint_that_is_not_positive_is_left_out_with_a_note(self, study):
        trials = change(study.records, confirms("adamp", replicate=0, seeds=[0]), test_value=0.0)
        report = build_report(study.report_input(trials=trials))
        assert len(report.comparisons[0].measurement.replicates[0].runs) == 2
        assert any("test endpoint is not positive" in note for note in report.notes)

    def test_extreme_endpoints_overflow_nothing(self, study):
        trials = change(study.records, confirms("adamp"), test_value=1e300)
        trials = change(trials, confirms("adamw"), test_value=5e-324)
        assert self.verdict(study, trials).kind in (K.NO_VERDICT, K.WORSE_BY_MARGIN)

    def test_calibration_and_reproduction_runs_are_ignored(self, study):
        extra = [
            dataclasses.replace(study.records[-1], number=10_000 + i, phase=phase, arm="elsewhere")
            for i, phase in enumerate((Phase.CALIBRATE, Phase.REPRODUCE))
        ]
        with_extra = build_report(study.report_input(trials=(*study.records, *extra)))
        assert with_extra.to_dict() == build_report(study.report_input()).to_dict()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"margin": 0.0}, "margin must be a positive number, got 0.0"),
            ({"chance_level": math.nan}, "chance_level must be a positive number, got nan"),
            ({"compare": (("adamw", "adamq"),)}, r"unknown arms \['adamq'\]; the arms are"),
            ({"replicates": 4}, "belongs to arm 'adamw', replicate 4, which the study does not have"),
        ],
    )
    def test_an_impossible_input_is_refused(self, study, changes, message):
        with pytest.raises(ValueError, match=message):
            study.report_input(**changes)
