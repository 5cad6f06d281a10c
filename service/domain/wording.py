"""How effects, intervals and probabilities are written for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

from service.domain.statistics import Interval


def relative_change(log_ratio: float) -> float:
    """exp(E) - 1 as a fraction; infinite where that overflows."""
    return math.expm1(log_ratio) if log_ratio < 700 else math.inf


def percent(log_ratio: float) -> str:
    """A log ratio as a signed change in %, such as "-8.4 %", "+16 %", "0 %"."""
    value = 100 * relative_change(log_ratio)
    if math.isinf(value):
        return "+inf %"
    if abs(value) < 0.05:
        return f"{value:+.1g} %" if abs(value) >= 1e-9 else "0 %"
    if abs(value) < 9.95:
        return f"{value:+.1f} %"
    return f"{value:+.0f} %" if abs(value) < 1e5 else f"{value:+.1e} %"


def percent_range(interval: Interval) -> str:
    """An interval of log ratios, such as "-16 % to -0.1 %"; unbounded ends are said in words."""
    if math.isinf(interval.lower) and math.isinf(interval.upper):
        return "unbounded with so few replicates"
    return f"{percent(interval.lower)} to {percent(interval.upper)}"


def margin_percent(margin: float) -> str:
    """The margin as people name it: "5 %" for 0.05.

    A log ratio m is named 100 m % up to 0.1, where exp(m) - 1 differs by less than half a point; beyond, the change
    that it stands for on the better side, 1 - exp(-m).
    """
    shown = 100 * margin if margin <= 0.1 else round(-100 * math.expm1(-margin))
    return f"{shown:.3g} %"


def probability(p: float) -> str:
    """A p-value, such as "p = .012" or "p < .001"."""
    if p < 0.001:
        return "p < .001"
    digits = 4 if abs(p - 0.05) < 0.0006 else 3  # .0499 must not read as .050
    return f"p = {p:.{digits}f}".replace("0.", ".", 1)


def count(n: int, noun: str) -> str:
    """A number with its noun, such as "1 replicate", "3 replicates", "2 searches"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def budget_words(budget: Mapping[str, float] | None) -> str:
    """What ends a search before T trials, such as "500 training steps"; empty where nothing does."""
    if budget is None:
        return ""
    ((unit, most),) = budget.items()
    return f"{most:,.10g} training steps" if unit == "steps" else f"{most:,.10g} s of training"


def duration(seconds: float) -> str:
    """A rough duration in words: minutes up to two hours, then hours."""
    minutes = seconds / 60
    if minutes < 1:
        return "less than a minute"
    if minutes < 120:
        return f"about {count(round(minutes), 'minute')}"
    return f"about {count(round(minutes / 60), 'hour')}"


def listing(items: list[str] | tuple[str, ...]) -> str:
    """Items joined for a sentence: "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else ""
