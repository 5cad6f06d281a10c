"""One look per arm, everywhere: colour by family, dash and marker by variant within the family."""

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
_DASHES = ("solid", "dashed", "dotted")
_MARKERS = ("circle", "rect", "triangle", "diamond", "pin", "arrow")


@dataclass(frozen=True)
class SeriesStyle:
    """How an arm looks in every chart and table.

    Attributes:
        css: Class name suffix for the pages' own style sheet, such as "sgdp-1".
        dash: "solid", "dashed" or "dotted".
        marker: ECharts' symbol.
    """

    colour: str
    dash: str
    marker: str
    css: str


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
        colour = FAMILY_COLOURS[family] if family != "other" else _OTHERS[place % len(_OTHERS)]
        variant = place // len(_OTHERS) if family == "other" else place
        dash, marker = _DASHES[variant % len(_DASHES)], _MARKERS[place % len(_MARKERS)]
        styles[name] = SeriesStyle(colour, dash, marker, f"{family}-{place % 6}")
    return styles


def series_style(arms: Sequence[Any], name: str) -> SeriesStyle:
    """The style of one arm of a study, for templates; `arms` have `name` and `optimizer`."""
    return arm_styles([(arm.name, arm.optimizer) for arm in arms])[name]
