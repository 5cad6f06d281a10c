"""A child of the supervisor: started in a session of its own, counted when it dies, stopped with all below it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.engines.processes import ProcessIdentity, children_of, open_log, stop_process, wait_until_gone
from service.errors import TangentError

_RESTARTS, _RESTART_WINDOW_S = 3, 300.0


@dataclass
class Child:
    """One process of ours: how to start it, and since when it runs."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[str] | None = None
    identity: ProcessIdentity | None = None
    deaths: deque[float] = field(default_factory=deque)

    def start(self, *, reads_output: bool = False) -> None:
        """Start it in a session of its own, its output in its log (standard output in a pipe with `reads_output`)."""
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

    def exit_code(self) -> int | None:
        """Its exit code once it ended."""
        return None if self.process is None else self.process.poll()

    def stop(self, deadline_s: float) -> None:
        """SIGTERM, then SIGKILL after `deadline_s`, to it and to what it leaves below it."""
        if self.process is None or self.identity is None:
            return
        below = children_of(self.identity)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        wait_until_gone(below, 1.0)
        for process in below:
            stop_process(process, [(signal.SIGKILL, 5.0)])

    def died(self) -> str:
        """Note a death; returns what to say of it. Raises TangentError where it died too often."""
        now = time.monotonic()
        self.deaths.append(now)
        while self.deaths and now - self.deaths[0] > _RESTART_WINDOW_S:
            self.deaths.popleft()
        code = self.exit_code() or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if len(self.deaths) > _RESTARTS:
            raise TangentError(f"{self.name} {how} for the {len(self.deaths)}th time in five minutes; see {self.log}")
        return f"{self.name} {how}; it is started again"
