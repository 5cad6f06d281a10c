"""One thing wrong with a study file, and sentences for names that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a study file.

    Attributes:
        field: Path in the file, such as "arms[1].search.lr".
        message: The rule, the value and the way out.
    """

    field: str
    message: str


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for an unknown name: names the known ones and the nearest."""
    known = sorted(known)
    return f"unknown {what} '{name}'; known: {', '.join(known) or 'none'}{did_you_mean(name, known)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, or ""."""
    lower = {entry.lower(): entry for entry in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[near[0]]}?" if near else ""
