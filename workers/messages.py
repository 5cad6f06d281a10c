"""What a worker and its slot processes say to each other: JSON, one message per line, over a socket pair."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID


class Do(StrEnum):
    """What the worker tells a slot."""

    BEGIN = "begin"
    WORK = "work"
    LOOK = "look"
    STOP = "stop"


class Say(StrEnum):
    """What a slot tells its worker."""

    HELLO = "hello"
    READY = "ready"
    CLAIMED = "claimed"
    TRAINED = "trained"
    RELEASED = "released"
    IDLE = "idle"


@dataclass(frozen=True)
class SlotName:
    """Which slot it is; travels on its command line, where `ps` shows it.

    Attributes:
        queue: The Celery queue that the worker serves, "cpu" or "gpu".
        number: Counted from 0 within the worker.
    """

    worker_id: UUID
    queue: str
    number: int

    def to_arguments(self) -> list[str]:
        """As on a command line."""
        return [str(self.worker_id), self.queue, str(self.number)]

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> SlotName:
        """Read what `to_arguments` wrote."""
        worker_id, queue, number = arguments
        return cls(UUID(worker_id), queue, int(number))

    def __str__(self) -> str:
        return f"worker {self.worker_id.hex[:8]} slot {self.number}"


class Channel:
    """One end of the socket pair. Any thread may send; one thread receives."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self._received = b""

    def send(self, kind: Do | Say, **fields: Any) -> bool:
        """Send a message; False where the other end is gone."""
        line = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        try:
            with self._lock:
                self._link.sendall(line)
        except OSError:
            return False
        return True

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next message, or None where none came in time.

        Raises:
            EOFError: The other end is gone, and every message it sent was received.
        """
        while b"\n" not in self._received:
            if not self._poll.poll(None if timeout_s is None else max(timeout_s, 0.0) * 1000):
                return None
            self._received += self._read()
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _read(self) -> bytes:
        try:
            part = self._link.recv(65536)
        except ConnectionError:
            part = b""
        if not part:
            raise EOFError
        return part

    def close(self) -> None:
        """Close this end; the other one receives the end of the stream."""
        with self._lock:
            self._link.close()
