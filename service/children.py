"""A child of the supervisor: started in a session of its own, counted when it dies, stopped with all below it."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from service.engines.processes import ProcessIdentity, children_of, open_log, stop_process, wait_until_gone
from service.errors import TangentError

_RESTARTS, _RESTART_WINDOW_S = 3, 300.0


@dataclass
class Deaths:
    """How often a process died of late; `name` and `log` are for the user."""

    name: str
    log: Path
    times: deque[float] = field(default_factory=deque)

    def note(self, how: str) -> str:
        """Note that it died; returns what to say of it. Raises TangentError where it died too often."""
        now = time.monotonic()
        self.times.append(now)
        while self.times and now - self.times[0] > _RESTART_WINDOW_S:
            self.times.popleft()
        if len(self.times) > _RESTARTS:
            raise TangentError(f"{self.name} {how} for the {len(self.times)}th time in five minutes; see {self.log}")
        return f"{self.name} {how}; it is started again"

    @property
    def pause_s(self) -> float:
        """How long to wait before it is started again: not at all at first, then longer."""
        return float(len(self.times) - 1)


@dataclass
class Child:
    """One process of ours: how to start it, and since when it runs.

    Attributes:
        lines: What it wrote to standard output, line by line, then None; only where `start` was told to read it.
        restart_at: When to start it again after a death, on the monotonic clock.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[str] | None = None
    identity: ProcessIdentity | None = None
    lines: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)
    restart_at: float | None = None
    deaths: Deaths = field(init=False)

    def __post_init__(self) -> None:
        self.deaths = Deaths(self.name, self.log)

    def start(self, *, reads_output: bool = False) -> None:
        """Start it in a session of its own, its output in its log (standard output in `lines` with `reads_output`)."""
        self.restart_at = None
        with open_log(self.log) as log:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if reads_output else log,
                stderr=log,
                env=dict(self.environment),
                start_new_session=True,
                text=True,
            )
        self.identity = ProcessIdentity.of(self.process.pid)
        if self.process.stdout is not None:
            threading.Thread(target=_pass_on, args=(self.process.stdout, self.lines), daemon=True).start()

    def exit_code(self) -> int | None:
        """Its exit code once it ended."""
        return None if self.process is None else self.process.poll()

    def died(self) -> str:
        """Note a death; returns what to say of it. Raises TangentError where it died too often."""
        code = self.exit_code() or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        said = self.deaths.note(how)
        self.restart_at = time.monotonic() + self.deaths.pause_s
        return said


def stop_together(processes: Sequence[ProcessIdentity], patience_s: float) -> list[ProcessIdentity]:
    """SIGTERM to all of them at once, then SIGKILL after `patience_s`, to them and to what they leave below them.

    Returns:
        Those that ran.

    Raises:
        EngineError: One belongs to another user, or survives SIGKILL.
    """
    running = [one for one in processes if one.find() is not None]
    below = [child for one in running for child in children_of(one)]
    for one in running:
        with contextlib.suppress(psutil.Error):  # gone by now, or another user's, which the last step says
            if (process := one.find()) is not None:
                process.terminate()
    wait_until_gone(running, patience_s)
    wait_until_gone(below, 1.0)
    for one in [*running, *below]:
        stop_process(one, [(signal.SIGKILL, 5.0)])
    return running


def _pass_on(output: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    with output:
        for line in output:
            lines.put(line)
    lines.put(None)
