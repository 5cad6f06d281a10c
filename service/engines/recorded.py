"""One engine's process: launched, awaited, recorded in its home, stopped."""

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
    failure,
    last_lines,
    launch,
    open_log,
    stop_process,
    wait_until_gone,
)
from service.errors import EngineError

_POLL_S = 0.02
_AT_ONCE_PATIENCE_S = 5.0
_KILL_PATIENCE_S = 5.0
_LOCK_PATIENCE_S = 10.0


class RecordedProcess:
    """The process of one engine of one home, whichever process of ours started it."""

    def __init__(
        self, home: EngineHome, name: str, title: str, *, log: Path, signals: tuple[signal.Signals, signal.Signals]
    ) -> None:
        """Name it.

        Args:
            home: Records it.
            name: Its key in the record.
            title: What the user calls it.
            log: Receives its output; created with mode 0600.
            signals: Ask it to stop in good order, and at once.
        """
        self.home = home
        self.name = name
        self.title = title
        self.log = log
        self._orderly, self._at_once = signals

    def find(self) -> ProcessIdentity | None:
        """Return the recorded process while it runs."""
        recorded = self.home.read().processes.get(self.name)
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
            child = launch(argv, account=account, log=log, config=config)
        identity = ProcessIdentity.of(child.pid)
        try:
            self.home.remember(self.name, identity)
            self._wait_until_ready(child, is_ready, deadline, log_start)
        except BaseException:
            self._end(identity, _AT_ONCE_PATIENCE_S, orderly=False)
            self.home.forget(self.name)
            raise
        return child.pid

    def stop(self, patience_s: float) -> bool:
        """Stop it in good order, after `patience_s` at once, at most 5 s later by SIGKILL; not under the lock.

        Returns:
            Whether it ran.
        """
        recorded = self.home.read().processes.get(self.name)
        if recorded is None:
            return False
        was_running = self._end(recorded, patience_s, orderly=True)
        with self.home.lock(time.monotonic() + _LOCK_PATIENCE_S):
            if self.home.read().processes.get(self.name) == recorded:
                self.home.forget(self.name)
        return was_running

    def _end(self, identity: ProcessIdentity, patience_s: float, *, orderly: bool) -> bool:
        children = children_of(identity)
        steps = [(self._at_once, min(patience_s, _AT_ONCE_PATIENCE_S)), (signal.SIGKILL, _KILL_PATIENCE_S)]
        if orderly:
            steps.insert(0, (self._orderly, patience_s))
        was_running = stop_process(identity, steps)
        wait_until_gone(children, 1.0)
        for child in children:
            stop_process(child, [(signal.SIGKILL, _KILL_PATIENCE_S)])
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
        return f"{failure(self.title, what, said)}; the last lines of {self.log}: {said}"
