"""The one line of a crash's or an exception's log that a person looks for first."""

from __future__ import annotations

import re

_FRAME = re.compile(r'^\s*File "(?P<file>.+)", line (?P<line>\d+),? in (?P<name>\S+)', re.MULTILINE)
_LATEST_FIRST = "most recent call first"


def place_of(log: str, role: str) -> str:
    """A sentence on where a side was; "" where the log does not say.

    Args:
        log: Python's traceback, or what its fault handler wrote.
        role: Name of the side's checkout; its own innermost line comes before those of what it calls.
    """
    frames = list(_FRAME.finditer(log))
    if not frames:
        return ""
    if _LATEST_FIRST not in log:
        frames.reverse()
    own = f"/{role}/"
    frame = next((frame for frame in frames if own in frame["file"]), frames[0])
    return f"It was in {frame['name']}, line {frame['line']} of {frame['file'].rpartition(own)[2]}."
