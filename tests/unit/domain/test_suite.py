"""Suites and comparisons across studies: against hand-worked numbers, scipy, simulation, and where there is little."""

import copy
import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from service.domain.report_registration import Registration
from service.domain.suite import build_suite, log_means, pool, suite_sentence
from service.domain.unpaired import compare_studies
from tests.unit.domain.estimate_cases import document, full_source


@pytest.fixture(scope="module")
def reports():
    return [
        document(full_source(seed, study=f"s{seed}", workload=f"w{seed}", replicates=r))
        for seed, r in ((1, 5), (2, 6), (3, 8))
    ]


def with_effects(report, *means):
    """The report's first comparison with these replicate means."""
    pair = report["comparisons"][0]
    replicates = [{"replicate": i, "mean": m, "runs": []} for i, m in enumerate(means)]
    effect = pair["effect"] | {"n": len(means), "mean": float(np.mean(means)), "sd": float(np.std(means, ddof=1))}
    return report | {"comparisons": [{**pair, "replicates": replicates, "effect": effect}]}


class TestSuite:
    def test_by_hand(self, reports):
        """Means -.2 and -.1, SEs .02 and .04: pooled -.15 with SE sqrt(.0004 + .0016) / 2 = .02236."""
        first = with_effects(reports[0], *(-0.2 + 0.02 * math.sqrt(4) * x for x in (-1, -0.5, 0.5, 1)))
        second = with_effects(reports[1], *(-0.1 + 0.04 * math.sqrt(4) * x for x in (-1, -0.5, 0.5, 1)))
        pair = build_suite([first, second]).pairs[0]
        scale = math.sqrt((1 + 0.25 + 0.25 + 1) / 3)
        assert pair.mean == pytest.approx(-0.15)
        assert pair.standard_error == pytest.approx(math.sqrt(0.0004 + 0.0016) / 2 * scale)
        assert pair.freedom == pytest.approx((0.0004 + 0.0016) ** 2 / (0.0004**2 / 3 + 0.0016**2 / 3))
        assert pair.interval_95.upper == pytest.approx(-0.15 + stats.t.isf(0.025, pair.freedom) * pair.standard_error)

    def test_pools_every_common_pair_and_corrects_over_them(self, reports):
        suite = build_suite(reports)
        assert [(p.baseline, p.challenger) for p in suite.pairs] == [("adamw", "adamp"), ("adamw", "tuned")]
        for pair in suite.pairs:
            assert pair.mean == pytest.approx(np.mean([part.mean for part in pair.parts]))
            assert pair.holm_p >= pair.p_value
            assert "every workload with the same weight" in suite_sentence(pair)
        every = [r["mean"] for report in reports for r in report["comparisons"][0]["replicates"]]
        assert suite.pairs[0].interquartile_mean == pytest.approx(stats.trim_mean(every, 0.25))
        assert suite.problems == ()

    def test_studies_of_one_workload_are_counted_as_studies(self, reports):
        twice = [dict(report, workload="w0") for report in reports[:2]]
        sentence = suite_sentence(build_suite(twice).pairs[0])
        assert "over 2 studies of 1 workload: " in sentence
        assert "every study with the same weight" in sentence

    def test_the_interval_covers(self, reports):
        rng = np.random.default_rng(5)
        covered = 0
        for _ in range(1000):
            draws = [
                with_effects(r, *rng.normal(e, s, 5))
                for r, e, s in zip(reports, (-0.1, 0.0, 0.1), (0.05, 0.1, 0.3), strict=True)
            ]
            interval = pool(draws, "adamw", "adamp").interval_95
            covered += interval.lower <= 0 <= interval.upper
        low, high = stats.binom.ppf([0.005, 0.995], 1000, 0.95)
        assert low <= covered <= high

    def test_profiles_begin_with_the_share_of_wins_and_rise(self, reports):
        profiles = {p.arm: p for p in build_suite(reports).profiles}
        starts = []
        for name, profile in profiles.items():
            assert list(profile.shares) == sorted(profile.shares)
            wins = [
                all(log_means(a)[r] >= mine[r] for a in report["arms"])
                for report in reports
                for mine in [log_means(next(a for a in report["arms"] if a["name"] == name))]
                for r in mine
            ]
            assert profile.shares[0] == pytest.approx(np.mean(wins))
            starts.append(profile.shares[0])
        assert sum(starts) == pytest.approx(1)  # no ties here
        assert profiles["adamp"].shares[0] > 0.5

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"replicates": 2}, "fewer than 3 replicates on w9"),
            ({"replicates": 1}, "fewer than 3 replicates on w9"),
            ({"trials": ()}, "fewer than 3 replicates on w9"),
        ],
    )
    def test_no_pooled_effect_without_replicates_everywhere(self, reports, changes, problem):
        source = full_source(9, workload="w9", **{k: v for k, v in changes.items() if k != "trials"})
        source = dataclasses.replace(source, trials=()) if "trials" in changes else source
        pair = build_suite([reports[0], document(source)]).pairs[0]
        assert (pair.mean, pair.holm_p, pair.problem) == (None, None, problem)
        assert suite_sentence(pair) == f"adamp against adamw over 2 workloads: no pooled effect, because {problem}."

    def test_what_does_not_belong_together_is_said_or_refused(self, reports):
        twin = {**reports[0], "spec_hash": "f" * 64, "code_revision": "x", "device": "cuda", "sampler": "tpe"}
        assert len(build_suite([reports[0], twin]).problems) == 5
        with pytest.raises(ValueError, match="s1 stands twice"):
            build_suite([reports[0], reports[1], reports[0]])
        with pytest.raises(ValueError, match="takes 2 studies at least"):
            build_suite(reports[:1])
        with pytest.raises(ValueError, match="no declared pair in common"):
            build_suite([reports[0], {**reports[1], "comparisons": []}])

    def test_swapping_arms_mirrors_the_pooled_effect(self, reports):
        def swapped(seed, n):
            source = full_source(seed, workload=f"w{seed}", replicates=n)
            return document(dataclasses.replace(source, compare=tuple((b, a) for a, b in source.compare)))

        there, back = build_suite(reports), build_suite([swapped(1, 5), swapped(2, 6), swapped(3, 8)])
        for a, b in zip(there.pairs, back.pairs, strict=True):
            assert (b.mean, b.p_value) == (pytest.approx(-a.mean), pytest.approx(a.p_value))
            assert b.interval_95.lower == pytest.approx(-a.interval_95.upper)


class TestAcrossStudies:
    def test_equals_scipys_welch_test(self):
        first, second = (
            document(full_source(1, replicates=5)),
            document(full_source(2, replicates=8, spec_hash="1" * 64)),
        )
        found = compare_studies(first, second, "adamw", "adamp")
        groups = [list(log_means(r["arms"][i]).values()) for r, i in ((first, 0), (second, 1))]
        expected = stats.ttest_ind(groups[1], groups[0], equal_var=False)
        assert (found.p_value, found.freedom) == (pytest.approx(expected.pvalue), pytest.approx(expected.df))
        assert list(dataclasses.astuple(found.interval_95)) == pytest.approx(list(expected.confidence_interval()))
        assert found.n == (5, 8)
        assert "Nothing is paired" in found.warnings[0]
        assert "Welch, R = 5 and 8" in found.sentence

    def test_one_spec_that_ran_twice_is_paired(self):
        before = document(full_source(1, code_revision="a"))
        after = copy.deepcopy(before) | {"code_revision": "b"}
        rng = np.random.default_rng(0)
        for run in after["arms"][0]["confirm_runs"]:
            run["value"] *= math.exp(-0.1 + rng.normal(0, 0.01))
        found = compare_studies(before, after, "adamw", "adamw")
        assert found.is_paired
        assert found.mean == pytest.approx(-0.1, abs=0.01)
        assert found.interval_95.upper < -0.08
        assert found.sentence.endswith("Better.")
        assert any("training code differs" in text for text in found.warnings)
        assert not any("Nothing is paired" in text for text in found.warnings)

    def test_differences_of_design_are_said(self):
        first = document(full_source(1))
        second = document(
            full_source(2, n_trials=9, spec_hash="1" * 64, device="cuda", is_finished=False, sampler="tpe")
        )
        texts = " ".join(compare_studies(first, second, "adamw", "adamw").warnings)
        for part in ("still runs", "device class differs", "differ in search trials and sampler"):
            assert part in texts

    def test_other_budgets_pruners_looks_and_imports_are_said(self):
        first = document(full_source(1))
        budget = {"search_budget": {"steps": 10}, "pruner": "median", "spec_hash": "1" * 64}
        other = document(full_source(2, registration=Registration(origin="imported"), **budget))
        looked = document(full_source(3, registration=Registration(planned_looks=(5,)), spec_hash="2" * 64))
        texts = " ".join(compare_studies(first, other, "adamw", "adamw").warnings)
        for part in ("differ in the budget of a search and pruner", "was imported and not preregistered"):
            assert part in texts
        texts = compare_studies(looked, first, "adamw", "adamw").warnings
        assert any("was looked at while replicates came in" in text for text in texts)

    def test_the_same_file_run_twice_on_the_same_code_is_a_repetition(self):
        report = document(full_source(1, code_revision="a"))
        texts = compare_studies(report, report, "adamw", "adamw").warnings
        assert any("The code is the same, too" in text for text in texts)

    def test_welchs_interval_covers_where_spreads_and_numbers_differ(self):
        rng, report = np.random.default_rng(4), document(full_source(1, n_trials=2, confirm_seeds=1))
        covered, n_runs = 0, 400
        for _ in range(n_runs):
            sides = []
            for n, center, sd, spec in ((4, 0.0, 0.3, "1" * 64), (9, 0.1, 0.1, "2" * 64)):
                runs = [{"replicate": r, "seed": r, "value": math.exp(rng.normal(center, sd))} for r in range(n)]
                sides.append({**report, "spec_hash": spec, "arms": [{"name": "adamw", "confirm_runs": runs}]})
            interval = compare_studies(*sides, "adamw", "adamw").interval_95
            covered += interval.lower <= 0.1 <= interval.upper
        low, high = stats.binom.ppf([0.001, 0.999], n_runs, 0.95)
        assert low <= covered <= high

    @pytest.mark.parametrize(
        ("replicates", "part"),
        [(1, "that takes 2 replicates each"), (2, "Fewer than 3 replicates: no verdict"), (0, "nothing to compare")],
    )
    def test_too_little_is_said(self, replicates, part):
        source = full_source(3, replicates=max(1, replicates), spec_hash="1" * 64)
        source = source if replicates else dataclasses.replace(source, trials=())
        assert part in compare_studies(document(full_source(1)), document(source), "adamw", "adamw").sentence

    def test_other_workloads_and_unknown_arms_are_refused(self):
        first = document(full_source(1))
        with pytest.raises(ValueError, match="workload digits-cnn against other"):
            compare_studies(first, {**first, "workload": "other"}, "adamw", "adamw")
        with pytest.raises(ValueError, match="has no arm 'lion'; it has adamw, adamp and tuned"):
            compare_studies(first, first, "adamw", "lion")

    def test_equal_runs_are_equivalent_and_arms_of_one_study_are_sent_to_its_report(self):
        report = document(full_source(1))
        assert compare_studies(report, report, "adamw", "adamw").sentence.endswith("Equivalent within 5 %.")
        assert "Both arms belong to one study" in compare_studies(report, report, "adamw", "adamp").warnings[0]
