"""A child that answers a JSON line with a JSON line; it may die, hang, and print whatever it wants."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

_CHUNK_BYTES = 1 << 20
_LOG_TAIL_BYTES = 4000


class DiedError(Exception):
    """The child has ended; the text says how."""


class SilentError(Exception):
    """The child did not answer in time; it has been killed."""


class LineProcess:
    """One child in a session of its own, with a log that takes its standard error."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            OSError: There is no such program.
        """
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 — closed in close()
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=dict(environment),
                start_new_session=True,
                cwd=tempfile.gettempdir(),  # it must not import from the folder in which we stand
            )
        except OSError:
            self._log.close()
            raise
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both were asked for")
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        self._received = bytearray()

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a request and wait for the reply with its "id".

        Raises:
            DiedError, SilentError: As said there.
        """
        deadline = time.monotonic() + timeout_s
        waiting = memoryview((json.dumps(request) + "\n").encode())
        with selectors.DefaultSelector() as selector:
            selector.register(self._from, selectors.EVENT_READ)
            selector.register(self._to, selectors.EVENT_WRITE)
            while True:
                left_s = deadline - time.monotonic()
                ready = {key.fd for key, _ in selector.select(left_s)} if left_s > 0 else set()
                if left_s <= 0:
                    self.close()
                    raise SilentError
                if self._to in ready:
                    waiting = self._send(waiting)
                    if not waiting:
                        selector.unregister(self._to)
                if self._from in ready:
                    for reply in self._receive():
                        if reply["id"] == request["id"]:
                            return reply

    def log_tail(self) -> str:
        """The end of what it has written to standard error."""
        if self._log.closed:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_TAIL_BYTES))
        return self._log.read().decode(errors="replace").strip()

    def close(self) -> None:
        """End it and its children, at once; again is harmless."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _send(self, waiting: memoryview) -> memoryview:
        try:
            return waiting[os.write(self._to, waiting[:_CHUNK_BYTES]) :]
        except BrokenPipeError:
            return waiting[len(waiting) :]  # it has died; reading says so

    def _receive(self) -> list[dict[str, Any]]:
        chunk = os.read(self._from, _CHUNK_BYTES)
        if not chunk:
            raise DiedError(self._end())
        self._received += chunk
        if b"\n" not in chunk:
            return []
        *lines, rest = bytes(self._received).split(b"\n")
        self._received = bytearray(rest)
        return [json.loads(line) for line in lines]

    def _end(self) -> str:
        code = self._process.wait()
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
