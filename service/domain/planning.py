"""What certainty costs: replicates for a wanted half-width, and the power of a planned comparison."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import stats

from service.domain.statistics import SMALLEST_SD, mixture_critical, t_critical

_TOO_MANY = 1_000_000
_NEGLIGIBLE_SHIFT = 7.0


def further_replicates(sd: float, n: int, margin: float, *, is_anytime_valid: bool = False) -> int | None:
    """Number of replicates to add until the 95 % interval's half-width is about `margin`.

    N = ceil((t sd/m)^2) - R, where t depends on the total. So the smallest total n' >= R with
    t(n' - 1) sd / sqrt(n') <= m is searched, instead of using the t of the R replicates at hand (which, for R = 3,
    would ask for nearly five times too many). The sd is taken as known: the answer is an expectation, not a promise.

    Args:
        sd: Standard deviation of the replicate means, >= 0, log scale.
        n: Replicates at hand, R >= 1.
        margin: Wanted half-width m > 0, log scale.
        is_anytime_valid: True where the t-mixture makes the interval.

    Returns:
        At least 0; None where more than a million replicates would be needed.
    """
    critical = mixture_critical if is_anytime_valid else t_critical
    start = max(n, 2)
    if sd <= SMALLEST_SD or _half_width(critical, sd, start) <= margin:
        return start - n
    high = start
    while _half_width(critical, sd, high) > margin:
        high *= 2
        if high > _TOO_MANY:
            return None
    return _bisect(lambda total: _half_width(critical, sd, total) <= margin, high // 2, high) - n


def _half_width(critical: Callable[[int, float], float], sd: float, n: int) -> float:
    return critical(n, 0.05) * sd / math.sqrt(n)


def _bisect(is_enough: Callable[[int], bool], low: int, high: int) -> int:
    """Smallest total in (low, high] that is enough; `low` is not, `high` is, and the half-width falls between."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def paired_t_power(effect: float, sd: float, n: int, alpha: float = 0.05) -> float:
    """Probability that the two-sided paired t-test over `n` replicates rejects.

    Args:
        effect: True E, log scale; log(0.9) for a change by -10 %.
        sd: Standard deviation of the replicate means, >= 0, log scale.
        n: Number of replicates; with fewer than 2 no test can reject, and the power is 0.
        alpha: Level; divide by the number of declared pairs for Holm's first step.

    Returns:
        A probability; `alpha` where the effect is 0.

    Source: noncentral t with n - 1 degrees of freedom and noncentrality effect * sqrt(n) / sd.
    """
    if n < 2:
        return 0.0
    if abs(effect) <= SMALLEST_SD:
        return alpha
    if sd <= SMALLEST_SD:
        return 1.0
    shift = abs(effect) * math.sqrt(n) / sd
    critical = t_critical(n, alpha)
    power = float(stats.nct.sf(critical, n - 1, shift))
    # The far tail is below Phi(-shift), and scipy's noncentral t returns NaN there from a shift of about 7.7 on.
    far_tail = float(stats.nct.cdf(-critical, n - 1, shift)) if shift < _NEGLIGIBLE_SHIFT else 0.0
    return min(1.0, power + far_tail)
