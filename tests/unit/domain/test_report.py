"""The report: against an independent oracle, its symmetries, its degenerate cases and its JSON."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.plain import to_plain
from service.domain.report import ArmInput, ReportInput, build_report
from service.domain.statistics import estimate_effect
from service.domain.trial import LayerMeasurement, Outcome, Phase, TrialState
from service.domain.verdict import VerdictKind
from tests.reference.report_oracle import recompute
from tests.unit.domain.study_simulation import SimulatedStudy

K = VerdictKind
CONFIRM = Phase.CONFIRM


def export(source):
    """The study's exported JSON, read back."""
    spec = {
        "margin": source.margin,
        "compare": source.compare,
        "confirm": {"seeds": source.confirm_seeds},
        "search": {"trials": source.trials_per_cell},
        "replicates": source.replicates,
        "arms": source.arms,
    }
    state = "FINISHED" if source.is_finished else "RUNNING"
    study = {"spec": spec, "state": state, "was_extended_after_look": source.was_extended_after_look}
    workload = {"endpoint": "NLL", "chance_level": source.chance_level}
    document = {"schema": 1, "study": study, "workload": workload, "trials": source.trials}
    return json.loads(json.dumps(to_plain(document), allow_nan=False))


def change(trials, where, **changes):
    """The trials with those replaced for which `where` holds."""
    return tuple(dataclasses.replace(t, **changes) if where(t) else t for t in trials)


def diverge(trials, where):
    return change(trials, where, outcome=Outcome.DIVERGED, value=None, test_value=None, metrics={})


def lose(trials, where):
    gone = {"outcome": Outcome.LOST, "state": TrialState.FAIL, "value": None, "test_value": None}
    return change(trials, where, **gone)


def confirms(arm, replicate=None, seeds=range(99)):
    def where(trial):
        place = trial.phase is CONFIRM and trial.arm == arm and trial.seed_index in seeds
        return place and replicate in (None, trial.replicate)

    return where


@pytest.fixture(scope="module")
def study():
    return SimulatedStudy({"adamw": 0.0, "adamp": -0.2, "sgd": 0.02}, seed=1, tuning_sd=0.03)


def only(source):
    """The single comparison of a report that must also survive strict JSON."""
    report = build_report(source)
    json.dumps(report.to_dict(), allow_nan=False)
    return report.comparisons[0]


def damaged_study(seed):
    """A simulated study with random effects, divergence, losses, missing cells and winners at edges."""
    rng = np.random.default_rng(seed)
    shifts = {"a": 0.0, "b": float(rng.choice([0, -0.02, -0.2, 0.2])), "c": float(rng.choice([0, 0.02, -0.1]))}
    study = SimulatedStudy(
        shifts,
        seed=seed,
        curvature=0.02,
        tuning_sd=float(rng.choice([0.002, 0.002, 0.03, 0.2])),
        seed_sd=float(rng.choice([0.002, 0.05])),
        n_trials=int(rng.integers(2, 9)),
        replicates=int(rng.choice([1, 2, 3, 4, 5, 6, 6, 7, 8])),
        confirm_seeds=int(rng.integers(1, 4)),
    )
    trials = put_winners_at_edge(study.records, str(rng.choice(["a", "b", "none", "none"])))
    share_diverged, share_lost = rng.choice([0, 0, 0.05, 0.3]), rng.choice([0, 0, 0.03])
    unlucky = {t.number for t in trials if rng.random() < share_diverged}
    trials = diverge(trials, lambda t: t.number in unlucky and t.phase is CONFIRM and t.arm != "c")
    lost = {t.number for t in trials if rng.random() < share_lost}
    trials = lose(trials, lambda t: t.number in lost and t.phase is not Phase.SELECT)
    if rng.random() < 0.1:
        trials = trials[: int(rng.integers(0, len(trials)))]
    compare = (("a", "b"), ("b", "c"), ("a", "c"))[: int(rng.integers(1, 4))]
    flags = {"is_finished": bool(rng.random() < 0.8), "was_extended_after_look": bool(rng.random() < 0.2)}
    # A chance level as good as a usual run lets an arm that diverges look better, which it may not be called.
    chance_level = float(rng.choice([math.log(10), 0.35]))
    return study.report_input(trials=trials, compare=compare, chance_level=chance_level, **flags)


def put_winners_at_edge(trials, arm):
    """Give the confirmed configurations of one arm a learning rate just inside the upper edge."""
    places = {(t.replicate, t.config) for t in trials if t.phase is CONFIRM and t.arm == arm}
    return tuple(
        dataclasses.replace(t, params={**t.params, "lr": 0.0999})
        if t.arm == arm and (t.replicate, t.config) in places
        else t
        for t in trials
    )


class TestAgainstTheOracle:
    @pytest.mark.parametrize("block", range(6))
    def test_equals_the_oracle_on_damaged_studies(self, block):
        for seed in range(20 * block, 20 * block + 20):
            source = damaged_study(seed)
            pairs = zip(build_report(source).to_dict()["comparisons"], recompute(export(source)), strict=True)
            for found, expected in pairs:
                self.check(found, expected)

    def test_the_damaged_studies_reach_every_kind_of_verdict(self):
        verdicts = [c.verdict for seed in range(120) for c in build_report(damaged_study(seed)).comparisons]
        assert {verdict.kind for verdict in verdicts} == set(K)
        reasons = " ".join(reason for verdict in verdicts for reason in verdict.reasons)
        assert "too narrow" in reasons
        assert "never called better" in reasons

    @staticmethod
    def check(found, expected):
        effect, verdict = found["effect"], found["verdict"]
        assert (found["baseline"], found["challenger"]) == (expected["baseline"], expected["challenger"])
        assert effect["n"] == expected["n"]
        assert verdict["kind"] == expected["kind"]
        assert verdict["before_downgrade"] == expected["table_kind"] or "Both arms diverged" in verdict["sentence"]
        means = [replicate["mean"] for replicate in found["replicates"]]
        assert means == pytest.approx(expected["replicate_means"], abs=1e-9)
        for key in ("mean", "sd", "p_value"):
            assert effect[key] == pytest.approx(expected[key], abs=1e-9)
        assert found["holm_p"] == pytest.approx(expected["holm_p"], abs=1e-9)
        for key in ("interval_95", "interval_90"):
            ends = expected[key] and [None if math.isinf(end) else end for end in expected[key]]
            assert (effect[key] and list(effect[key].values())) == pytest.approx(ends, abs=1e-9)


class TestSymmetries:
    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, 40), st.randoms())
    def test_the_order_of_trials_and_layers_changes_nothing(self, seed, rng):
        source = damaged_study(seed)
        shuffled = list(source.trials)
        rng.shuffle(shuffled)
        other = dataclasses.replace(source, trials=tuple(shuffled))
        assert build_report(other).to_dict() == build_report(source).to_dict()

    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, 40), st.randoms())
    def test_the_order_of_seeds_changes_no_effect(self, seed, rng):
        source = damaged_study(seed)
        order = list(range(source.confirm_seeds))
        rng.shuffle(order)
        trials = tuple(
            dataclasses.replace(t, seed_index=order[t.seed_index]) if t.phase is CONFIRM else t for t in source.trials
        )
        other = build_report(dataclasses.replace(source, trials=trials))
        for a, b in zip(build_report(source).comparisons, other.comparisons, strict=True):
            assert a.measurement.effect == b.measurement.effect
            assert a.verdict == b.verdict

    @pytest.mark.parametrize("seed", range(30))
    def test_swapping_the_arms_mirrors_everything(self, seed):
        source = damaged_study(seed)
        swapped = dataclasses.replace(source, compare=tuple((b, a) for a, b in source.compare))
        for there, back in zip(build_report(source).comparisons, build_report(swapped).comparisons, strict=True):
            assert back.verdict.kind is there.verdict.kind.mirrored
            assert back.holm_p == there.holm_p
            a, b = there.measurement.effect, back.measurement.effect
            assert (b.mean, b.sd, b.p_value) == (-a.mean, a.sd, a.p_value)
            assert b.interval_95 == (a.interval_95 and a.interval_95.mirrored)
            assert back.measurement.components == there.measurement.components


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
        looked = only(study.report_input(was_extended_after_look=True)).measurement.effect
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
    from service.domain.space import log
    from service.domain.study import Arm, SearchPlan, Study

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
