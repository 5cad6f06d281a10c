"""Plain log lines on standard error, and the last of them for a trial's record."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections import deque
from typing import TextIO

TAIL_LINES = 50
_LONGEST_LINE = 2000


class Tail:
    """The last lines of a text that arrives in pieces. Thread-safe."""

    def __init__(self, n_lines: int = TAIL_LINES) -> None:
        self._lines: deque[str] = deque(maxlen=n_lines)
        self._rest = ""
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Take the next piece."""
        with self._lock:
            *lines, rest = (self._rest + text).split("\n")
            self._lines.extend(line[:_LONGEST_LINE] for line in lines)
            self._rest = rest[-_LONGEST_LINE:]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._lines.clear()
            self._rest = ""

    def text(self) -> str | None:
        """The last lines, or None where there are none."""
        with self._lock:
            lines = [*self._lines, self._rest] if self._rest else list(self._lines)
        return "\n".join(lines) or None


class TailedStream(io.TextIOBase):
    """A text stream that passes on at once what is written to it, and adds it to a tail."""

    def __init__(self, stream: TextIO, tail: Tail) -> None:
        self._stream = stream
        self._tail = tail

    def write(self, text: str) -> int:
        """Write `text`; returns its length."""
        self._tail.add(text)
        self._stream.write(text)
        self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def fileno(self) -> int:
        """That of the stream below."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """True."""
        return True


class _OneLine(logging.Formatter):
    """Celery ends some of its messages with empty lines."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).rstrip()


def configure_logging(level: str, who: str) -> None:
    """Log to standard error as it is now: time, level, who, message.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        who: Such as "worker 1a2b3c4d" or "worker 1a2b3c4d slot 0".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)s {who}: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    if root.level > logging.DEBUG:
        for chatty in ("celery", "kombu", "alembic"):
            logging.getLogger(chatty).setLevel(max(root.level, logging.WARNING))


def storable(text: str | None, longest: int = 20_000) -> str | None:
    """A text as Postgres can keep it: without NUL and lone surrogates, the end of it where it is too long."""
    if text is None:
        return None
    return text[-longest:].replace("\x00", "").encode("utf-8", "replace").decode()
