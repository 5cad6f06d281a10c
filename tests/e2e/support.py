"""The `tangent` command as a person uses it: processes, terminals, signals, and what is left running afterwards."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from service.client import Client

REPOSITORY = Path(__file__).parents[2]
TANGENT = Path(sys.executable).parent / "tangent"
QUICK_SETTINGS = {"TANGENT_LEASE": "3", "TANGENT_SWEEP": "1", "TANGENT_POLL": "1", "OMP_NUM_THREADS": "1"}
SMALL = {
    "schema": 1,
    "name": "small",
    "workload": {"name": "digits-mlp", "options": {"epochs": 1}},
    "arms": [{"name": "adamw", "optimizer": "AdamW"}, {"name": "adamp", "optimizer": "AdamP"}],
    "compare": [["adamw", "adamp"]],
    "search": {"sampler": "random", "trials": 3},
    "select": {"top": 2, "seeds": 1},
    "confirm": {"seeds": 2},
    "replicates": 3,
}
"""42 trainings of some hundredths of a second: 2 arms, 3 replicates, 3 + 2 + 2 each."""


def environment_of(home: Path, **settings: str) -> dict[str, str]:
    """The environment of one person's command: nothing of Tangent's but what is named here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
    return {**kept, **QUICK_SETTINGS, "TANGENT_HOME": str(home), "NO_COLOR": "1", **settings}


def tangent(
    home: Path, *arguments: object, patience_s: float = 90, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, its output in pipes."""
    return subprocess.run(
        [TANGENT, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment_of(home, **settings),
        cwd="/",
        timeout=patience_s,
        check=False,
    )


def succeed(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def refusal(done: "subprocess.CompletedProcess[str]") -> str:
    """The one plain sentence with which a command refused, at the end of standard error; fields have a line each."""
    assert done.returncode not in (0, 130), done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    before, mark, sentence = done.stderr.rpartition("tangent: ")
    assert mark
    assert not before or before.endswith("\n")
    assert all(line.startswith("  ") for line in sentence.splitlines()[1:])
    return sentence.strip()


class Foreground:
    """A command in the foreground of a terminal of its own, which is `columns` wide.

    Attributes:
        screen: All that it has written so far, without colours and cursor movements.
    """

    def __init__(self, home: Path, *arguments: str, columns: int = 100, **settings: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = {**environment_of(home, **settings), "TERM": "xterm-256color", "COLUMNS": str(columns)}
        self.home, self._terminal, self._raw = home, ours, b""
        self.process = subprocess.Popen(
            [TANGENT, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd="/",
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (calls nothing that locks)
        )
        os.close(theirs)

    @property
    def screen(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._raw.decode(errors="replace")).replace("\r", "")

    def read_until(self, text: str, patience_s: float = 60) -> str:
        """Read until `text` has been written."""
        deadline = time.monotonic() + patience_s
        while text not in self.screen:
            assert time.monotonic() < deadline, f"no {text!r} within {patience_s} s in:\n{self.screen}"
            assert self._read(0.2), f"it ended before it wrote {text!r}:\n{self.screen}"
        return self.screen

    def press_ctrl_c(self) -> None:
        """Write what the keyboard sends; the terminal turns it into SIGINT for the foreground process group."""
        os.write(self._terminal, b"\x03")

    def wait(self, patience_s: float = 60) -> int:
        """Read to its end; returns the exit code."""
        deadline = time.monotonic() + patience_s
        while self._read(0.2):
            assert time.monotonic() < deadline, f"still running after {patience_s} s:\n{self.screen}"
        return self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._terminal)

    def _read(self, patience_s: float) -> bool:
        if select.select([self._terminal], [], [], patience_s)[0]:
            with contextlib.suppress(OSError):  # Linux says EIO where the other end is closed
                part = os.read(self._terminal, 65536)
                self._raw += part
                return bool(part)
            return False
        return True


@contextlib.contextmanager
def in_foreground(home: Path, *arguments: str, **options: Any) -> Iterator[Foreground]:
    command = Foreground(home, *arguments, **options)
    try:
        yield command
    finally:
        command.close()


def recorded(home: Path) -> dict[str, int]:
    """Pids by name that instance.json and engines.json hold."""
    pids = {}
    with contextlib.suppress(FileNotFoundError):
        document = json.loads((home / "instance.json").read_text())
        pids = {name: one["pid"] for name, one in document["children"].items()}
        pids["supervisor"] = document["supervisor"]["pid"]
    with contextlib.suppress(FileNotFoundError):
        engines = json.loads((home / "engines.json").read_text())["processes"]
        pids |= {name: one["pid"] for name, one in engines.items()}
    return pids


def runs(pid: int) -> bool:
    """Tell whether `pid` runs; where no init reaps, an orphan stays a zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def slots_of(home: Path) -> list[psutil.Process]:
    """The slots' processes of the worker for cpu."""
    worker = recorded(home).get("worker-cpu")
    return [one for one in family(worker) if "workers.slot" in _words(one)] if worker else []


def left_running(home: Path) -> list[str]:
    """Every process of this machine that has something to do with `home`: by command, working folder or environment.

    This finds what nobody recorded; PostgreSQL's and Redis's processes have their working folders in the home.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and _mentions(process, home):
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def _mentions(process: psutil.Process, home: Path) -> bool:
    if str(home) in _words(process) or process.cwd().startswith(str(home)):
        return True
    return process.environ().get("TANGENT_HOME") == str(home)


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def wait_for(claim: Callable[[], Any], what: str, patience_s: float = 30) -> Any:
    """Wait until `claim` gives something true, and return that."""
    deadline = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):
            if found := claim():
                return found
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.05)


def expect_nothing_left(home: Path) -> None:
    """A pid that was signalled may need a moment."""
    wait_for(lambda: not left_running(home), f"nothing left running, but {left_running(home)}", 3)
    assert not (home / "instance.json").exists()


def client_of(home: Path) -> Client:
    address = json.loads((home / "instance.json").read_text())["address"]
    return Client(address, (home / "token").read_text().strip())


def write_study(folder: Path, document: Mapping[str, Any]) -> Path:
    file = folder / f"{document['name']}.json"
    file.write_text(json.dumps(document))
    return file


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal, and for SIGKILL see that the process is gone."""
    os.kill(pid, number)
    if number == signal.SIGKILL:
        wait_for(lambda: not runs(pid), f"process {pid} gone", 5)
