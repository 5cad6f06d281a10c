"""Starting, recognising and stopping engine processes; a process is a pid together with its start time."""

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from service.engines.privileges import Account, engine_environment, ids_of
from service.errors import EngineError

_POLL_S = 0.02
_TOOL_PATIENCE_S = 2.0
# psutil derives start times from the boot time, which clock corrections move by fractions of a second.
_SAME_START_S = 1.0
# An ended child stays a zombie until its parent asks; whichever object of ours started it, `find` asks.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


@dataclass(frozen=True)
class ProcessIdentity:
    """One process for ever: a reused pid has another start time.

    Attributes:
        pid: Process id.
        started: Start time in seconds since the epoch.
    """

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """Identify the running process `pid`; raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """Return the process while it runs; None once it ended (a zombie has) or where the pid is another's now."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) > _SAME_START_S:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None


def open_log(path: Path) -> IO[bytes]:
    """Open `path` for appending, 0600: a failed `ALTER ROLE … PASSWORD` would be quoted in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def launch(
    argv: Sequence[str | Path], *, account: Account | None, log: IO[bytes], config: bytes = b""
) -> "subprocess.Popen[bytes]":
    """Start an engine in a session of its own.

    Args:
        argv: The command; visible to every user of the machine, so it holds no secret.
        account: As whom to run; None is the caller.
        log: Receives standard output and error.
        config: Written to the engine's standard input, which is then closed; at most a pipe's buffer (4096 bytes).
    """
    child = _spawn(argv, account, log)
    _children[child.pid] = child
    assert child.stdin is not None  # noqa: S101 (PIPE above)
    # A child that died at once has closed the pipe; the caller sees its exit.
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(config)
    return child


def run_tool(argv: Sequence[str | Path], *, account: Account | None, commands: str = "", timeout_s: float) -> str:
    """Run a program of an engine to its end and return what it said.

    Raises:
        EngineError: It failed, or needed more than `timeout_s`.
    """
    tool = Path(argv[0]).name
    with _spawn(argv, account, subprocess.PIPE) as child:
        try:
            answer, _ = child.communicate(commands.encode(), max(timeout_s, 0.1))
        except BaseException as error:
            _end_tool(child)
            if isinstance(error, subprocess.TimeoutExpired):
                raise EngineError(f"{tool} needed more than {timeout_s:.1f} s; is the disk overloaded?") from error
            raise
    said = answer.decode(errors="replace")
    if child.returncode != 0:
        raise EngineError(f"{failure(tool, f'failed (exit code {child.returncode})', said)}: {_tail(said)}")
    return said


def stop_process(identity: ProcessIdentity, steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each signal in turn and wait its seconds, until the process has ended.

    Returns:
        Whether a process was running.

    Raises:
        EngineError: It survives the last signal, or belongs to another user.
    """
    was_running = identity.find() is not None
    for number, patience_s in steps:
        process = identity.find()
        if process is None:
            return was_running
        _send(process, number)
        wait_until_gone([identity], patience_s)
    if identity.find() is not None:
        raise EngineError(f"Process {identity.pid} still runs after {steps[-1][0].name}; stop it by hand.")
    return was_running


def wait_until_gone(identities: Sequence[ProcessIdentity], patience_s: float) -> None:
    """Wait until every process has ended, at most `patience_s`."""
    deadline = time.monotonic() + patience_s
    while any(identity.find() for identity in identities) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def children_of(identity: ProcessIdentity) -> list[ProcessIdentity]:
    """List the processes below `identity`, without itself."""
    process = identity.find()
    if process is None:
        return []
    try:
        return [ProcessIdentity(child.pid, child.create_time()) for child in process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def failure(title: str, what: str, said: str) -> str:
    """Say what failed, and name a full disk, which each program reports in words of its own."""
    return f"{title} found the disk full" if os.strerror(errno.ENOSPC) in said else f"{title} {what}"


def last_lines(path: Path, start: int, n_lines: int = 5) -> str:
    """Return the last lines that a log received after byte `start`, joined by ' / '."""
    with path.open("rb") as log:
        log.seek(start)
        return _tail(log.read().decode(errors="replace"), n_lines)


def _spawn(argv: Sequence[str | Path], account: Account | None, output: IO[bytes] | int) -> "subprocess.Popen[bytes]":
    user, group, extra_groups = ids_of(account)
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=engine_environment(),
        start_new_session=True,
        umask=0o077,
        user=user,
        group=group,
        extra_groups=extra_groups,
    )


def _end_tool(child: "subprocess.Popen[bytes]") -> None:
    """End a tool; initdb's children then read the end of their input, stop writing and give back shared memory."""
    if child.poll() is not None:
        return
    tool = ProcessIdentity.of(child.pid)
    processes = [tool, *children_of(tool)]
    child.terminate()
    wait_until_gone(processes, _TOOL_PATIENCE_S)
    for process in filter(None, [identity.find() for identity in processes]):
        _send(process, signal.SIGKILL)


def _tail(text: str, n_lines: int = 5) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-n_lines:]) or "(nothing)"


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise EngineError(f"Process {process.pid} belongs to another user, who must stop it.") from error
