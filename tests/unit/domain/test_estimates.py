"""The report's curves and tables: against plain recomputation from the JSON, by hand, and where there is little."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from service.domain.budget_curves import budgets
from service.domain.estimates import METHODS
from service.domain.trial import LayerMeasurement, Outcome, Phase, ValidationCurve
from service.domain.validation_curves import time_to_target
from tests.reference import estimates_oracle as oracle
from tests.reference.report_oracle import recompute
from tests.unit.domain.estimate_cases import ARMS, document, full_source, table
from tests.unit.domain.report_cases import change, confirms, damaged_study, diverge

NAMES = [arm.name for arm in ARMS]


@pytest.fixture(scope="module")
def report():
    return document(full_source())


class TestFromTheJsonAlone:
    def test_every_verdict(self, report):
        for found, expected in zip(report["comparisons"], recompute(oracle.as_export(report)), strict=True):
            assert found["verdict"]["kind"] == expected["kind"]
            assert found["effect"]["mean"] == pytest.approx(expected["mean"], abs=1e-12)
            assert list(found["effect"]["interval_95"].values()) == pytest.approx(expected["interval_95"])

    def test_every_verdict_of_damaged_studies(self):
        for seed in range(0, 60, 3):
            found = document(damaged_study(seed))
            kinds = [pair["verdict"]["kind"] for pair in found["comparisons"]]
            assert kinds == [pair["kind"] for pair in recompute(oracle.as_export(found))]

    @pytest.mark.parametrize("sampler", ["random", "tpe"])
    def test_expected_best_is_the_mean_over_all_subsets_or_the_incumbent(self, sampler):
        report = document(full_source(sampler=sampler))
        for row in table(report, "expected_best"):
            assert row["value"] == pytest.approx(oracle.expected_best(report, row["arm"]), rel=1e-12)
            low, high = oracle.band(list(oracle.curves(report, row["arm"]).values()))
            width = high - low
            assert np.all(np.abs(np.log(row["lower"]) - low) < 0.12 * width + 1e-12)
            assert np.all(np.abs(np.log(row["upper"]) - high) < 0.12 * width + 1e-12)
            assert row["steps"] == [96.0 * n for n in row["trials"]]
            assert row["device_s"] == [2.0 * n for n in row["trials"]]

    def test_difference_is_paired_by_replicate(self, report):
        for row in table(report, "difference"):
            mean, matrix = oracle.difference(report, row["baseline"], row["challenger"])
            assert row["log_ratio"] == pytest.approx(mean, abs=1e-12)
            low, high = oracle.band(matrix)
            assert np.all(np.abs(np.array(row["lower"]) - low) < 0.12 * (high - low) + 1e-12)

    def test_tunability(self, report):
        for row in table(report, "tunability"):
            found = (row["weighted_incumbent"], row["share_near_best"], row["few_over_all"])
            assert found == pytest.approx(oracle.tunability(report, row["arm"]))
            assert row["few_over_all"] >= 1

    def test_probability_of_improvement(self, report):
        for row, pair in zip(table(report, "probability_of_improvement"), report["comparisons"], strict=True):
            assert row["probability"] == pytest.approx(oracle.improvement(report, pair))
            assert row["interval_95"]["lower"] <= row["probability"] <= row["interval_95"]["upper"]

    def test_time_to_target(self, report):
        for row in table(report, "time_to_target"):
            expected = oracle.targets(report, row["baseline"], row["challenger"])
            assert row["target"] == pytest.approx(expected["target"])
            for arm in row["arms"]:
                found = (arm["hit_rate"], arm["restricted_mean_epochs"])
                assert found == pytest.approx(expected["arms"][arm["arm"]])
                expected_rate = oracle.rate(arm["n_hits"], arm["n_runs"])
                assert list(arm["hit_interval_95"].values()) == pytest.approx(expected_rate)
                assert arm["restricted_mean_steps"] == pytest.approx(16 * arm["restricted_mean_epochs"])
            means = [arm["restricted_mean_epochs"] for arm in row["arms"]]
            assert row["difference"]["mean"] == pytest.approx(means[1] - means[0])

    def test_divergence(self, report):
        for row in table(report, "divergence"):
            for phase in ("search", "confirm"):
                found = row[phase]
                assert list(found["interval_95"].values()) == pytest.approx(oracle.rate(found["count"], found["n"]))

    def test_surface(self, report):
        (row,) = table(report, "surface")
        assert row["arm"] == "tuned"
        expected = oracle.surface(report, "tuned")
        for cell in row["cells"]:
            values = expected.get((cell["row"], cell["column"]), [])
            assert (cell["n"], cell["is_thin"]) == (len(values), len(values) < 3)
            assert cell["value"] == (pytest.approx(np.exp(np.median(np.log(values)))) if values else None)
        assert sum(cell["n"] for cell in row["cells"]) == 40

    def test_sensitivity(self, report):
        for row in table(report, "sensitivity"):
            assert row["importances"] == pytest.approx(oracle.importances(report, row["arm"]))
            assert row["importances"]["lr"] == max(row["importances"].values())
            assert (row["n_trials"], row["is_thin"]) == (40, True)

    def test_mechanism(self):
        source, rng = full_source(), np.random.default_rng(0)
        runs = [t.number for t in source.trials if confirms("adamp")(t) or confirms("adamw")(t)]
        layers = [
            LayerMeasurement(n, layer, epoch, 1.0 + epoch * rng.random(), 0.1, rng.random(), True)
            for n in runs
            for layer in ("conv1", "conv2", "conv3")
            for epoch in (0, 1, 2)
        ]
        found = document(dataclasses.replace(source, layers=layers))
        for line in found["mechanism"]["arms"][:2]:
            numbers = (line["norm_growth"], line["effective_lr_ratio"], line["projection_rate"])
            assert numbers == pytest.approx(oracle.mechanism(found, line["arm"]))

    def test_test_at_chosen_exists_at_the_whole_budget_only(self, report):
        assert "smaller budgets have no test endpoint" in report["estimates"]["test_at_chosen"]["remark"]
        for row, arm in zip(table(report, "test_at_chosen"), report["arms"], strict=True):
            assert (row["trials"], row["value"]) == (8, arm["endpoint"])

    def test_variance_components_are_those_of_the_comparison(self, report):
        for row, pair in zip(table(report, "variance_components"), report["comparisons"], strict=True):
            assert (row["within_sd"], row["between_sd"]) == (pair["within_sd"], pair["between_sd"])

    def test_each_table_names_estimator_and_source(self, report):
        assert set(report["estimates"]) == set(METHODS)
        for entry in report["estimates"].values():
            assert entry["estimator"]
            assert entry["source"]
            assert "remark" in entry


class TestByHand:
    def test_three_trials(self):
        """Values 1, 2, 4: best of 1 is 2 (geometric), of 2 it is 1 in two of three pairs, of 3 it is 1."""
        source = full_source(n_trials=3, replicates=1)
        values = {0: 4.0, 1: 1.0, 2: 2.0}
        trials = tuple(
            dataclasses.replace(t, value=values[t.cell_number], outcome=Outcome.FINISHED)
            if t.phase is Phase.SEARCH
            else t
            for t in source.trials
        )
        report = document(dataclasses.replace(source, trials=trials))
        row = table(report, "expected_best")[0]
        assert row["value"] == pytest.approx([2.0, 2 ** (1 / 3), 1.0])
        assert (row["lower"], row["n_replicates"]) == (None, 1)
        assert "No band" in report["estimates"]["expected_best"]["remark"]
        tunable = table(report, "tunability")[0]
        assert tunable["share_near_best"] == pytest.approx(1 / 3)
        assert tunable["few_over_all"] == 1.0
        assert math.log2(tunable["weighted_incumbent"]) == pytest.approx((3 * 1 + 2 / 3 + 0) / 6)
        tpe = document(dataclasses.replace(source, trials=trials, sampler="tpe"))
        assert table(tpe, "expected_best")[0]["value"] == pytest.approx([4.0, 1.0, 1.0])

    def test_hits_and_misses(self):
        """Baseline's best values 0.5 and 0.7: target 0.6. The challenger reaches it at epoch 1 and never."""
        source = full_source(n_trials=3, replicates=1, confirm_seeds=2, compare=(("adamw", "adamp"),))
        runs = {arm: [t.number for t in source.trials if confirms(arm)(t)] for arm in ("adamw", "adamp")}
        values = dict(
            zip(runs["adamw"] + runs["adamp"], [(2, 1, 0.5), (2, 0.7, 0.9), (2, 0.6, 0.8), (2, None, 1)], strict=True)
        )
        curves = tuple(ValidationCurve(n, (0, 1, 2), (0, 10, 20), v) for n, v in values.items())
        (row,) = table(document(dataclasses.replace(source, curves=curves)), "time_to_target")
        assert row["target"] == pytest.approx(0.6)
        first, second = row["arms"]
        assert (first["n_hits"], first["hit_rate"], first["restricted_mean_epochs"]) == (1, 0.5, 2.0)
        assert (second["n_hits"], second["restricted_mean_epochs"], second["restricted_mean_steps"]) == (1, 1.5, 15.0)
        assert (row["difference"]["mean"], row["difference"]["interval_95"]) == (-0.5, None)

    def test_a_run_that_diverged_after_the_target_did_not_reach_it(self):
        source = full_source(compare=(("adamw", "adamp"),))
        trials = diverge(source.trials, confirms("adamp"))
        (row,) = table(document(dataclasses.replace(source, trials=trials)), "time_to_target")
        assert row["arms"][1]["n_hits"] == 0
        assert row["arms"][1]["restricted_mean_epochs"] == row["horizon_epochs"]

    def test_ties_count_half(self):
        source = full_source(compare=(("adamw", "adamp"),))
        trials = change(source.trials, lambda t: t.test_value is not None, test_value=0.5)
        (row,) = table(document(dataclasses.replace(source, trials=trials)), "probability_of_improvement")
        assert (row["probability"], row["interval_95"]) == (0.5, {"lower": 0.5, "upper": 0.5})

    def test_budgets_thin_out_beyond_64(self):
        assert budgets(5) == (1, 2, 3, 4, 5)
        long = budgets(100_000)
        assert (long[:64], long[-1], len(long)) == (tuple(range(1, 65)), 100_000, 96)


class TestTimeToTarget:
    def test_the_interval_of_the_difference_covers_the_true_one(self):
        """The challenger reaches the target two epochs earlier on average, replicates and seeds vary."""
        source = full_source(n_trials=2, replicates=6, confirm_seeds=2, compare=(("adamw", "adamp"),))
        rng, covered = np.random.default_rng(6), 0
        for _ in range(200):
            shifts = {(arm, r): rng.normal(0, 1.5) for arm in ("adamw", "adamp") for r in range(6)}
            curves = [self.curve(t, shifts, rng) for t in source.trials if confirms("adamw")(t) or confirms("adamp")(t)]
            pair = time_to_target(dataclasses.replace(source, curves=curves), "adamw", "adamp")
            interval = pair.difference.interval_95
            covered += interval.lower <= -2 <= interval.upper
        low, high = stats.binom.ppf([0.005, 0.995], 200, 0.95)
        assert low <= covered <= high

    @staticmethod
    def curve(trial, shifts, rng):
        """Falls below 1, and so to the target, at one epoch; ends at 0.5 in every run."""
        at = 30 - 2 * (trial.arm == "adamp") + shifts[trial.arm, trial.replicate] + rng.normal(0, 1)
        values = tuple(0.5 if epoch >= round(at) else 2.0 for epoch in range(61))
        return ValidationCurve(trial.number, tuple(range(61)), tuple(range(61)), values)


class TestSymmetry:
    def test_swapping_arms_mirrors_the_difference_and_the_probability(self):
        source = full_source(seed=4)
        swapped = dataclasses.replace(source, compare=tuple((b, a) for a, b in source.compare))
        there, back = document(source), document(swapped)
        for a, b in zip(table(there, "difference"), table(back, "difference"), strict=True):
            assert b["log_ratio"] == pytest.approx([-x for x in a["log_ratio"]], abs=1e-12)
            assert b["lower"] == pytest.approx([-x for x in a["upper"]], abs=1e-12)
            for axis in ("by_steps", "by_device_s"):
                assert b[axis]["at"] == a[axis]["at"]
                assert b[axis]["log_ratio"] == pytest.approx([-x for x in a[axis]["log_ratio"]], abs=1e-12)
        for a, b in zip(
            table(there, "probability_of_improvement"), table(back, "probability_of_improvement"), strict=True
        ):
            assert b["probability"] == pytest.approx(1 - a["probability"])

    def test_the_order_of_trials_and_curves_changes_nothing(self):
        source = full_source(seed=5)
        shuffled = dataclasses.replace(source, trials=source.trials[::-1], curves=source.curves[::-1])
        assert document(shuffled) == document(source)
