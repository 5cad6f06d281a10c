"""One look per arm, everywhere: colour and shape by family, dash and fill of the shape by variant within it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FAMILY_COLOURS: Mapping[str, str] = {
    "sgd": "#0072B2",
    "sgdp": "#D55E00",
    "adam": "#009E73",
    "adamp": "#CC79A7",
    "other": "#8A7300",
}
"""Okabe and Ito's, which people with any colour vision tell apart; each at least 3:1 on white and on #14161a."""
_OTHERS = ("#8A7300", "#56789A", "#B0554F", "#7A6FB0", "#5C8A5C")
_SHAPES: Mapping[str, str] = {"sgd": "circle", "sgdp": "rect", "adam": "triangle", "adamp": "diamond"}
_OTHER_SHAPES = ("pin", "arrow", "roundRect")
DASHES: tuple[str | tuple[int, ...], ...] = ("solid", "dashed", "dotted", (10, 3, 2, 3), (14, 4), (2, 6))
"""Of a family's variants in their order; lengths of line and gap where ECharts has no name."""
_OUTLINES: Mapping[str, str] = {
    "circle": "M11 6a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "rect": "M11.5 2.5h7v7h-7z",
    "triangle": "M15 1.5l4.5 8.5h-9z",
    "diamond": "M15 1l4.5 5l-4.5 5l-4.5 -5z",
    "pin": "M15 11l-4 -8h8z",
    "arrow": "M20 6l-9 -4.5v9z",
    "roundRect": "M12 4h6v4h-6z",
}


@dataclass(frozen=True)
class SeriesStyle:
    """How an arm looks in every chart and table.

    Attributes:
        css: Class name suffix for the pages' own style sheet: the family, such as "sgdp"; "other-2" for a third other.
        dash: ECharts' line type.
        marker: ECharts' symbol; "empty" before its name leaves it unfilled.
    """

    colour: str
    dash: str | tuple[int, ...]
    marker: str
    css: str

    @property
    def is_empty(self) -> bool:
        """True where the marker is an outline."""
        return self.marker.startswith("empty")

    @property
    def outline(self) -> str:
        """The marker as an SVG path in a box of 30 by 12."""
        name = self.marker.removeprefix("empty")
        return _OUTLINES[name[0].lower() + name[1:]]

    @property
    def dash_array(self) -> str:
        """The dash as SVG's `stroke-dasharray`; "" for a solid line."""
        lengths = {"solid": (), "dashed": (6, 4), "dotted": (2, 3)}
        return " ".join(map(str, lengths[self.dash] if isinstance(self.dash, str) else self.dash))


def family_of(optimizer: str) -> str:
    """The colour family of an optimizer's catalog name."""
    name = optimizer.rpartition(":")[2].lower()
    if name in ("sgdp", "adamp"):
        return name
    if name.startswith("sgd"):
        return "sgd"
    return "adam" if name.startswith(("adam", "nadam", "radam")) else "other"


def arm_styles(arms: Sequence[tuple[str, str]]) -> dict[str, SeriesStyle]:
    """A style for each arm, by name.

    Args:
        arms: (name, optimizer) in the order of the study file: the same file, the same looks.
    """
    seen: dict[str, int] = {}
    styles = {}
    for name, optimizer in arms:
        family = family_of(optimizer)
        place = seen.get(family, 0)
        seen[family] = place + 1
        styles[name] = _other(place) if family == "other" else _variant(family, place)
    return styles


def _variant(family: str, place: int) -> SeriesStyle:
    """Twelve looks: six dashes, each with a full and with an empty shape, neighbours differing in both."""
    n = len(DASHES)
    is_empty = (place + place // n) % 2 == 1
    marker = f"empty{_SHAPES[family][0].upper()}{_SHAPES[family][1:]}" if is_empty else _SHAPES[family]
    return SeriesStyle(FAMILY_COLOURS[family], DASHES[place % n], marker, family)


def _other(place: int) -> SeriesStyle:
    """Optimizers that belong to no family: a colour, a shape and a dash each."""
    colour, shape = place % len(_OTHERS), place % len(_OTHER_SHAPES)
    variant = place // len(_OTHERS) % len(DASHES)
    return SeriesStyle(_OTHERS[colour], DASHES[variant], _OTHER_SHAPES[shape], f"other-{colour}")


def series_style(arms: Sequence[Any], name: str) -> SeriesStyle:
    """The style of one arm of a study, for templates; `arms` have `name` and `optimizer`."""
    return arm_styles([(arm.name, arm.optimizer) for arm in arms])[name]
