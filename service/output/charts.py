"""Charts against the search budget: the expected best of every arm, and the difference of two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.domain.wording import percent
from service.output.marks import Frame, dash, fill, line, padded, picture, series, short, stroke, text, ticks

WIDTH, HEIGHT = 440, 300
_LEFT, _RIGHT, _BOTTOM = 52, 12, 40
_LEGEND_ROW = 18
_MANY = 40
AXES = {"trials": "trials of one search", "steps": "training steps of one search", "device_s": "seconds of one slot"}


def expected_best_svg(report: Mapping[str, Any], axis: str = "trials", *, is_file: bool = False) -> str | None:
    """Expected best validation endpoint of every arm against its budget, with bands.

    Args:
        report: A report's JSON.
        axis: "trials", "steps" or "device_s".
        is_file: True for a file of its own.

    Returns:
        None where no arm has a curve on that axis.
    """
    order = [arm["name"] for arm in report["arms"]]
    curves = [row for row in report["estimates"]["expected_best"]["arms"] if row["trials"] and row[axis]]
    if not curves:
        return None
    names = [row["arm"] for row in curves]
    values = [v for row in curves for key in ("value", "lower", "upper") for v in row[key] or ()]
    top = 14 + _LEGEND_ROW * math.ceil(len(names) / 3)
    longest = max(row[axis][-1] for row in curves)
    frame = Frame(
        *(_LEFT, top, WIDTH - _RIGHT, HEIGHT - _BOTTOM),
        x_range=(min(row[axis][0] for row in curves), longest),
        y_range=padded(values, is_log=True),
        is_x_log=longest / curves[0][axis][0] > _MANY,
        is_y_log=True,
    )
    metric = str(report["metric"]).removeprefix("test ")
    parts = [*_axes(frame, AXES[axis]), text(6, 12, f"validation {metric}", colour="muted", size=11)]
    parts += [_band(frame, row, axis, order.index(row["arm"])) for row in curves if row["lower"]]
    parts += [_line(frame, row[axis], row["value"], order.index(row["arm"])) for row in curves]
    parts += _legend([(order.index(name), name) for name in names])
    said = "; ".join(f"{row['arm']} {row['value'][0]:.3g} to {row['value'][-1]:.3g}" for row in curves)
    return picture(WIDTH, HEIGHT, parts, f"Expected best validation endpoint by budget: {said}", is_file=is_file)


def difference_svg(
    report: Mapping[str, Any], pair: Mapping[str, Any], axis: str = "trials", *, is_file: bool = False
) -> str | None:
    """Difference of two arms against the budget.

    Args:
        report: A report's JSON.
        pair: One of its rows of `difference`.
        axis: "trials", "steps" or "device_s": what both arms spend alike.
        is_file: True for a file of its own.

    Returns:
        None where no replicate is complete in both, or the costs are not known.
    """
    curve = pair if axis == "trials" else pair.get(f"by_{axis}")
    at = curve["trials" if axis == "trials" else "at"] if curve else None
    if not curve or not at:
        return None
    values = [v for key in ("log_ratio", "lower", "upper") for v in curve[key] or ()] + [0.0]
    frame = Frame(
        *(_LEFT, 44, WIDTH - _RIGHT, HEIGHT - _BOTTOM),
        x_range=(at[0], at[-1]),
        y_range=padded(values, is_log=False),
        is_x_log=at[-1] / at[0] > _MANY,
    )
    index = [arm["name"] for arm in report["arms"]].index(pair["challenger"])
    title = f"{pair['challenger']} against {pair['baseline']}"
    parts = [*_axes(frame, AXES[axis], as_percent=True), text(6, 14, title, size=13)]
    parts.append(text(6, 29, "below 0: the challenger's search is ahead", colour="muted", size=11))
    parts.append(line(frame.left, frame.y(0), frame.right, frame.y(0), "muted", 1.5))
    drawn = {**curve, axis: at}
    if drawn["lower"]:
        parts.append(_band(frame, drawn, axis, index))
    parts.append(_line(frame, at, drawn["log_ratio"], index))
    ends = [f"{percent(drawn['log_ratio'][i])} at {at[i]:.3g}" for i in (0, -1)]
    said = f"{title}, against {AXES[axis]}: {' to '.join(ends)}"
    return picture(WIDTH, HEIGHT, parts, said, is_file=is_file)


def _axes(frame: Frame, label: str, *, as_percent: bool = False) -> Iterable[str]:
    heights = _percent_ticks(frame.y_range) if as_percent else ticks(*frame.y_range, is_log=frame.is_y_log)
    for value in heights:
        y = frame.y(value)
        shown = percent(value) if as_percent else f"{value:.3g}"
        yield line(frame.left, y, frame.right, y, "grid")
        yield text(frame.left - 6, y + 4, shown, colour="muted", size=11, anchor="end")
    for value in ticks(*frame.x_range, is_log=frame.is_x_log):
        if float(value).is_integer() or label == AXES["device_s"]:
            yield line(frame.x(value), frame.bottom, frame.x(value), frame.bottom + 4, "muted")
            yield text(frame.x(value), frame.bottom + 16, f"{value:,.10g}", colour="muted", size=11, anchor="middle")
    yield line(frame.left, frame.bottom, frame.right, frame.bottom, "muted")
    yield text((frame.left + frame.right) / 2, HEIGHT - 6, label, colour="muted", size=11, anchor="middle")


def _percent_ticks(ends: tuple[float, float]) -> list[float]:
    """Log ratios of round relative changes."""
    low, high = (math.expm1(min(end, 6.0)) for end in ends)
    return [math.log1p(change) for change in ticks(low, high, is_log=False) if change > -1]


def _line(frame: Frame, xs: Sequence[float], ys: Sequence[float], index: int) -> str:
    style = f'{stroke(series(index))} stroke-width="2.5" stroke-linejoin="round"{dash(index)}'
    if len(xs) == 1:
        return f'<circle cx="{frame.x(xs[0]):.1f}" cy="{frame.y(ys[0]):.1f}" r="4" {fill(series(index))}/>'
    return f'<polyline points="{frame.curve(xs, ys)}" {style}/>'


def _band(frame: Frame, row: Mapping[str, Any], axis: str, index: int) -> str:
    there = frame.curve(row[axis], row["upper"])
    back = frame.curve(row[axis][::-1], row["lower"][::-1])
    return f'<polygon points="{there} {back}" {fill(series(index))} opacity="0.15"/>'


def _legend(names: Sequence[tuple[int, str]]) -> Iterable[str]:
    width = (WIDTH - 96) / 3
    for place, (index, name) in enumerate(names):
        x, y = 96 + width * (place % 3), 12 + _LEGEND_ROW * (place // 3)
        ends = f'x1="{x:.1f}" y1="{y - 4}" x2="{x + 22:.1f}" y2="{y - 4}"'
        yield f'<line {ends} {stroke(series(index))} stroke-width="2.5"{dash(index)}/>'
        yield text(x + 27, y, short(name, 13), size=12)
