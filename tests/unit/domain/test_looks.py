"""The effect of a study at a look: what one look gives, how p and interval agree, missing replicates, coverage."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from service.domain.sequential import estimate_at_look, limits
from service.domain.statistics import Interval, estimate_effect

LOOKS = (3, 5, 7, 10)
ratios = st.floats(-2, 2).map(lambda x: round(x, 6))


def draws(n, seed, center=0.0):
    return np.random.default_rng(seed).normal(center, 1.0, n).tolist()


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(-2, 2).map(lambda x: round(x, 6)), min_size=2, max_size=12).filter(lambda d: np.std(d) > 1e-6)
)
def test_a_single_look_is_the_plain_t_test(means):
    found, plain = estimate_at_look(means, (len(means),)), estimate_effect(means)
    for interval in ("interval_95", "interval_90"):
        ours, theirs = getattr(found, interval), getattr(plain, interval)
        assert (ours.lower, ours.upper) == pytest.approx((theirs.lower, theirs.upper))
    assert found.p_value == pytest.approx(max(plain.p_value, 1e-12), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("n", LOOKS)
def test_zero_is_outside_the_interval_exactly_where_p_is_below_the_level(n):
    at = LOOKS.index(n)
    base = np.array(draws(n, 3))
    base -= base.mean()
    error = base.std(ddof=1) / math.sqrt(n)
    for t in (0.98, 1.02):
        found = estimate_at_look((base + t * limits(LOOKS, 0.025)[at] * error).tolist(), LOOKS)
        assert (found.p_value < 0.05) == (found.interval_95.lower > 0) == (t > 1)
        found = estimate_at_look((base + t * limits(LOOKS, 0.05)[at] * error).tolist(), LOOKS)
        assert (found.p_value < 0.1) == (found.interval_90.lower > 0) == (t > 1)


@pytest.mark.parametrize("n", LOOKS)
def test_p_falls_as_the_effect_grows_and_is_never_below_that_of_a_single_look(n):
    base = np.array(draws(n, 4))
    base -= base.mean()
    found = [estimate_at_look((base + shift).tolist(), LOOKS).p_value for shift in np.linspace(0.05, 6, 25)]
    plain = [estimate_effect((base + shift).tolist()).p_value for shift in np.linspace(0.05, 6, 25)]
    assert all(a >= b for a, b in itertools.pairwise(found))
    assert found[0] > found[-1]
    assert all(p >= min(q, 1) - 1e-9 for p, q in zip(found, plain, strict=True))


def test_the_interval_holds_over_all_looks_and_no_look_errs_more_often_than_allowed():
    """Coverage at every look together, and the rate at which any look finds an effect that is not there."""
    rng, n_runs = np.random.default_rng(5), 4000
    covered = found = 0
    critical = [limits(LOOKS, 0.025)[k] for k in range(len(LOOKS))]
    for _ in range(n_runs):
        values = rng.normal(0.0, 1.0, LOOKS[-1])
        t = [values[:n].mean() / (values[:n].std(ddof=1) / math.sqrt(n)) for n in LOOKS]
        outside = [abs(x) > c for x, c in zip(t, critical, strict=True)]
        covered += not any(outside)
        found += any(outside)
    low, high = stats.binom.ppf([0.001, 0.999], n_runs, 0.95)
    # t quantiles in place of the joint law of t: exact at the first look, over all of these 0.2 % beyond the level
    assert low - 0.006 * n_runs <= covered <= high
    assert found == n_runs - covered


def test_the_function_covers_as_its_limits_do():
    """The same through `estimate_at_look` itself, over fewer runs."""
    rng, covered, n_runs = np.random.default_rng(6), 0, 150
    for _ in range(n_runs):
        values = rng.normal(0.4, 1.0, LOOKS[-1]).tolist()
        intervals = [estimate_at_look(values[:n], LOOKS).interval_95 for n in LOOKS]
        covered += all(i.lower <= 0.4 <= i.upper for i in intervals)
    low, high = stats.binom.ppf([0.001, 0.999], n_runs, 0.95)
    assert low <= covered <= high


@pytest.mark.parametrize(
    ("n", "planned"), [(2, (2, 5, 7, 10)), (4, (3, 4, 7, 10)), (9, (3, 5, 7, 9)), (12, (3, 5, 7, 12))]
)
def test_a_missing_replicate_takes_the_place_of_its_look(n, planned):
    means = draws(n, 7)
    found = estimate_at_look(means, LOOKS)
    error = np.std(means, ddof=1) / math.sqrt(n)
    half = limits(planned, 0.025)[planned.index(n)] * error
    assert found.interval_95.upper - found.mean == pytest.approx(half)
    assert (found.n, found.looks) == (n, LOOKS)


def test_exchanging_the_arms_mirrors_the_interval_and_keeps_p():
    means = draws(7, 8, center=0.6)
    found, mirrored = estimate_at_look(means, LOOKS), estimate_at_look([-d for d in means], LOOKS)
    assert mirrored.interval_95 == found.interval_95.mirrored
    assert mirrored.p_value == pytest.approx(found.p_value)
    assert estimate_at_look(means[::-1], LOOKS).p_value == pytest.approx(found.p_value)


@pytest.mark.parametrize(
    ("means", "interval", "p_value"),
    [([], None, None), ([0.3], None, None), ([0.2] * 3, None, None), ([0.0] * 3, Interval(0.0, 0.0), 1.0)],
)
def test_too_little_and_no_spread_are_as_for_any_study(means, interval, p_value):
    found = estimate_at_look(means, LOOKS)
    assert (found.interval_95, found.p_value, found.looks) == (interval, p_value, LOOKS)
