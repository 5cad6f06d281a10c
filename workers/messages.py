"""What a worker and its slot processes say to each other: JSON, one message per line, over a socket pair."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Do(StrEnum):
    """What the worker tells a slot."""

    SET_UP = "set_up"
    WORK = "work"
    STOP = "stop"


class Say(StrEnum):
    """What a slot tells its worker."""

    READY = "ready"
    CLAIMED = "claimed"
    RELEASED = "released"
    IDLE = "idle"


@dataclass(frozen=True)
class SlotSetup:
    """What a slot must know beside the settings; the first message that it receives.

    Attributes:
        worker_id: The worker's id in the ledger.
        slot: Number of the slot within the worker, from 0.
        devices: Device classes, the most special last: ("cpu",) or ("cuda", "cuda:H200").
        workloads: Names that the slot may claim; `optimizers` likewise.
        code_revision: The revision that the worker registered.
    """

    worker_id: str
    slot: int
    queue: str
    devices: tuple[str, ...]
    workloads: tuple[str, ...]
    optimizers: tuple[str, ...]
    environment_id: str
    code_revision: str

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> SlotSetup:
        """Read what `vars` of another one became on its way."""
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in message.items()
        }
        return cls(**fields)


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
