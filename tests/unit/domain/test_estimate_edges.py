"""The report's curves and tables where there is little to go by, and how good their bands are."""

import dataclasses
import math

import numpy as np
import pytest

from service.domain import report
from service.domain.bootstrap import cluster_interval, mean_band
from service.domain.budget_curves import replicate_curves
from service.domain.trial import Outcome, Phase, TrialState
from tests.unit.domain.estimate_cases import curves_of, document, full_source, table
from tests.unit.domain.report_cases import change, damaged_study, diverge, lose


class TestWhereThereIsLittle:
    """A defined sentence or null; `document` fails on NaN."""

    def test_no_trials_at_all(self):
        report = document(dataclasses.replace(full_source(), trials=(), curves=(), importances={}))
        for row in table(report, "expected_best"):
            assert (row["trials"], row["value"], row["n_replicates"]) == ([], [], 0)
        assert "has all 8 search trials yet" in report["estimates"]["expected_best"]["remark"]
        assert "No target for" in report["estimates"]["time_to_target"]["remark"]
        assert table(report, "probability_of_improvement")[0]["probability"] is None

    def test_everything_diverged(self):
        source = full_source()
        trials = diverge(source.trials, lambda _: True)
        report = document(dataclasses.replace(source, trials=trials))
        assert table(report, "expected_best")[0]["value"] == pytest.approx([math.log(10)] * 8)
        assert table(report, "tunability")[0]["share_near_best"] == 1.0
        assert table(report, "probability_of_improvement")[0]["probability"] == 0.5
        assert table(report, "time_to_target")[0]["target"] is None

    @pytest.mark.parametrize("replicates", [1, 2, 4, 5])
    def test_bands_begin_at_five_replicates(self, replicates):
        report = document(full_source(replicates=replicates))
        has_band = table(report, "difference")[0]["lower"] is not None
        assert has_band == (replicates >= 5)
        assert (table(report, "probability_of_improvement")[0]["interval_95"] is not None) == has_band

    def test_lost_trials_leave_the_replicate_out(self):
        source = full_source()
        trials = lose(
            source.trials,
            lambda t: t.phase is Phase.SEARCH and t.arm == "adamp" and t.replicate == 2 and t.cell_number == 1,
        )
        report = document(dataclasses.replace(source, trials=trials))
        assert [row["n_replicates"] for row in table(report, "expected_best")] == [5, 4, 5]
        assert [row["n_replicates"] for row in table(report, "difference")] == [4, 5]

    def test_constant_values(self):
        source = full_source()
        trials = change(source.trials, lambda t: t.value is not None, value=0.5)
        report = document(dataclasses.replace(source, trials=trials))
        row = table(report, "expected_best")[1]
        assert row["upper"][-1] == pytest.approx(0.5)

    def test_trials_without_steps_have_no_axis_in_steps(self):
        source = full_source()
        trials = change(source.trials, lambda t: t.number == 0, n_steps=None)
        rows = table(document(dataclasses.replace(source, trials=trials)), "expected_best")
        assert [row["steps"] is None for row in rows] == [True, False, False]

    def test_a_running_study_and_damaged_ones(self):
        for seed in range(40):
            source = damaged_study(seed)
            document(dataclasses.replace(source, curves=curves_of(source.trials, np.random.default_rng(0))))
        running = change(
            full_source().trials, lambda t: t.number > 50, state=TrialState.WAITING, outcome=None, value=None
        )
        assert document(dataclasses.replace(full_source(), trials=running, is_finished=False))

    def test_a_huge_study_leaves_its_search_to_the_export(self, monkeypatch):
        source = full_source()
        whole = document(source)
        assert (len(whole["trials"]), whole["n_trials_left_out"]) == (len(source.trials), 0)
        monkeypatch.setattr(report, "MAX_TRIALS", 100)
        short = document(source)
        assert {trial["phase"] for trial in short["trials"]} == {"confirm"}
        assert len(short["trials"]) + short["n_trials_left_out"] == len(source.trials)
        assert short["comparisons"] == whole["comparisons"]

    def test_a_pruner_and_another_sampler_are_said(self):
        remark = document(full_source(sampler="tpe", pruner="median"))["estimates"]["expected_best"]["remark"]
        assert "Mean incumbent, because the trials of tpe depend on one another." in remark
        assert "Biased by the pruner median" in remark


class TestBootstrap:
    def test_the_band_covers_as_often_as_a_percentile_bootstrap_can(self):
        """Nominal 95 %; measured for this method 84 % at R = 5 and 91 % at R = 10, which is why it is no verdict."""
        rng = np.random.default_rng(1)
        for n, low, high in ((5, 0.79, 0.88), (10, 0.87, 0.94)):
            bands = [mean_band(rng.normal(0, 1, (n, 1))) for _ in range(600)]
            covered = np.mean([lower[0] <= 0 <= upper[0] for lower, upper in bands])
            assert low < covered < high

    def test_the_cluster_bootstrap_is_wider_than_one_of_seeds(self):
        clusters = [[1.0] * 5] * 3 + [[0.0] * 5] * 3
        found = cluster_interval(clusters)
        assert (found.lower, found.upper) == pytest.approx((1 / 6, 5 / 6), abs=0.01)

    def test_the_cluster_interval_covers_as_often_as_a_bootstrap_of_so_few_can(self):
        """Replicates with a win rate of their own around 0.6, 5 seeds each: nominal 95 %, less at R = 6 than at 20."""
        rng = np.random.default_rng(8)
        covered = {n: np.mean([self.covers(rng, n) for _ in range(60)]) for n in (6, 20)}
        assert 0.75 < covered[6] <= 1
        assert 0.86 < covered[20] <= 1

    @staticmethod
    def covers(rng, n):
        rates = rng.beta(6, 4, n)
        interval = cluster_interval([rng.binomial(1, rate, 5).astype(float).tolist() for rate in rates])
        return interval.lower <= 0.6 <= interval.upper

    def test_the_difference_finds_a_planted_effect(self):
        found = [document(full_source(seed=s, replicates=8))["estimates"]["difference"]["pairs"][0] for s in range(12)]
        assert np.mean([row["upper"][-1] < 0 for row in found]) > 0.8
        assert np.mean([row["log_ratio"][-1] for row in found]) == pytest.approx(-0.2, abs=0.03)

    def test_unbiased_for_every_budget(self):
        """The mean over many searches of 6 trials estimates the best of 2 of them as a direct simulation does."""
        rng = np.random.default_rng(2)
        source = full_source(n_trials=6, replicates=1)
        estimates = []
        for values in rng.lognormal(0, 1, (400, 6)):
            trials = change(
                source.trials, lambda t: t.arm == "adamw" and t.phase is Phase.SEARCH, outcome=Outcome.FINISHED
            )
            trials = tuple(
                dataclasses.replace(t, value=float(values[t.cell_number]))
                if t.arm == "adamw" and t.phase is Phase.SEARCH
                else t
                for t in trials
            )
            estimates.append(replicate_curves(dataclasses.replace(source, trials=trials), "adamw")[1][0][0][1])
        direct = rng.normal(0, 1, (100_000, 2)).min(axis=1).mean()
        assert np.mean(estimates) == pytest.approx(direct, abs=3 * np.std(estimates) / 20)
