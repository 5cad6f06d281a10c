"""Line charts as SVG text: panels with axes, curves and a legend."""

import math
from dataclasses import dataclass, field
from html import escape

COLOURS = ["#777777", "#c8501e", "#2b6cb0", "#1b7f4d"]
_LEFT, _TOP, _RIGHT, _BOTTOM = 52.0, 26.0, 18.0, 40.0


@dataclass(frozen=True)
class Curve:
    """A polyline in the data's units; `is_thin` draws it as a guide."""

    label: str
    colour: str
    points: list[tuple[float, float]]
    is_thin: bool = False


@dataclass(frozen=True)
class Mark:
    """A point in the data's units, perhaps labelled."""

    label: str
    x: float
    y: float
    colour: str = "#222222"


@dataclass(frozen=True)
class Panel:
    """One chart. Ranges are (low, high); a logarithmic axis needs them positive."""

    title: str
    x_label: str
    y_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    curves: list[Curve]
    is_log_y: bool = False
    marks: list[Mark] = field(default_factory=list)


def draw(panels: list[list[Panel]], legend: list[tuple[str, str]], *, width: float = 300, height: float = 240) -> str:
    """Rows of panels of equal size, with the legend (label, colour) on top."""
    n_columns = max(len(row) for row in panels)
    total = (n_columns * width, len(panels) * height + 30)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]:g} {total[1]:g}" width="{total[0]:g}" '
        f'height="{total[1]:g}" font-family="system-ui, sans-serif" font-size="11" fill="#222222">',
        f'<rect width="{total[0]:g}" height="{total[1]:g}" fill="#ffffff"/>',
        _legend(legend),
    ]
    for i, row in enumerate(panels):
        for j, panel in enumerate(row):
            parts.append(
                f'<g transform="translate({j * width:g} {i * height + 30:g})">{_panel(panel, width, height)}</g>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(entries: list[tuple[str, str]]) -> str:
    parts, x = [], _LEFT
    for label, colour in entries:
        parts.append(f'<path d="M{x:g} 16h22" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x + 28:g}" y="20">{escape(label)}</text>')
        x += 50 + 6.5 * len(label)
    return "".join(parts)


class _Scale:
    """From the data's units to the panel's."""

    def __init__(self, panel: Panel, width: float, height: float) -> None:
        self.panel = panel
        self.right, self.bottom = width - _RIGHT, height - _BOTTOM

    def x(self, value: float) -> float:
        low, high = self.panel.x_range
        return _LEFT + (value - low) / (high - low) * (self.right - _LEFT)

    def y(self, value: float) -> float:
        low, high = self.panel.y_range
        if self.panel.is_log_y:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low / 10))
        return self.bottom - (value - low) / (high - low) * (self.bottom - _TOP)


def _panel(panel: Panel, width: float, height: float) -> str:
    scale = _Scale(panel, width, height)
    clip = "clip-" + "".join(c for c in panel.title if c.isalnum())
    frame = f'x="{_LEFT:g}" y="{_TOP:g}" width="{scale.right - _LEFT:g}" height="{scale.bottom - _TOP:g}"'
    middle = (_LEFT + scale.right) / 2
    return "\n".join(
        [
            f'<clipPath id="{clip}"><rect {frame}/></clipPath>',
            f'<text x="{middle:g}" y="{_TOP - 8:g}" text-anchor="middle" font-weight="600">'
            f"{escape(panel.title)}</text>",
            _axes(panel, scale),
            f'<rect {frame} fill="none" stroke="#999999"/>',
            f'<g clip-path="url(#{clip})">{"".join(_curve(curve, scale) for curve in panel.curves)}</g>',
            "".join(_mark(mark, scale) for mark in panel.marks),
            f'<text x="{middle:g}" y="{height - 8:g}" text-anchor="middle">{escape(panel.x_label)}</text>',
            f'<text transform="translate(12 {(_TOP + scale.bottom) / 2:g}) rotate(-90)" '
            f'text-anchor="middle">{escape(panel.y_label)}</text>',
        ]
    )


def _axes(panel: Panel, scale: _Scale) -> str:
    parts = []
    for value in ticks(*panel.x_range):
        x = scale.x(value)
        parts.append(f'<path d="M{x:.1f} {_TOP:g}V{scale.bottom:g}" stroke="#e6e6e6"/>')
        parts.append(f'<text x="{x:.1f}" y="{scale.bottom + 14:g}" text-anchor="middle">{value:g}</text>')
    for value in log_ticks(*panel.y_range) if panel.is_log_y else ticks(*panel.y_range):
        y = scale.y(value)
        parts.append(f'<path d="M{_LEFT:g} {y:.1f}H{scale.right:g}" stroke="#e6e6e6"/>')
        parts.append(f'<text x="{_LEFT - 5:g}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return "".join(parts)


def ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers within the range."""
    rough = (high - low) / 6
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within the range; with 2 and 5 between them where it spans less than three."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    return [k * 10.0**e for e in exponents for k in factors if low * 0.999 <= k * 10.0**e <= high * 1.001]


def _curve(curve: Curve, scale: _Scale) -> str:
    points = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in curve.points)
    style = 'stroke-width="1" stroke-dasharray="3 3"' if curve.is_thin else 'stroke-width="2" stroke-linejoin="round"'
    return f'<polyline points="{points}" fill="none" stroke="{curve.colour}" {style}/>'


def _mark(mark: Mark, scale: _Scale) -> str:
    x, y = scale.x(mark.x), scale.y(mark.y)
    is_right = x > (_LEFT + scale.right) / 2
    anchor, shift = ("end", -7) if is_right else ("start", 7)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{mark.colour}"/>'
        f'<text x="{x + shift:.1f}" y="{y - 6:.1f}" text-anchor="{anchor}">{escape(mark.label)}</text>'
    )
