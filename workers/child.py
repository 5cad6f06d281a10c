"""A slot's process as its worker sees it: started, spoken to, killed, and asked how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO

from workers.logs import Tail
from workers.messages import Channel, SlotName

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_EXIT_PATIENCE_S = 2.0


def training_environment(n_threads: int, visible_gpus: str) -> dict[str, str]:
    """The environment of a process that will import torch.

    Args:
        n_threads: For every numeric library.
        visible_gpus: Value of CUDA_VISIBLE_DEVICES; "" hides all.
    """
    threads = {name: str(n_threads) for name in _THREAD_VARIABLES}
    return {**os.environ, **threads, "CUDA_VISIBLE_DEVICES": visible_gpus, "PYTHONFAULTHANDLER": "1"}


class SlotProcess:
    """A running slot in a session of its own, so that the terminal's Ctrl-C does not reach it.

    Attributes:
        tail: The last lines of what it and its libraries printed.
    """

    def __init__(self, name: SlotName, environment: Mapping[str, str]) -> None:
        """Start it. The calling thread must live as long as the process (see `workers.orphans`)."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.slot", str(theirs.fileno()), *name.to_arguments()],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.tail = Tail()
        self.channel = Channel(ours)
        assert self._process.stdout is not None  # noqa: S101 (PIPE above)
        self._relay = threading.Thread(target=_relay, args=(self._process.stdout, self.tail), daemon=True)
        self._relay.start()

    def kill(self) -> None:
        """Kill it and every process that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def bury(self) -> str:
        """Wait for its end, for it has closed its pipe; returns how it ended, as the rest of a sentence."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_PATIENCE_S)
        self.kill()
        code = self._process.wait()
        self._relay.join(_EXIT_PATIENCE_S)
        self.channel.close()
        return describe_exit(code)


def describe_exit(code: int) -> str:
    """How a process with this return code ended, as `subprocess` counts: negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"was killed by signal {-code}"


def _relay(output: IO[bytes], tail: Tail) -> None:
    """Pass a slot's output on to our own standard error."""
    with output:
        while part := output.read1(65536):  # type: ignore[attr-defined]
            text = part.decode(errors="replace")
            tail.add(text)
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(text)
                sys.stderr.flush()
