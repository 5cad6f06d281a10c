"""The form of a chart's data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from service.dashboard.palette import SeriesStyle, arm_styles
from service.domain.study import Study

Styles = Mapping[str, SeriesStyle]
DIGITS = 6
MOST_POINTS = 120
"""Of one line: four arms with a line, its raw form and a band stay under 2,000 values."""
_Row = TypeVar("_Row")


def styles_of(study: Study) -> dict[str, SeriesStyle]:
    """The look of each arm."""
    return arm_styles([(arm.name, arm.optimizer) for arm in study.arms])


def chart(kind: str, title: str, caption: str, **parts: Any) -> dict[str, Any]:
    """A chart.

    Args:
        kind: "lines", "intervals", "heat", "bars" or "parallel".
        caption: Estimator and source, in words.
        parts: x and y (`axis`), series, marks, table, as the kind asks for.
    """
    return {"kind": kind, "title": title, "caption": caption, **parts}


def axis(name: str, scale: str = "linear", **more: Any) -> dict[str, Any]:
    """An axis; its scale is "linear", "log" or "category"."""
    return {"name": name, "scale": scale, **more}


def series(arm: str, style: SeriesStyle, label: str = "", **parts: Any) -> dict[str, Any]:
    """One arm's marks: points [x, y], and a band [x, low, high] where there is one."""
    dash = style.dash if isinstance(style.dash, str) else list(style.dash)
    look = {"colour": style.colour, "dash": dash, "marker": style.marker}
    return {"arm": arm, "label": label or arm, **look, **parts}


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The same numbers as a table, to six digits."""
    return {"columns": list(columns), "rows": [[short(value) for value in row] for row in rows]}


def short(value: Any) -> Any:
    """A number with six significant digits, None for what is not finite; anything else as it is."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def points(xs: Sequence[float], ys: Sequence[float | None]) -> list[list[Any]]:
    """Pairs, without those that have no y."""
    return [[short(x), short(y)] for x, y in zip(xs, ys, strict=True) if y is not None]


def band(xs: Sequence[float], lows: Sequence[float | None], highs: Sequence[float | None]) -> list[list[Any]]:
    """Triples of x, low and high, without those that lack an end."""
    found = zip(xs, lows, highs, strict=True)
    return [[short(x), short(low), short(high)] for x, low, high in found if low is not None and high is not None]


def thinned(rows: Sequence[_Row], most: int = MOST_POINTS) -> list[_Row]:
    """At most `most` rows at even distances, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    places = [round(i * (len(rows) - 1) / (most - 1)) for i in range(most)]
    return [rows[place] for place in places]


def by_arm(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Rows that lie side by side by arm, as (arm, its rows)."""
    return [(arm, list(found)) for arm, found in groupby(rows, key=lambda row: str(row["arm"]))]
