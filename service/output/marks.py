"""SVG by hand: colours for light and dark pages, axes, ticks. No script, no fonts, no request.

Every shape carries its light colour as an attribute, for programs that ignore style sheets, and a class, by which the
page's or the file's own style sheet sets the colour that fits a light or dark background.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "muted": "#5b6470",
    "grid": "#e2e5e9",
    "zone": "#e9ecf0",
    "better": "#00734d",
    "worse": "#b3480a",
    "open": "#5b6470",
    "s0": "#0b5cad",
    "s1": "#c2500a",
    "s2": "#00805c",
    "s3": "#9a3d8a",
    "s4": "#8a6a00",
    "s5": "#2878a8",
    "s6": "#555555",
    "s7": "#a02c2c",
}
DARK = {
    "paper": "#14171b",
    "ink": "#e8eaed",
    "muted": "#9aa4b0",
    "grid": "#2b3138",
    "zone": "#262b32",
    "better": "#3ecf97",
    "worse": "#ff9a5c",
    "open": "#a9b2bd",
    "s0": "#62b7f2",
    "s1": "#ff9a5c",
    "s2": "#3ecf97",
    "s3": "#e08fd0",
    "s4": "#e0c04a",
    "s5": "#9fd6ff",
    "s6": "#c4c4c4",
    "s7": "#ff8a8a",
}
N_SERIES = 8
DASHES = ("", "7 3", "2 3", "9 3 2 3")


def theme_css() -> str:
    """Colours as variables, dark ones where the reader's system is dark, and the classes that shapes carry."""
    light = "".join(f"--{name}:{value};" for name, value in LIGHT.items())
    dark = "".join(f"--{name}:{value};" for name, value in DARK.items())
    fills = "".join(f".f-{name}{{fill:var(--{name})}}.k-{name}{{stroke:var(--{name})}}" for name in LIGHT)
    return f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{fills}"


def fill(name: str) -> str:
    """Attributes that fill a shape with a named colour."""
    return f'class="f-{name}" fill="{LIGHT[name]}"'


def stroke(name: str) -> str:
    """Attributes that draw a shape's line in a named colour."""
    return f'class="k-{name}" stroke="{LIGHT[name]}" fill="none"'


def series(index: int) -> str:
    """Colour of the arm at this position."""
    return f"s{index % N_SERIES}"


def dash(index: int) -> str:
    """Line pattern of the arm at this position, so that colour alone tells nothing apart."""
    pattern = DASHES[index % len(DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def text(x: float, y: float, content: str, *, colour: str = "ink", size: int = 12, anchor: str = "start") -> str:
    """A line of text, escaped."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {place} {fill(colour)}>{escape(content)}</text>"


def short(name: str, most: int) -> str:
    """A name cut to the room that it has."""
    return name if len(name) <= most else name[: most - 1] + "…"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0) -> str:
    """A straight line."""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} {stroke(colour)} stroke-width="{width:g}"/>'


def picture(width: int, height: int, parts: Iterable[str], description: str, *, is_file: bool) -> str:
    """A whole picture.

    Args:
        width: Of the coordinate system; shown as wide as its place allows.
        height: Likewise.
        parts: Its shapes.
        description: What it shows, for those who do not see it.
        is_file: True for a file of its own, which brings its style sheet and its background; False inside a page.
    """
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
    size = f'width="{width}" height="{height}" ' if is_file else 'width="100%" '
    label = f'aria-label="{escape(description)}" font-family="system-ui, sans-serif">'
    own = f"<style>{theme_css()}</style><rect width='100%' height='100%' {fill('paper')}/>" if is_file else ""
    return "\n".join([head + size + label + own, *parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class Frame:
    """The drawing area of a chart and its two axes; a logarithmic axis has positive ends."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    is_x_log: bool = False
    is_y_log: bool = False

    def x(self, value: float) -> float:
        """Horizontal place of a value."""
        return self.left + (self.right - self.left) * _share(value, self.x_range, self.is_x_log)

    def y(self, value: float) -> float:
        """Vertical place of a value, upwards."""
        return self.bottom - (self.bottom - self.top) * _share(value, self.y_range, self.is_y_log)

    def curve(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Points of a polyline."""
        return " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in zip(xs, ys, strict=True))


def _share(value: float, ends: tuple[float, float], is_log: bool) -> float:
    low, high = ends
    if is_log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    share = (value - low) / (high - low) if high > low else 0.5
    return min(1.0, max(0.0, share))


def padded(values: Sequence[float], *, is_log: bool, share: float = 0.06) -> tuple[float, float]:
    """A range that holds all values with some room; never empty."""
    low, high = min(values), max(values)
    if is_log:
        room = max(0.02, share * math.log(high / low))
        return low * math.exp(-room), high * math.exp(room)
    room = max(1e-9, share * (high - low), 0.02 * max(abs(low), abs(high)))
    return low - room, high + room


def ticks(low: float, high: float, *, is_log: bool, most: int = 6) -> list[float]:
    """Round values inside a range."""
    if is_log and high / low > 3:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
            found = [s * 10.0**e for e in exponents for s in steps if low <= s * 10.0**e <= high]
            if len(found) <= most:
                return found
        return found[:: math.ceil(len(found) / most)]
    return _even_ticks(low, high, most)


def _even_ticks(low: float, high: float, most: int) -> list[float]:
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(s * power for s in (1, 2, 2.5, 5, 10, 20) if (high - low) / (s * power) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
