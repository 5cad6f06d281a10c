"""The surface of the validation endpoint over delta and wd_ratio."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from service.output.marks import fill, picture, text

WIDTH, HEIGHT = 440, 330
_LEFT, _TOP, _CELL_X, _CELL_Y = 62, 30, 92, 60
_LEAST, _MOST = 0.06, 0.62


def surface_svg(surface: Mapping[str, Any], *, is_file: bool = False) -> str:
    """Fields of delta (to the right) and wd_ratio (upwards): median endpoint and number of trials; darker is better.

    Args:
        surface: One arm's entry of the report's `estimates.surface`.
        is_file: True for a file of its own.
    """
    known = [math.log(cell["value"]) for cell in surface["cells"] if cell["value"] is not None]
    ends = (min(known), max(known)) if known else (0.0, 0.0)
    rows = len(surface["wd_ratio"]) - 1
    parts = [text(6, 16, f"{surface['arm']}: median validation endpoint (number of trials)", size=13)]
    for cell in surface["cells"]:
        parts.extend(_field(cell, ends, rows))
    parts.extend(_edges(surface, rows))
    said = f"Validation endpoint of {surface['arm']} over delta and wd_ratio"
    return picture(WIDTH, HEIGHT, parts, said, is_file=is_file)


def _field(cell: Mapping[str, Any], ends: tuple[float, float], rows: int) -> Iterable[str]:
    x, y = _LEFT + _CELL_X * cell["column"], _TOP + _CELL_Y * (rows - 1 - cell["row"])
    box = f'x="{x}" y="{y}" width="{_CELL_X - 3}" height="{_CELL_Y - 3}" rx="4"'
    center = x + _CELL_X / 2 - 1.5
    if cell["value"] is None:
        yield f"<rect {box} {fill('zone')}/>"
        yield text(center, y + 34, "no trial", colour="muted", size=11, anchor="middle")
        return
    low, high = ends
    badness = (math.log(cell["value"]) - low) / (high - low) if high > low else 0.0
    yield f"<rect {box} {fill('zone')}/>"
    yield f'<rect {box} {fill("s0")} opacity="{_MOST - (_MOST - _LEAST) * badness:.2f}"/>'
    yield text(center, y + 27, f"{cell['value']:.3g}", size=13, anchor="middle")
    warning = ", few" if cell["is_thin"] else ""
    yield text(center, y + 44, f"n = {cell['n']}{warning}", size=11, anchor="middle")


def _edges(surface: Mapping[str, Any], rows: int) -> Iterable[str]:
    bottom = _TOP + _CELL_Y * rows
    for i, edge in enumerate(surface["delta"]):
        yield text(_LEFT + _CELL_X * i - 1.5, bottom + 14, f"{edge:.2g}", colour="muted", size=11, anchor="middle")
    for i, edge in enumerate(surface["wd_ratio"]):
        yield text(_LEFT - 8, bottom - _CELL_Y * i + 4, f"{edge:.2g}", colour="muted", size=11, anchor="end")
    yield text(_LEFT + 2 * _CELL_X, bottom + 32, "delta →", colour="muted", anchor="middle")
    yield text(6, bottom + 32, "wd_ratio ↑", colour="muted")
