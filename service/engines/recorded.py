"""One engine's process: launched, awaited, recorded in its home, stopped."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from service.engines.home import EngineHome
from service.engines.privileges import Account
from service.engines.processes import (
    ProcessIdentity,
    children_of,
    last_lines,
    launch,
    open_log,
    stop_process,
    wait_until_gone,
)
from service.errors import EngineError

_POLL_S = 0.02
_KILL_PATIENCE_S = 5.0


class RecordedProcess:
    """The process of one engine of one home, whichever process of ours started it."""

    def __init__(self, home: EngineHome, name: str, title: str, log: Path) -> None:
        """Name it.

        Args:
            home: Records it.
            name: Its key in the record.
            title: What the user calls it.
            log: Receives its output; created with mode 0600.
        """
        self.home = home
        self.name = name
        self.title = title
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None

    def find(self) -> ProcessIdentity | None:
        """Return the recorded process while it runs."""
        recorded = self.home.read().processes.get(self.name)
        if self._child is not None:
            self._child.poll()
        return recorded if recorded is not None and recorded.find() else None

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        account: Account | None,
        is_ready: Callable[[int], bool],
        deadline: float,
        config: bytes = b"",
    ) -> int:
        """Launch, record and await the engine; call it under the home's lock.

        Args:
            argv: The command, without secrets.
            account: As whom; None is the caller.
            is_ready: Told the pid, says whether the engine answers.
            deadline: On time.monotonic's clock.
            config: For its standard input.

        Returns:
            Its pid.

        Raises:
            EngineError: It ended, or did not answer in time; it is stopped then.
        """
        with open_log(self.log) as log:
            log_start = os.fstat(log.fileno()).st_size
            self._child = launch(argv, account=account, log=log, config=config)
        identity = ProcessIdentity.of(self._child.pid)
        try:
            self.home.remember(self.name, identity)
            self._wait_until_ready(self._child, is_ready, deadline, log_start)
        except BaseException:
            self._end(identity, [(signal.SIGKILL, _KILL_PATIENCE_S)])
            self.home.forget(self.name)
            raise
        return self._child.pid

    def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> bool:
        """Send each signal in turn and wait its seconds, then SIGKILL; says whether it ran. Not under the lock."""
        recorded = self.home.read().processes.get(self.name)
        if recorded is None:
            return False
        was_running = self._end(recorded, [*steps, (signal.SIGKILL, _KILL_PATIENCE_S)])
        with self.home.lock(time.monotonic() + _KILL_PATIENCE_S):
            if self.home.read().processes.get(self.name) == recorded:
                self.home.forget(self.name)
        return was_running

    def _end(self, identity: ProcessIdentity, steps: Sequence[tuple[signal.Signals, float]]) -> bool:
        children = children_of(identity)
        was_running = stop_process(identity, steps)
        wait_until_gone(children, 1.0)
        for child in children:
            stop_process(child, [(signal.SIGKILL, _KILL_PATIENCE_S)])
        if self._child is not None:
            self._child.poll()
        return was_running

    def _wait_until_ready(
        self, child: "subprocess.Popen[bytes]", is_ready: Callable[[int], bool], deadline: float, log_start: int
    ) -> None:
        while not is_ready(child.pid):
            if child.poll() is not None:
                raise EngineError(self._explain(f"stopped at once (exit code {child.returncode})", log_start))
            if time.monotonic() > deadline:
                raise EngineError(self._explain("did not answer in time", log_start))
            time.sleep(_POLL_S)

    def _explain(self, what: str, log_start: int) -> str:
        said = last_lines(self.log, log_start)
        if os.strerror(errno.ENOSPC) in said:
            what = "found the disk full"
        return f"{self.title} {what}; the last lines of {self.log}: {said}"
