"""One side of a check as seen from here: starts the probe in the side's interpreter, asks it, and ends it."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from service.domain.checks import Side
from service.errors import TangentError
from workers.check.git import shown
from workers.check.probe.tensors import decode, encode
from workers.check.process import DiedError, LineProcess, SilentError

PROBE = Path(__file__).with_name("probe") / "main.py"


@dataclass(frozen=True)
class Request:
    """What a side was asked."""

    command: str
    arguments: Mapping[str, Any]
    timeout_s: float


class ProbeError(TangentError):
    """A side did not do what it was asked; one sentence.

    Attributes:
        role: "baseline" or "candidate".
        traceback: The side's own, or the end of its log; "" where there is none.
        request: What it was asked; None where it was only being started.
    """

    def __init__(self, role: str, sentence: str, traceback: str = "") -> None:
        super().__init__(sentence)
        self.role, self.traceback = role, traceback
        self.request: Request | None = None


class ProbeCrashedError(ProbeError):
    """The side's process died."""


class ProbeTimeoutError(ProbeError):
    """The side did not answer in time, and was killed."""


class ProbeRefusedError(ProbeError):
    """The side answered with an error and lives on.

    Attributes:
        kind: "import", "absent" (no such class), "construct", "command", or "failed" where the side's code raised.
    """

    def __init__(self, role: str, sentence: str, kind: str, traceback: str = "") -> None:
        super().__init__(role, sentence, traceback)
        self.kind = kind


class Probe:
    """A side's process; a context manager that ends it. For one thread.

    Attributes:
        side: What it is, with its versions once it is open.
        role: "baseline" or "candidate".
        description: What the probe's `describe` says; see there.
    """

    def __init__(
        self,
        side: Side,
        *,
        role: str,
        python: str,
        arguments: Mapping[str, Any],
        paths: Sequence[str] = (),
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        start_timeout_s: float = 120.0,
        call_timeout_s: float = math.inf,
    ) -> None:
        """Say what to start; `__enter__` starts it, imports the optimizer and makes one.

        Args:
            side: With `optimizer` as "package:Class".
            role: "baseline" or "candidate".
            python: Its interpreter.
            arguments: Constructor arguments besides the parameters.
            paths: Come first on its sys.path.
            threads: torch's.
            environment: Variables over this process's own.
            start_timeout_s: Longest import.
            call_timeout_s: Longest answer, whatever a call would allow.
        """
        self.side, self.role, self.description = side, role, dict[str, Any]()
        self._command = [python, str(PROBE)]
        self._opening = {"optimizer": side.optimizer, "arguments": arguments, "paths": list(paths), "threads": threads}
        n_threads = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self._environment = {**os.environ, **n_threads, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
        self._start_timeout_s, self._call_timeout_s = start_timeout_s, call_timeout_s
        self._numbers = itertools.count()
        self._process: LineProcess | None = None

    def __enter__(self) -> Self:
        if not self.description:
            self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Start it and ask what it is; it is closed again where that fails."""
        try:
            self.description = self.call("describe", timeout_s=self._start_timeout_s)
        except BaseException:
            self.close()
            raise
        versions = {key: str(self.description[key]) for key in ("python", "torch", "package_version", "cpu", "cuda")}
        known = {key: value for key, value in versions.items() if value}
        revision = self.side.revision or known.get("package_version", "")
        self.side = replace(self.side, revision=revision, versions={**known, **self.side.versions})

    def call(self, command: str, *, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """Have the side run one of the probe's commands.

        Args:
            command: A key of the probe's COMMANDS.
            timeout_s: It is killed if it has not answered by then. After that, and after a crash, the next call starts
                it anew.
            arguments: JSON, in which tensors may stand.

        Raises:
            ProbeCrashedError, ProbeTimeoutError, ProbeRefusedError: As said there.
        """
        if self._process is None:
            self._process = self._start()
            self._ask("open", self._start_timeout_s, self._opening)
        timeout_s = min(timeout_s, self._call_timeout_s)
        try:
            result: dict[str, Any] = decode(self._ask(command, timeout_s, arguments))
        except ProbeError as error:
            error.request = Request(command, arguments, timeout_s)
            raise
        return result

    def close(self) -> None:
        """End the process, at once and with its children."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _start(self) -> LineProcess:
        try:
            return LineProcess(self._command, self._environment)
        except OSError as error:
            raise ProbeCrashedError(
                self.role, f"{self._name}: its interpreter {self._command[0]} cannot be started: {error.strerror}"
            ) from error

    def _ask(self, command: str, timeout_s: float, arguments: Mapping[str, Any]) -> Any:
        if self._process is None:
            raise AssertionError("it was started")
        doing = "its import" if command == "open" else f"{command!r}"
        request = {"id": next(self._numbers), "command": command, "arguments": encode(dict(arguments))}
        try:
            reply = self._process.ask(request, timeout_s)
        except SilentError:
            self.close()
            sentence = f"{self._name} did not answer within {timeout_s:g} s during {doing}"
            raise ProbeTimeoutError(self.role, sentence) from None
        except DiedError as error:
            log = self._process.log_tail()
            self.close()
            raise ProbeCrashedError(self.role, f"{self._name} {error} during {doing}", log) from None
        if failed := reply.get("error"):
            if command == "open":
                self.close()
            sentence = f"{self._name}: {failed['sentence']}"
            raise ProbeRefusedError(self.role, sentence, str(failed["kind"]), str(failed["traceback"]))
        return reply["result"]

    @property
    def _name(self) -> str:
        return f"the {self.role} ({shown(self.side.given)})"
