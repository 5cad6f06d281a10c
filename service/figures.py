"""Pictures of reports as standalone SVG: no script, no font files, legible on light and dark pages.

`python -m service.figures REPORT.json [REPORT.json ...] -o strip.svg` draws the reports' comparisons on one axis.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from service.render import percent, strip_scale

_WIDTH, _ROW, _TOP, _LEFT, _RIGHT = 860, 46, 58, 220, 250
_COLOURS = {"better": "#009e73", "worse": "#d55e00"}  # Okabe and Ito; else grey
_UNDECIDED = "#7a7a7a"
_TICKS = (-0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)


def interval_strip_svg(reports: Sequence[Mapping[str, Any]]) -> str:
    """The comparisons of some reports: effect and 95 % interval on a log axis, margin band, words of the verdict.

    Args:
        reports: Reports as the API gives them; a row for each comparison.
    """
    rows = [(report, comparison) for report in reports for comparison in report["comparisons"]]
    scale = strip_scale(reports)
    height = _TOP + _ROW * len(rows) + 30
    margin = reports[0]["margin"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="14" role="img" aria-label="{escape(_description(rows))}">',
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#fcfcfc"/>',
        _band(margin, scale, height),
        *_axis(scale, height),
        *(_row(i, report, comparison, scale) for i, (report, comparison) in enumerate(rows)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(value: float, scale: float) -> float:
    width = _WIDTH - _LEFT - _RIGHT
    return _LEFT + width * (min(max(value, -scale), scale) + scale) / (2 * scale)


def _band(margin: float, scale: float, height: int) -> str:
    left, right = _x(-margin, scale), _x(margin, scale)
    box = f'width="{right - left:.1f}" height="{height - _TOP - 12}"'
    return f'<rect x="{left:.1f}" y="{_TOP - 14}" {box} fill="#e4e4e4"/>'


def _axis(scale: float, height: int) -> Iterable[str]:
    yield f'<text x="{_x(0, scale) - 14:.1f}" y="22" text-anchor="end" fill="#333">← better</text>'
    yield f'<text x="{_x(0, scale) + 14:.1f}" y="22" fill="#333">worse →</text>'
    for tick in _TICKS:
        position = math.log1p(tick)
        if abs(position) > scale:
            continue
        x, colour = _x(position, scale), "#333" if tick == 0 else "#cfcfcf"
        yield f'<line x1="{x:.1f}" y1="{_TOP - 14}" x2="{x:.1f}" y2="{height - 26}" stroke="{colour}"/>'
        label = "0" if tick == 0 else percent(tick)
        yield f'<text x="{x:.1f}" y="{height - 9}" text-anchor="middle" font-size="11" fill="#555">{label}</text>'


def _row(index: int, report: Mapping[str, Any], comparison: Mapping[str, Any], scale: float) -> str:
    y = _TOP + _ROW * index + _ROW / 2 - 8
    effect, verdict = comparison["effect"], comparison["verdict"]
    colour = _COLOURS.get(verdict["kind"].split("_")[0], _UNDECIDED)
    name = f"{comparison['challenger']} against {comparison['baseline']}"
    parts = [
        f'<text x="14" y="{y - 3:.1f}" fill="#111">{escape(name)}</text>',
        f'<text x="14" y="{y + 13:.1f}" font-size="12" fill="#555">{escape(report["workload"])}</text>',
        f'<text x="{_WIDTH - _RIGHT + 16}" y="{y - 3:.1f}" fill="{colour}" font-weight="600">'
        f"{escape(verdict['words'].split(':')[0])}</text>",
    ]
    interval = effect["interval_95"]
    if interval is None or effect["mean"] is None:
        return "".join(parts)
    left, right = _x(interval["lower"], scale), _x(interval["upper"], scale)
    relative = effect["relative_interval_95"]
    size = f"{percent(effect['relative_change'])} ({percent(relative['lower'])} to {percent(relative['upper'])})"
    parts += [
        f'<text x="{_WIDTH - _RIGHT + 16}" y="{y + 13:.1f}" font-size="12" fill="#555">{size}</text>',
        f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="4"/>',
        *(
            f'<line x1="{x:.1f}" y1="{y - 8:.1f}" x2="{x:.1f}" y2="{y + 8:.1f}" stroke="{colour}" stroke-width="2"/>'
            for x in (left, right)
        ),
        f'<circle cx="{_x(effect["mean"], scale):.1f}" cy="{y:.1f}" r="7" fill="{colour}"/>',
    ]
    return "".join(parts)


def _description(rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    sentences = [f"{report['workload']}: {comparison['verdict']['sentence']}" for report, comparison in rows]
    return " ".join(sentences)


def main() -> None:
    """Draw report files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    reports = [json.loads(path.read_text()) for path in arguments.reports]
    arguments.output.write_text(interval_strip_svg(reports), encoding="utf-8")


if __name__ == "__main__":
    main()
