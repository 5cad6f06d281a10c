"""Estimators for comparing two optimizers over independent tuning replicates.

Everything here works on natural logs of a positive, lower-is-better endpoint: differences are log ratios,
challenger minus baseline, and negative is better. The unit of replication is the tuning replicate, not the seed:
two searches of the *same* optimizer differ, so that seeds of one search say nothing about the next search.

Sums use `math.fsum`, which makes every estimate independent of the order of seeds and trials to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Below this spread, log ratios are equal up to rounding: a t statistic would be the ratio of two rounding errors.
SMALLEST_SD = 1e-12


@dataclass(frozen=True)
class Interval:
    """A closed interval; an unbounded end is infinite."""

    lower: float
    upper: float

    @property
    def mirrored(self) -> Interval:
        """The interval of the negated quantity."""
        return Interval(-self.upper, -self.lower)

    def is_inside(self, margin: float) -> bool:
        """True where the interval lies strictly inside (-margin, margin)."""
        return -margin < self.lower and self.upper < margin


@dataclass(frozen=True)
class Effect:
    """The mean log ratio of two arms over replicates.

    Attributes:
        n: Number of replicates R.
        mean: E, mean of the replicate means; NaN never, 0 where there is no replicate.
        sd: Standard deviation of the replicate means (n - 1 in the denominator); None for fewer than 2.
        interval_95: None where no error can be estimated (fewer than 2 replicates, or `is_constant`).
        interval_90: The same at 90 %, for equivalence (two one-sided tests at 5 %).
        p_value: Two-sided; None where there is no interval.
        is_constant: True where all replicates show the same difference, not zero: the replicates are then not
            independent, and no error can be estimated. Differences that are all zero are no such case: the arms did
            the same thing, the intervals are the point 0 and p is 1.
        is_anytime_valid: True where interval and p hold at whatever number of replicates one stops.
        looks: Numbers of replicates at which the study was to be looked at, where it is sequential: interval and p hold
            over all these looks together.
    """

    n: int
    mean: float
    sd: float | None
    interval_95: Interval | None
    interval_90: Interval | None
    p_value: float | None
    is_constant: bool = False
    is_anytime_valid: bool = False
    looks: tuple[int, ...] = ()


@dataclass(frozen=True)
class VarianceComponents:
    """Where the noise of the replicate means comes from.

    Attributes:
        within_sd: Pooled standard deviation of the paired log ratios of one replicate's seeds; None where no
            replicate has two seeds.
        between_sd: Standard deviation of the true replicate means: what more seeds cannot remove. At least 0; None
            for fewer than 2 replicates, or where `within_sd` is None.
    """

    within_sd: float | None
    between_sd: float | None


@dataclass(frozen=True)
class Rate:
    """A share of runs with its Clopper-Pearson 95 % interval; 0 of 0 has no rate and the interval [0, 1]."""

    count: int
    n: int
    rate: float | None
    interval_95: Interval


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one value, the same for every order of the values."""
    return math.fsum(values) / len(values)


def sample_sd(values: Sequence[float]) -> float | None:
    """Standard deviation with n - 1 in the denominator; None for fewer than two values."""
    if len(values) < 2:
        return None
    center = mean(values)
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / (len(values) - 1))


def paired_log_ratios(baseline: Sequence[float], challenger: Sequence[float]) -> list[float]:
    """Compute log challenger - log baseline, seed by seed.

    Args:
        baseline: Endpoints, each above 0.
        challenger: Endpoints of the same seeds in the same order, each above 0.

    Raises:
        ValueError: The lengths differ, or an endpoint is not positive and finite.
    """
    for value in (*baseline, *challenger):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"an endpoint must be positive and finite, got {value!r}")
    return [math.log(c) - math.log(b) for b, c in zip(baseline, challenger, strict=True)]


def estimate_effect(replicate_means: Sequence[float], *, is_anytime_valid: bool = False) -> Effect:
    """Estimate the effect E with its intervals from one mean log ratio D_r per replicate.

    Args:
        replicate_means: D_r, finite; any number of them, none included.
        is_anytime_valid: True where replicates were added after a look at the result: intervals and p then come from
            the t-mixture, which holds at every stopping time, and are wider.

    Source: one-sample t (Student 1908) on E = mean(D), SE = sd(D) / sqrt(R), R - 1 degrees of freedom.
    """
    n = len(replicate_means)
    center = mean(replicate_means) if n else 0.0
    sd = sample_sd(replicate_means)
    if sd is None:
        return Effect(n, center, None, None, None, None, is_anytime_valid=is_anytime_valid)
    if sd <= SMALLEST_SD:
        return _effect_without_spread(n, center, sd, is_anytime_valid)
    standard_error = sd / math.sqrt(n)
    if is_anytime_valid:
        critical_95, critical_90 = mixture_critical(n, 0.05), mixture_critical(n, 0.10)
        p_value = mixture_p_value(center / standard_error, n)
    else:
        critical_95, critical_90 = t_critical(n, 0.05), t_critical(n, 0.10)
        p_value = float(2 * stats.t.sf(abs(center) / standard_error, n - 1))
    interval_95 = _around(center, critical_95 * standard_error)
    interval_90 = _around(center, critical_90 * standard_error)
    return Effect(n, center, sd, interval_95, interval_90, p_value, is_anytime_valid=is_anytime_valid)


def _effect_without_spread(n: int, center: float, sd: float, is_anytime_valid: bool) -> Effect:
    if abs(center) > SMALLEST_SD:
        return Effect(n, center, sd, None, None, None, is_constant=True, is_anytime_valid=is_anytime_valid)
    point = Interval(center, center)
    return Effect(n, center, sd, point, point, 1.0, is_anytime_valid=is_anytime_valid)


def _around(center: float, half_width: float) -> Interval:
    return Interval(center - half_width, center + half_width)


@lru_cache(maxsize=4096)
def t_critical(n: int, alpha: float) -> float:
    """Two-sided critical value of Student's t for `n` >= 2 replicates at level `alpha`."""
    return float(stats.t.isf(alpha / 2, n - 1))


@lru_cache(maxsize=4096)
def mixture_critical(n: int, alpha: float, prior_variance: float = 1.0) -> float:
    """Two-sided critical value of the anytime-valid t-mixture; infinite where n is too small to exclude anything.

    Args:
        n: Number of replicates, at least 2.
        alpha: Level, in (0, 1).
        prior_variance: g > 0, the variance of the standardised effect under the mixture.

    Source: A = 1 + n g; r = (sqrt(A)/alpha)^(-2/n); c = sqrt((n-1)(1-r)/(r - 1/A)) if r > 1/A else infinity: the t
    at which the mixture's likelihood ratio (`mixture_p_value`) reaches 1/alpha (Lai 1976; Wang & Ramdas 2024).
    """
    a = 1 + n * prior_variance
    r = (math.sqrt(a) / alpha) ** (-2 / n)
    return math.sqrt((n - 1) * (1 - r) / (r - 1 / a)) if r > 1 / a else math.inf


def mixture_p_value(t: float, n: int, prior_variance: float = 1.0) -> float:
    """Anytime-valid p: one over the t-mixture's likelihood ratio, at most 1; below alpha where |t| > critical value.

    Args:
        t: mean / (sd / sqrt(n)).
        n: Number of replicates, at least 2.
        prior_variance: g > 0, as in `mixture_critical`.
    """
    a = 1 + n * prior_variance
    x = t * t / (n - 1)
    log_ratio = -math.log(a) / 2 + n / 2 * (math.log1p(x) - math.log1p(x / a))
    return min(1.0, math.exp(-log_ratio))


def variance_components(log_ratios: Sequence[Sequence[float]]) -> VarianceComponents:
    """Split the variance of the replicate means into seeds (within) and tuning (between).

    Args:
        log_ratios: The paired log ratios of each replicate's seeds; empty replicates are ignored.

    Source: one-way random effects by moments: between = sd(D)^2 - within^2 * mean(1/S_r), not below 0.
    """
    groups = [list(group) for group in log_ratios if group]
    freedom = sum(len(group) - 1 for group in groups)
    if freedom == 0:
        return VarianceComponents(None, None)
    centers = [mean(group) for group in groups]
    squares = math.fsum((x - c) ** 2 for group, c in zip(groups, centers, strict=True) for x in group)
    within = squares / freedom
    sd = sample_sd(centers)
    if sd is None:
        return VarianceComponents(math.sqrt(within), None)
    between = sd**2 - within * mean([1 / len(group) for group in groups])
    return VarianceComponents(math.sqrt(within), math.sqrt(max(0.0, between)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment over the declared pairs.

    Args:
        p_values: One p per declared pair; None where a pair has none (yet).

    Returns:
        Adjusted p in the same order, at most 1. A None stays None, but counts in the family as if its p were 1, so
        that a pair's verdict cannot become easier because another pair is unfinished.

    Source: Holm, Scand. J. Statist. 6 (1979).
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[i] = largest
    return adjusted


def clopper_pearson(count: int, n: int, alpha: float = 0.05) -> Rate:
    """Share `count` of `n` with its exact (conservative) interval at level 1 - `alpha`.

    Raises:
        ValueError: Not 0 <= count <= n.

    Source: Clopper & Pearson, Biometrika 26 (1934), by quantiles of the beta distribution.
    """
    if not 0 <= count <= n:
        raise ValueError(f"count must be in [0, n], got {count} of {n}")
    lower = float(stats.beta.ppf(alpha / 2, count, n - count + 1)) if count > 0 else 0.0
    upper = float(stats.beta.isf(alpha / 2, count + 1, n - count)) if count < n else 1.0
    return Rate(count, n, count / n if n else None, Interval(lower, upper))


def expected_best_weights(n_values: int, n: int) -> NDArray[np.float64]:
    """Probability that the i-th smallest of `n_values` values is the smallest of `n` drawn without replacement.

    Args:
        n_values: N, at least 1.
        n: Number drawn, 1 <= n <= N.

    Returns:
        C(N - i, n - 1) / C(N, n) for i = 1 .. N; sums to 1. Computed as a running product of ratios at most 1, since
        the binomials themselves overflow from N of about 1,000.

    Raises:
        ValueError: n outside its range.
    """
    if not 1 <= n <= n_values:
        raise ValueError(f"n must be in [1, {n_values}], got {n}")
    i = np.arange(1, n_values, dtype=np.float64)
    ratios = np.clip((n_values - i - n + 1) / (n_values - i), 0.0, None)
    return np.asarray(n / n_values * np.concatenate(([1.0], np.cumprod(ratios))))


def expected_best(values: Sequence[float], n: int, outcomes: Sequence[float] | None = None) -> float:
    """Unbiased estimate of what the best of `n` random trials gives.

    Args:
        values: Endpoints of a *random* search, lower is better; for other samplers the estimate is meaningless.
        n: Budget in trials, 1 <= n <= len(values).
        outcomes: What is reported for the chosen trial, such as its test endpoint; the values themselves if None.

    Source: Tang et al., ACL 2020 (unbiased form of Dodge et al. 2019), here for the minimum.
    """
    order = np.argsort(np.asarray(values, dtype=np.float64), kind="stable")
    reported = np.asarray(values if outcomes is None else outcomes, dtype=np.float64)[order]
    weights = expected_best_weights(len(values), n)
    chosen = weights > 0  # an infinite value (a diverged trial) with weight 0 must not turn the sum into NaN
    return float(np.dot(weights[chosen], reported[chosen]))
