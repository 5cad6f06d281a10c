"""Ctrl-C, SIGTERM and SIGHUP on the command line: the first one interrupts, later ones wait until all is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended."""
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = b"\n  stopping already; a few seconds more\n"


@dataclass
class _State:
    """What came so far.

    Attributes:
        number: The first signal, 0 before it.
        depth: How many `deferred` blocks are open.
        is_pending: The first signal came in such a block and has interrupted nothing yet.
    """

    number: int = 0
    depth: int = 0
    is_pending: bool = False


_state = _State()


def install() -> None:
    """Let the first signal raise KeyboardInterrupt in the main thread, and no later one."""
    for number in _NUMBERS:
        signal.signal(number, _handle)


def exit_code() -> int:
    """128 and the signal that interrupted, as a shell counts; that of Ctrl-C where none was seen here."""
    return 128 + _state.number if _state.number else INTERRUPTED


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Finish the block whatever comes; a signal that came meanwhile interrupts at its end."""
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        if _state.is_pending and _state.depth == 0:
            _state.is_pending = False
            raise KeyboardInterrupt


def _handle(number: int, _frame: object) -> None:
    if _state.number:
        with contextlib.suppress(OSError):
            os.write(2, _PATIENCE)
        return
    _state.number = number
    if _state.depth:
        _state.is_pending = True
    else:
        raise KeyboardInterrupt
