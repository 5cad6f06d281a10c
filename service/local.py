"""`python -m service.local`: the supervisor of a local instance, from an empty folder to a service that answers.

It starts PostgreSQL and Redis (unless their URLs stand in the environment), migrates, and starts API, coordinator and
workers, each in a session of its own with a log file. A child or engine that dies is started again, at most three times
in five minutes; then the instance stops as a whole and says why. It stops on SIGTERM, and, with --lifeline, when its
standard input ends, so that it cannot outlive the command that started it.

What happens is told in JSON lines on standard output: {"step": …}, then {"ready": …} or {"error": …}; once the home is
ours, also in logs/supervisor.log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from service.children import Child, stop_together
from service.config import Settings, load_settings
from service.engines import stop_stale
from service.engines.folders import plain_os_errors, write_private
from service.engines.home import EngineHome
from service.engines.processes import ProcessIdentity, last_lines, open_log
from service.errors import EngineError, TangentError
from service.instance import Instance, in_stop_order, read_instance, reap_children
from service.local_engines import LocalEngines

_PERIOD_S = 0.25
_API_PATIENCE_S = 120.0
_CANNOT_RUN = 2
"""Exit code of a worker that this machine or its settings forbid; starting it again would not help."""
_log = logging.getLogger("tangent.supervisor")


class _StopRequestedError(Exception):
    """The user asked to stop while the instance was starting."""


class Supervisor:
    """Everything of one home. `run` returns the exit code after all is stopped."""

    def __init__(self, home: Path, settings: Settings, *, slots: int) -> None:
        self.home, self._settings, self._slots = home, settings, slots or settings.slots
        self.stop = threading.Event()
        self._engines = LocalEngines(home, settings, self._step)
        self._children: dict[str, Child] = {}
        self._instance: Instance | None = None

    def run(self) -> int:
        """Start, watch until asked to stop, stop."""
        try:
            self._start()
            self._watch()
        except _StopRequestedError:
            pass
        except TangentError as error:
            tell(error=str(error))
            return 1
        except Exception as error:
            _log.exception("the supervisor stops everything")
            tell(error=f"the supervisor failed ({type(error).__name__}); see {self.home / 'logs' / 'supervisor.log'}")
            raise
        finally:
            self._stop_all()
        return 0

    def _start(self) -> None:
        self._claim_home()
        urls = self._engines.start()
        self._step("starting the API, the coordinator and the workers")
        environment = self._environment(urls)
        for name, argv in self._commands().items():
            own = {**environment, "TANGENT_DATABASE_URL": urls["worker" if name.startswith("worker") else "service"]}
            self._children[name] = Child(name, argv, own, self.home / "logs" / f"{name}.log")
        api = self._children["api"]
        log_start = api.log.stat().st_size if api.log.exists() else 0
        for child in self._children.values():
            child.start(reads_output=child is api)
            self._record()
        address = self._await_api(api, log_start)
        # A restart must answer where the first one did.
        api.environment = {**api.environment, "TANGENT_API_PORT": address.rsplit(":", 1)[1]}
        self._record(address)
        tell(ready=True, address=address, home=str(self.home))

    def _claim_home(self) -> None:
        with EngineHome(self.home).lock(time.monotonic() + 30), plain_os_errors(self.home):
            earlier = self._refuse_running()
            (self.home / "logs").mkdir(mode=0o700, exist_ok=True)
            _log_to(self.home / "logs" / "supervisor.log")
            self._instance = Instance(self.home, ProcessIdentity.of(os.getpid()))
            left = reap_children(earlier) if earlier is not None else []
            self._instance.write()
            (self.home / ".gitignore").write_text("*\n")  # the folder may lie in a user's repository
            if not (self.home / "token").exists():
                write_private(self.home / "token", secrets.token_urlsafe(32))
        left += [f"engine (process {pid})" for pid in stop_stale(self.home)]
        if left:
            self._step(f"stopped what an instance that died had left: {', '.join(left)}")

    def _refuse_running(self) -> Instance | None:
        earlier = read_instance(self.home)
        if earlier is not None and earlier.is_running and earlier.supervisor.pid != os.getpid():
            raise TangentError(f"an instance runs in {self.home} already (process {earlier.supervisor.pid})")
        return earlier

    def _environment(self, urls: Mapping[str, str]) -> dict[str, str]:
        threads = str(self._settings.slot_threads)
        return {
            **os.environ,
            "TANGENT_HOME": str(self.home),
            "TANGENT_REDIS_URL": urls["redis"],
            "TANGENT_API_TOKEN": (self.home / "token").read_text().strip(),
            "TANGENT_CHECKPOINT_DIR": str(self._settings.checkpoint_dir or self.home / "checkpoints"),
            "TANGENT_SLOTS": str(self._slots),
            "OMP_NUM_THREADS": threads,
            "PYTHONUNBUFFERED": "1",
        }

    def _commands(self) -> dict[str, list[str]]:
        python = sys.executable
        commands = {
            "api": [python, "-m", "service.api"],
            "worker-cpu": [python, "-m", "workers", "--queues", "cpu"],
            "coordinator": [python, "-m", "service.coordinator"],
            "worker-reports": [python, "-m", "workers", "--queues", "reports"],
        }
        if _has_gpu():
            commands["worker-gpu"] = [python, "-m", "workers", "--queues", "gpu"]
        return commands

    def _await_api(self, api: Child, log_start: int) -> str:
        """The address that the API prints when it answers."""
        give_up_at = time.monotonic() + _API_PATIENCE_S
        while time.monotonic() < give_up_at:
            if self.stop.is_set():
                raise _StopRequestedError
            with contextlib.suppress(queue.Empty):
                line = api.lines.get(timeout=_PERIOD_S)
                if line is None:
                    why = last_lines(api.log, log_start, 1).removeprefix("tangent: ")
                    raise EngineError(f"the API did not start: {why}")
                return str(json.loads(line)["address"])
        raise EngineError(f"the API did not answer within {_API_PATIENCE_S:.0f} s; see {api.log}")

    def _record(self, address: str | None = None) -> None:
        assert self._instance is not None  # noqa: S101 (set by _claim_home, which comes first)
        children = {name: c.identity for name, c in self._children.items() if c.identity is not None}
        self._instance = replace(self._instance, address=address or self._instance.address, children=children)
        self._instance.write()

    def _watch(self) -> None:
        while not self.stop.wait(_PERIOD_S):
            for child in list(self._children.values()):
                if child.exit_code() is not None:
                    self._revive(child)
            self._engines.revive()

    def _revive(self, child: Child) -> None:
        if child.name == "worker-gpu" and child.exit_code() == _CANNOT_RUN:
            why = last_lines(child.log, 0, 1)
            self._step(f"no GPU worker, so studies with device cuda wait for another machine's: {why}")
            del self._children[child.name]
            self._record()
        elif child.restart_at is None:
            self._step(child.died())
        elif time.monotonic() >= child.restart_at:
            child.start(reads_output=child.name == "api")
            self._record()

    def _step(self, text: str) -> None:
        if self.stop.is_set():
            raise _StopRequestedError
        tell(step=text)

    def _stop_all(self) -> None:
        if self._instance is None:  # the home belongs to another instance
            return
        started = {name: child.identity for name, child in self._children.items() if child.identity is not None}
        for names, patience_s in in_stop_order(list(started)):
            try:
                stop_together([started[name] for name in names], patience_s)
            except EngineError as error:
                tell(error=str(error))
        for problem in self._engines.stop():
            tell(error=problem)
        self._instance.path.unlink(missing_ok=True)
        tell(step="stopped")


def tell(**event: object) -> None:
    """Write one JSON line for whoever started the supervisor, who may not listen any more, and a line of the log."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    _log.info("%s", event.get("error") or event.get("step") or f"ready at {event.get('address')}")


def _log_to(file: Path) -> None:
    """Send the log, and what else goes to standard error, to `file`: the terminal is not ours after `tangent up`."""
    with open_log(file) as log:
        os.dup2(log.fileno(), 2)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", force=True)
    for noisy in ("alembic", "sqlalchemy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _has_gpu() -> bool:
    """Whether nvidia-smi lists a GPU; torch, which would know better, is not loaded here."""
    if shutil.which("nvidia-smi") is None:
        return False
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "GPU" in done.stdout


def _obey_signals(stop: threading.Event) -> None:
    """Set `stop` in a thread: in the handler it could wait for a lock of the very thread that it interrupted."""
    received: queue.SimpleQueue[int] = queue.SimpleQueue()

    def attend() -> None:
        received.get()
        stop.set()

    threading.Thread(target=attend, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: received.put(number))


def _watch_lifeline(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()


def main() -> int:
    """Supervise until asked to stop; returns the exit code."""
    parser = argparse.ArgumentParser(description="Supervisor of a local Tangent instance.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    arguments = parser.parse_args()
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")  # libpq would wait for ever for a server that is silent
    try:
        supervisor = Supervisor(arguments.home.absolute(), load_settings(), slots=arguments.slots)
    except TangentError as error:
        tell(error=str(error))
        return 1
    _obey_signals(supervisor.stop)
    if arguments.lifeline:
        threading.Thread(target=_watch_lifeline, args=(supervisor.stop,), daemon=True).start()
    return supervisor.run()


if __name__ == "__main__":
    raise SystemExit(main())
