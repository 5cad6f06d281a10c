"""A report in each of its forms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.output.charts import AXES, difference_svg, expected_best_svg
from service.output.forest import forest_svg, rows_of
from service.output.heat import surface_svg
from service.output.markdown import markdown
from service.output.page import page
from service.output.table_file import confirm_csv

MEDIA_TYPES = {
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "svg": "image/svg+xml",
}
FIGURES = ("effects", "expected-best", "difference", "surface")


def render(
    report: Mapping[str, Any], form: str, figure: str = "effects", *, axis: str = "trials", arm: str | None = None
) -> str:
    """The text of a file.

    Args:
        report: A report's JSON.
        form: A key of `MEDIA_TYPES`.
        figure: Which picture, for svg: one of `FIGURES`.
        axis: What the expected best and the difference are drawn against: a key of `charts.AXES`.
        arm: Of the difference the challenger, of the surface the arm; None takes the first.

    Raises:
        ValueError: An unknown form, figure or axis, or a figure that the report has no data for.
    """
    makers: dict[str, Callable[[], str]] = {
        "json": lambda: json_lines(report),
        "md": lambda: markdown(report),
        "html": lambda: page(report),
        "csv": lambda: confirm_csv(report),
        "svg": lambda: _picture(report, figure, axis, arm),
    }
    if form not in makers:
        raise ValueError(f"a report has the forms {', '.join(makers)}, not '{form}'")
    if "options" not in report and form != "json":
        raise ValueError("this report comes from an earlier version of the service; only its JSON can be written")
    return makers[form]()


def json_lines(report: Mapping[str, Any]) -> str:
    """JSON with a line for each key, and for each entry of a list: small, and still legible in a diff."""
    entries = [f"{json.dumps(key)}: {_value(value)}" for key, value in report.items()]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(json.dumps(entry, allow_nan=False) for entry in value) + "\n]"
    return json.dumps(value, allow_nan=False)


def _picture(report: Mapping[str, Any], figure: str, axis: str, arm: str | None) -> str:
    surfaces, pairs = report["estimates"]["surface"]["arms"], report["estimates"]["difference"]["pairs"]
    makers: dict[str, Callable[[], str | None]] = {
        "effects": lambda: (
            forest_svg(rows_of(report), report["margin"], is_file=True) if report["comparisons"] else None
        ),
        "expected-best": lambda: expected_best_svg(report, axis, is_file=True),
        "difference": lambda: _first(
            pairs, "challenger", arm, lambda pair: difference_svg(report, pair, axis, is_file=True)
        ),
        "surface": lambda: _first(surfaces, "arm", arm, lambda entry: surface_svg(entry, is_file=True)),
    }
    if figure not in makers:
        raise ValueError(f"a report has the figures {', '.join(FIGURES)}, not '{figure}'")
    if axis not in AXES:
        raise ValueError(f"a curve is drawn against {', '.join(AXES)}, not '{axis}'")
    found = makers[figure]()
    if found is None:
        of = f" of '{arm}'" if arm else ""
        raise ValueError(f"this report has nothing to draw as '{figure}'{of}")
    return found


def _first(
    entries: Iterable[Mapping[str, Any]], key: str, name: str | None, draw: Callable[[Mapping[str, Any]], str | None]
) -> str | None:
    """The picture of the first entry of that name, or of the first at all."""
    wanted = [entry for entry in entries if name in (None, entry[key])]
    return draw(wanted[0]) if wanted else None
