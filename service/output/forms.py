"""A report in each of its forms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from service.output.charts import difference_svg, expected_best_svg
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


def render(report: Mapping[str, Any], form: str, figure: str = "effects") -> str:
    """The text of a file.

    Args:
        report: A report's JSON.
        form: A key of `MEDIA_TYPES`.
        figure: Which picture, for svg: one of `FIGURES`.

    Raises:
        ValueError: An unknown form or figure, or a figure that the report has no data for.
    """
    makers: dict[str, Callable[[], str]] = {
        "json": lambda: json_lines(report),
        "md": lambda: markdown(report),
        "html": lambda: page(report),
        "csv": lambda: confirm_csv(report),
        "svg": lambda: _picture(report, figure),
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


def _picture(report: Mapping[str, Any], figure: str) -> str:
    surfaces, pairs = report["estimates"]["surface"]["arms"], report["estimates"]["difference"]["pairs"]
    makers: dict[str, Callable[[], str | None]] = {
        "effects": lambda: (
            forest_svg(rows_of(report), report["margin"], is_file=True) if report["comparisons"] else None
        ),
        "expected-best": lambda: expected_best_svg(report, is_file=True),
        "difference": lambda: difference_svg(report, pairs[0], is_file=True) if pairs else None,
        "surface": lambda: surface_svg(surfaces[0], is_file=True) if surfaces else None,
    }
    if figure not in makers:
        raise ValueError(f"a report has the figures {', '.join(FIGURES)}, not '{figure}'")
    found = makers[figure]()
    if found is None:
        raise ValueError(f"this report has nothing to draw as '{figure}'")
    return found
