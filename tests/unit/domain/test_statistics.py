"""Estimators against worked examples, libraries and simulation."""

import gc
import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from service.domain.planning import further_replicates, paired_t_power
from service.domain.statistics import (
    Interval,
    clopper_pearson,
    estimate_effect,
    expected_best,
    expected_best_weights,
    holm,
    mixture_critical,
    mixture_p_value,
    paired_log_ratios,
    t_critical,
    variance_components,
)

ratios = st.floats(-2, 2).map(lambda x: round(x, 6))


def inside_99_band(count, n, rate):
    return stats.binom.ppf(0.005, n, rate) <= count <= stats.binom.ppf(0.995, n, rate)


class TestEffect:
    def test_three_replicates_worked_by_hand(self):
        effect = estimate_effect([-0.1, -0.2, -0.3])
        assert effect.mean == pytest.approx(-0.2)
        assert effect.sd == pytest.approx(0.1)
        # t(.975, 2) = 4.302653, t(.95, 2) = 2.919986, SE = 0.1 / sqrt(3); for two degrees of freedom the
        # two-sided p is 1 - |t| / sqrt(2 + t^2) with t^2 = 12.
        assert effect.interval_95.upper == pytest.approx(-0.2 + 4.302653 * 0.0577350, abs=1e-6)
        assert effect.interval_90.lower == pytest.approx(-0.2 - 2.919986 * 0.0577350, abs=1e-6)
        assert effect.p_value == pytest.approx(1 - math.sqrt(12 / 14))

    @settings(deadline=None)
    @given(st.lists(ratios, min_size=2, max_size=12).filter(lambda d: np.std(d) > 1e-6))
    def test_equals_scipys_one_sample_t(self, means):
        effect, oracle = estimate_effect(means), stats.ttest_1samp(means, 0.0)
        assert effect.p_value == pytest.approx(oracle.pvalue, rel=1e-9, abs=1e-12)
        for interval, level in ((effect.interval_95, 0.95), (effect.interval_90, 0.9)):
            expected = oracle.confidence_interval(level)
            assert (interval.lower, interval.upper) == pytest.approx((expected.low, expected.high), abs=1e-9)

    @settings(deadline=None)
    @given(st.lists(ratios, min_size=1, max_size=9), st.booleans(), st.randoms())
    def test_no_order_matters_and_negation_mirrors(self, means, is_anytime_valid, random):
        effect = estimate_effect(means, is_anytime_valid=is_anytime_valid)
        random.shuffle(means)
        assert estimate_effect(means, is_anytime_valid=is_anytime_valid) == effect
        mirrored = estimate_effect([-d for d in means], is_anytime_valid=is_anytime_valid)
        assert (mirrored.mean, mirrored.p_value) == (-effect.mean, effect.p_value)
        assert mirrored.interval_95 == (effect.interval_95 and effect.interval_95.mirrored)

    def test_no_replicate_and_one_replicate_have_no_interval(self):
        assert estimate_effect([]).interval_95 is None
        one = estimate_effect([0.3])
        assert (one.n, one.mean, one.sd, one.p_value) == (1, 0.3, None, None)

    def test_identical_arms_are_a_point_at_zero(self):
        effect = estimate_effect([0.0, 0.0, 0.0])
        assert effect.interval_95 == Interval(0.0, 0.0)
        assert effect.p_value == 1.0
        assert not effect.is_constant

    def test_equal_differences_that_are_not_zero_have_no_error_estimate(self):
        effect = estimate_effect([0.1 + 0.2, 0.3, 0.3])  # equal up to rounding
        assert effect.is_constant
        assert effect.interval_95 is None
        assert effect.p_value is None

    def test_intervals_cover_at_their_nominal_rate(self):
        draws = np.random.default_rng(1).normal(0.02, 0.1, (3000, 5))
        effects = [estimate_effect(row) for row in draws]
        for level in (95, 90):
            intervals = [getattr(effect, f"interval_{level}") for effect in effects]
            covered = sum(i.lower <= 0.02 <= i.upper for i in intervals)
            assert inside_99_band(covered, len(draws), level / 100)

    def test_log_ratios_pair_by_position_and_refuse_bad_endpoints(self):
        assert paired_log_ratios([1.0, 2.0], [2.0, 1.0]) == pytest.approx([math.log(2), -math.log(2)])
        with pytest.raises(ValueError, match=r"positive and finite, got 0\.0"):
            paired_log_ratios([1.0], [0.0])
        with pytest.raises(ValueError, match=r"shorter|longer"):
            paired_log_ratios([1.0], [1.0, 2.0])


class TestAnytimeValid:
    @pytest.mark.parametrize("n", [5, 6, 10, 50, 500])
    def test_critical_value_is_where_p_reaches_alpha(self, n):
        for alpha in (0.05, 0.1):
            assert mixture_p_value(mixture_critical(n, alpha), n) == pytest.approx(alpha, rel=1e-9)
            assert mixture_critical(n, alpha) > t_critical(n, alpha)

    def test_too_few_replicates_exclude_nothing(self):
        effect = estimate_effect([-0.1, -0.2, -0.31], is_anytime_valid=True)
        assert effect.interval_95 == Interval(-math.inf, math.inf)
        assert effect.p_value > 0.05

    def test_five_replicates_worked_by_hand(self):
        # A = 6; r = (sqrt(6)/.05)^(-2/5) = 48.9898^-.4 = .2107769; c = sqrt(4 * .7892231 / (.2107769 - .1666667))
        assert mixture_critical(5, 0.05) == pytest.approx(math.sqrt(4 * 0.78922 / 0.0441102), rel=1e-3)

    def test_looking_after_every_replicate_keeps_the_error_rate(self):
        draws = np.random.default_rng(2).normal(0, 0.1, (1500, 40))
        n = np.arange(2, 41)
        sums, squares = draws.cumsum(1)[:, 1:], (draws**2).cumsum(1)[:, 1:]
        t = sums / n / np.sqrt((squares - sums**2 / n) / (n - 1) / n)
        for critical, is_valid in ((mixture_critical, True), (t_critical, False)):
            limits = np.array([critical(int(k), 0.05) for k in n])
            rate = np.mean((np.abs(t) > limits).any(axis=1))
            assert (rate <= 0.05) == is_valid


class TestVarianceComponents:
    def test_two_replicates_worked_by_hand(self):
        # within: deviations +-0.1 twice over 2 degrees of freedom -> .02; means .1 and .5 have variance .08.
        components = variance_components([[0.0, 0.2], [0.4, 0.6]])
        assert components.within_sd == pytest.approx(math.sqrt(0.02))
        assert components.between_sd == pytest.approx(math.sqrt(0.08 - 0.02 / 2))

    def test_more_spread_within_than_between_gives_zero(self):
        assert variance_components([[-1.0, 1.0], [-1.0, 1.1]]).between_sd == 0.0

    @pytest.mark.parametrize("groups", [[], [[]], [[0.1], [0.2]]])
    def test_undefined_without_two_seeds_in_a_replicate(self, groups):
        assert variance_components(groups).within_sd is None

    def test_one_replicate_has_no_between(self):
        components = variance_components([[0.0, 0.2]])
        assert components.within_sd == pytest.approx(math.sqrt(0.02))
        assert components.between_sd is None

    def test_equals_the_mean_squares_of_scipys_analysis_of_variance(self):
        groups = np.random.default_rng(4).normal(0, 0.2, (6, 1)) + np.random.default_rng(5).normal(0, 0.3, (6, 4))
        components = variance_components(groups.tolist())
        within = groups.var(axis=1, ddof=1).mean()
        ratio = stats.f_oneway(*groups).statistic
        assert components.within_sd == pytest.approx(math.sqrt(within))
        assert components.between_sd == pytest.approx(math.sqrt(max(0, within * (ratio - 1) / 4)))

    def test_recovers_both_components_from_many_replicates(self):
        rng = np.random.default_rng(3)
        groups = rng.normal(0, 0.2, (400, 1)) + rng.normal(0, 0.3, (400, 4))
        components = variance_components(groups.tolist())
        assert components.within_sd == pytest.approx(0.3, rel=0.05)
        assert components.between_sd == pytest.approx(0.2, rel=0.15)


class TestHolm:
    @pytest.fixture(autouse=True)
    def _nothing_to_collect(self):
        gc.freeze()  # statsmodels collects garbage at every call: 0.1 s each with everything imported
        yield
        gc.unfreeze()

    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_equals_statsmodels(self, p_values):
        assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)

    def test_an_unfinished_pair_counts_in_the_family(self):
        assert holm([0.01, None, 0.02]) == pytest.approx([0.03, None, 0.04])
        assert holm([]) == []
        assert holm([None]) == [None]


class TestClopperPearson:
    def test_none_of_ten_worked_by_hand(self):
        rate = clopper_pearson(0, 10)
        assert rate.interval_95 == Interval(0.0, pytest.approx(1 - 0.025**0.1))

    @settings(deadline=None)
    @given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_equals_statsmodels(self, count_and_n):
        interval = clopper_pearson(*count_and_n).interval_95
        expected = proportion_confint(*count_and_n, method="beta")
        assert (interval.lower, interval.upper) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("n", [3, 18, 60])
    @pytest.mark.parametrize("rate", [0.01, 0.05, 0.3, 0.5, 0.9])
    def test_covers_at_least_as_often_as_it_says(self, n, rate):
        """Exact: summed over every count that can be."""
        intervals = [clopper_pearson(count, n).interval_95 for count in range(n + 1)]
        inside = [interval.lower <= rate <= interval.upper for interval in intervals]
        assert stats.binom.pmf(range(n + 1), n, rate)[inside].sum() >= 0.95

    def test_no_runs_have_no_rate(self):
        assert clopper_pearson(0, 0).rate is None
        assert clopper_pearson(0, 0).interval_95 == Interval(0.0, 1.0)
        with pytest.raises(ValueError, match="2 of 1"):
            clopper_pearson(2, 1)


class TestExpectedBest:
    values = (0.9, 0.2, 0.5, 0.5, 0.7, 0.1)
    outcomes = (1.9, 1.2, 1.6, 1.5, 1.7, 1.3)

    @pytest.mark.parametrize("n", range(1, 7))
    def test_equals_the_mean_over_all_subsets(self, n):
        subsets = list(itertools.combinations(range(6), n))
        best = [min(subset, key=lambda i: self.values[i]) for subset in subsets]
        assert expected_best(self.values, n) == pytest.approx(np.mean([self.values[i] for i in best]))
        at_chosen = expected_best(self.values, n, self.outcomes)
        assert at_chosen == pytest.approx(np.mean([self.outcomes[i] for i in best]))

    @pytest.mark.parametrize("n", [1, 3, 1000, 99_999, 100_000])
    def test_weights_sum_to_one_where_binomials_overflow(self, n):
        weights = expected_best_weights(100_000, n)
        assert math.fsum(weights) == pytest.approx(1, abs=1e-12)
        assert (weights >= 0).all()

    def test_diverged_trials_are_infinitely_bad_but_not_nan(self):
        assert expected_best([0.1, math.inf, 0.3], 2) == pytest.approx((0.1 + 0.1 + 0.3) / 3)
        assert expected_best([0.1, math.inf, 0.3], 1) == math.inf

    def test_budget_outside_the_search_is_refused(self):
        with pytest.raises(ValueError, match=r"n must be in \[1, 3\], got 4"):
            expected_best([1.0, 2.0, 3.0], 4)


class TestPlanning:
    @settings(deadline=None)
    @given(st.floats(0.01, 1), st.integers(2, 40), st.floats(0.02, 0.3), st.booleans())
    def test_further_replicates_are_the_fewest_that_reach_the_margin(self, sd, n, margin, anytime):
        critical = mixture_critical if anytime else t_critical
        more = further_replicates(sd, n, margin, is_anytime_valid=anytime)

        def half_width(total):
            return critical(total, 0.05) * sd / math.sqrt(total)

        assert half_width(n + more) <= margin
        assert more == 0 or half_width(n + more - 1) > margin

    def test_six_replicates_worked_by_hand(self):
        # sd .1, m .1: t(3) / 2 = 1.59, t(5) / sqrt(6) = 1.049 > 1 and t(6) / sqrt(7) = 2.4469 / 2.6458 = .925.
        assert further_replicates(0.1, 6, 0.1) == 1
        assert further_replicates(0.1, 3, 0.1) == 4
        assert further_replicates(0.1, 1, 0.1) == 6

    def test_hopeless_and_free_cases(self):
        assert further_replicates(0.0, 3, 0.05) == 0
        assert further_replicates(100.0, 3, 0.05) is None

    @pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
    @pytest.mark.parametrize("effect", [0.01, 0.05, 0.1])
    def test_power_equals_statsmodels(self, n, effect):
        expected = TTestPower().power(effect / 0.12, n, 0.05, alternative="two-sided")
        assert paired_t_power(-effect, 0.12, n) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("n", [2, 3, 6, 60])
    @pytest.mark.parametrize("shift", [0.5, 6.9, 7.1, 8.0, 12.0, 40.0])
    def test_power_equals_quadrature_where_scipys_far_tail_is_nan(self, n, shift):
        def rejects(scale):  # given sd_hat / sd
            limit = stats.t.isf(0.025, n - 1) * scale
            return stats.norm.sf(limit - shift) + stats.norm.cdf(-limit - shift)

        edges = (np.arange(40_000) + 0.5) / 40_000
        expected = np.mean(rejects(np.sqrt(stats.chi2.ppf(edges, n - 1) / (n - 1))))
        assert paired_t_power(shift / math.sqrt(n), 1.0, n) == pytest.approx(expected, abs=2e-5)

    @pytest.mark.parametrize(
        ("n", "change", "measured"),
        [(5, 0.05, 0.12), (5, 0.1, 0.33), (5, 0.2, 0.83), (10, 0.05, 0.24), (10, 0.1, 0.70), (10, 0.2, 1.0)],
    )
    def test_power_agrees_with_the_measured_figures(self, n, change, measured):
        # One sd, .12, stands behind all six measured rates; the tolerance is that of the measurement.
        assert paired_t_power(math.log(1 - change), 0.12, n) == pytest.approx(measured, abs=0.04)

    def test_power_of_degenerate_plans(self):
        assert paired_t_power(0.1, 0.1, 1) == 0.0
        assert paired_t_power(0.0, 0.1, 5) == 0.05
        assert paired_t_power(0.1, 0.0, 5) == 1.0
        assert paired_t_power(5.0, 0.01, 40) == 1.0
