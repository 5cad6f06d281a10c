"""How much slower: a median of paired log ratios, with an interval from order statistics alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from service.domain.checks import CheckVerdict

ROUNDS = (12, 24, 48, 96, 192)
"""When to look. Five looks at 99 % each make an interval that holds over all of them with 95 % at least."""

_LEVEL = 0.99


@dataclass(frozen=True)
class Timing:
    """The ratio candidate / baseline, minus 1.

    Attributes:
        low: With `high`: 99 % interval of the median at this look.
        verdict: INCONCLUSIVE where the interval covers the limit.
    """

    slower: float
    low: float
    high: float
    verdict: CheckVerdict


def judge_timing(log_ratios: Sequence[float], limit: float) -> Timing:
    """Judge rounds of bursts.

    Args:
        log_ratios: log candidate - log baseline, one for each round, at least 8; their noise may have any distribution.
        limit: Largest ratio minus 1 that passes, such as 0.10.

    Source: the interval between the r-th smallest and the r-th largest value covers the median with probability
    1 - 2 P(B < r), B binomial with one half (Thompson 1936).
    """
    ordered = sorted(log_ratios)
    rank = int(stats.binom.ppf((1 - _LEVEL) / 2, len(ordered), 0.5))  # P(B < rank) is within the level
    if rank < 1:
        raise ValueError(f"an interval needs at least 8 rounds, got {len(ordered)}")
    low, high = ordered[rank - 1], ordered[-rank]
    inside, outside = high <= math.log1p(limit), low > math.log1p(limit)
    verdict = CheckVerdict.PASS if inside else CheckVerdict.FAIL if outside else CheckVerdict.INCONCLUSIVE
    return Timing(math.expm1(statistics.median(ordered)), math.expm1(low), math.expm1(high), verdict)
