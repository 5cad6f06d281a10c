"""Effects with their intervals, a row each, on one log axis; the last row may be a pooled one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.statistics import Interval
from service.domain.wording import percent, percent_range
from service.output.marks import fill, line, picture, short, text

WIDTH = 440
_SIDE, _ROW, _TOP, _FOOT = 18, 62, 28, 24
_BAR, _APART = 30, 42
_TICKS = (-0.8, -0.6, -0.5, -0.4, -0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Row:
    """One effect on the log scale; `interval` is None where none can be given, `mean` where there is no replicate."""

    name: str
    words: str
    colour: str
    mean: float | None
    interval: Interval | None
    is_pooled: bool = False


def rows_of(report: Mapping[str, Any], *, is_workload_named: bool = False) -> list[Row]:
    """The report's comparisons."""
    place = f" · {report['workload']}" if is_workload_named else ""
    return [
        Row(
            name=f"{pair['challenger']} against {pair['baseline']}{place}",
            words=str(pair["verdict"]["words"]).split(":")[0],
            colour=colour_of(str(pair["verdict"]["kind"])),
            mean=pair["effect"]["mean"],
            interval=interval_of(pair["effect"]["interval_95"]),
        )
        for pair in report["comparisons"]
    ]


def colour_of(kind: str) -> str:
    """The colour's name for a kind of verdict."""
    side = kind.split("_")[0]
    return side if side in ("better", "worse") else "open"


def interval_of(found: Mapping[str, float | None] | None) -> Interval | None:
    """An interval from JSON, where null ends are infinite."""
    if found is None:
        return None
    lower, upper = found["lower"], found["upper"]
    return Interval(-math.inf if lower is None else lower, math.inf if upper is None else upper)


def forest_svg(rows: Sequence[Row], margin: float, *, is_file: bool = False) -> str:
    """Draw the rows.

    Args:
        rows: At least one.
        margin: Of practical equivalence, log scale; its band is shaded.
        is_file: True for a file of its own.
    """
    height = _TOP + _ROW * len(rows) + _FOOT
    scale = _scale(rows, margin)
    parts = list(_labels(scale, height))
    for index, row in enumerate(rows):
        top = _TOP + _ROW * index
        parts += [*_ground(margin, scale, top + _BAR), *_draw(row, top, scale)]
    said = "; ".join(f"{row.name}: {_size(row)}, {row.words}" for row in rows)
    return picture(WIDTH, height, parts, f"Effects with 95 % intervals. {said}", is_file=is_file)


def _scale(rows: Sequence[Row], margin: float) -> float:
    ends = [1.6 * margin, 0.06]
    for row in rows:
        if row.interval:
            ends += [abs(x) for x in (row.interval.lower, row.interval.upper) if math.isfinite(x)]
        ends.append(abs(row.mean or 0.0))
    return min(1.06 * max(ends), 2.0)


def _x(value: float, scale: float) -> float:
    share = (min(max(value, -scale), scale) + scale) / (2 * scale)
    return _SIDE + (WIDTH - 2 * _SIDE) * share


def _ticks(scale: float) -> list[float]:
    """Places of the labels: 0, and what is far enough from it and from one another."""
    places = [math.log1p(tick) for tick in _TICKS if abs(math.log1p(tick)) <= scale]
    chosen = [0.0]
    for place in sorted(places, key=abs):
        if all(abs(_x(place, scale) - _x(other, scale)) >= _APART for other in chosen):
            chosen.append(place)
    return chosen


def _labels(scale: float, height: int) -> Iterable[str]:
    zero = _x(0.0, scale)
    yield text(zero - 10, 15, "← better", colour="muted", anchor="end")
    yield text(zero + 10, 15, "worse →", colour="muted")
    for place in _ticks(scale):
        yield text(_x(place, scale), height - 7, percent(place), colour="muted", size=11, anchor="middle")


def _ground(margin: float, scale: float, y: float) -> Iterable[str]:
    """The margin's band and the grid behind one bar."""
    left, right = _x(-margin, scale), _x(margin, scale)
    yield f'<rect x="{left:.1f}" y="{y - 9}" width="{right - left:.1f}" height="18" {fill("zone")}/>'
    for place in _ticks(scale):
        yield line(_x(place, scale), y - 9, _x(place, scale), y + 9, "grid" if place else "muted")


def _draw(row: Row, top: int, scale: float) -> Iterable[str]:
    yield text(_SIDE, top + 14, short(row.name, 34), size=13)
    yield text(WIDTH - _SIDE, top + 14, row.words, size=12, colour=row.colour, anchor="end")
    if row.mean is None:
        yield text(_SIDE, top + 50, "no replicate yet", colour="muted")
        return
    y = top + _BAR
    if row.interval is not None:
        left, right = _x(row.interval.lower, scale), _x(row.interval.upper, scale)
        yield line(left, y, right, y, row.colour, 3)
        yield from (line(x, y - 5, x, y + 5, row.colour, 2) for x in (left, right))
    x = _x(row.mean, scale)
    if row.is_pooled:
        yield f'<path d="M{x - 8:.1f} {y} L{x:.1f} {y - 8} L{x + 8:.1f} {y} L{x:.1f} {y + 8} Z" {fill(row.colour)}/>'
    else:
        yield f'<circle cx="{x:.1f}" cy="{y}" r="5" {fill(row.colour)}/>'
    yield text(_SIDE, top + 52, _size(row), colour="muted", size=11)


def _size(row: Row) -> str:
    if row.mean is None:
        return "no replicate yet"
    if row.interval is None:
        return f"{percent(row.mean)}, no interval"
    return f"{percent(row.mean)} (95 %: {percent_range(row.interval)})"
