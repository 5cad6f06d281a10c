"""Numbers as tables show them."""

from __future__ import annotations

NONE = "–"


def number(value: float | None) -> str:
    """4 significant digits, or a dash."""
    return NONE if value is None else f"{value:.4g}"


def share(value: float | None) -> str:
    """A share in %, or a dash."""
    return NONE if value is None else f"{100 * value:.3g} %"


def seconds(value: float | None) -> str:
    """A duration, or a dash."""
    if value is None:
        return NONE
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"
