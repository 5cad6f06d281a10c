"""The published studies beside figures that others measured before: do they agree within chance?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy import stats

from service.domain.statistics import Interval, t_critical
from service.domain.wording import percent, percent_range
from service.output.markdown import table_parts
from service.output.tables import Table

Report = Mapping[str, Any]
FILE = "earlier.json"


def earlier_section(reports: Sequence[Report], earlier: Mapping[str, Any]) -> list[str]:
    """The part of the page of results; empty where no study has a pair that was measured before.

    Args:
        reports: The published studies.
        earlier: `docs/results/earlier.json`: relative changes with their intervals and designs.
    """
    rows = tuple(_rows(reports, earlier["figures"]))
    if not rows:
        return []
    header = ("study, pair", "here", "earlier", "how the earlier one was made", "ratio of the two (95 %)", "they")
    method = (
        "Ratio of the two effects: difference of the logs, standard errors from the intervals, degrees of freedom by "
        "Welch-Satterthwaite. Source: Welch 1947."
    )
    table = Table("earlier", "Beside earlier measurements", header, rows, None, method)
    said = f"Earlier: {earlier['source']}. They share neither seeds nor draws with the studies here."
    title, *rest = table_parts(table)
    return [title, said, *rest]


def _rows(reports: Sequence[Report], figures: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for report in reports:
        for pair in report["comparisons"]:
            for figure in figures:
                place = (report["workload"], pair["baseline"], pair["challenger"])
                is_known = pair["effect"]["interval_95"] is not None and pair["effect"]["sd"]
                if is_known and place == (figure["workload"], figure["baseline"], figure["challenger"]):
                    yield _row(report, pair, figure)


def _row(report: Report, pair: Mapping[str, Any], figure: Mapping[str, Any]) -> tuple[str, ...]:
    effect = pair["effect"]
    ends = Interval(effect["interval_95"]["lower"], effect["interval_95"]["upper"])
    before = Interval(*(math.log1p(end) for end in figure["interval_95"]))
    shift, interval = difference(
        (effect["mean"], ends, effect["n"]), (math.log1p(figure["change"]), before, figure["replicates"])
    )
    agree = "agree within chance" if interval.lower <= 0 <= interval.upper else "differ"
    return (
        f"{report['study']}, {pair['challenger']} against {pair['baseline']}",
        f"{percent(effect['mean'])} ({percent_range(ends)})",
        f"{percent(math.log1p(figure['change']))} ({percent_range(before)})",
        f"{figure['design']}, R = {figure['replicates']}",
        f"{percent(shift)} ({percent_range(interval)})",
        agree,
    )


def difference(
    first: tuple[float, Interval, int], second: tuple[float, Interval, int], alpha: float = 0.05
) -> tuple[float, Interval]:
    """First effect less the second, with an interval.

    Args:
        first: Log effect, its 95 % t interval, and the number of replicates behind it.
        second: Likewise, of independent replicates.
        alpha: One less the interval's level.
    """
    squares = [((e.upper - e.lower) / 2 / t_critical(n, 0.05)) ** 2 for _, e, n in (first, second)]
    error = math.sqrt(sum(squares))
    freedom = sum(squares) ** 2 / sum(s**2 / (n - 1) for s, (_, _, n) in zip(squares, (first, second), strict=True))
    half = float(stats.t.isf(alpha / 2, freedom)) * error
    shift = first[0] - second[0]
    return shift, Interval(shift - half, shift + half)
