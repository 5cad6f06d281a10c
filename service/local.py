"""`python -m service.local`: the supervisor of a local instance, from an empty folder to a service that answers.

It starts PostgreSQL and Redis (unless their URLs stand in the environment), migrates, and starts API, coordinator and
workers, each in a session of its own with a log file. A child that dies is started again, at most three times in five
minutes; then the instance stops as a whole and says why. It stops on SIGTERM, and, with --lifeline, when its standard
input ends, so that it cannot outlive the command that started it.

What happens is told in JSON lines on standard output: {"step": …}, then {"ready": …} or {"error": …}.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
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

from service.children import Child
from service.config import Settings, load_settings
from service.engines import PostgresServer, RedisServer, describe_identity, stop_stale
from service.engines.folders import plain_os_errors, write_private
from service.engines.home import EngineHome
from service.engines.processes import ProcessIdentity, last_lines
from service.errors import EngineError, TangentError
from service.instance import Instance, in_stop_order, read_instance, reap_children
from service.store import migrate, roles

_STOP_S = {"worker": 12.0, "coordinator": 8.0, "api": 6.0}


class _StopRequestedError(Exception):
    """The user asked to stop while the instance was starting."""


class Supervisor:
    """Everything of one home. `run` returns the exit code after all is stopped."""

    def __init__(self, home: Path, settings: Settings, *, slots: int) -> None:
        self.home, self._settings, self._slots = home, settings, slots
        self.stop = threading.Event()
        self._postgres = PostgresServer(home, log=home / "logs" / "postgres.log")
        self._redis = RedisServer(home, log=home / "logs" / "redis.log")
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
        finally:
            self._stop_all()
        return 0

    def _start(self) -> None:
        self._claim_home()
        urls = self._start_engines()
        self._step("starting the API")
        environment = self._environment(urls)
        self._start_api(environment)
        self._step("starting coordinator and workers")
        for name, argv in self._commands().items():
            own = {**environment, "TANGENT_DATABASE_URL": urls["worker" if name.startswith("worker") else "service"]}
            self._add(Child(name, argv, own, self.home / "logs" / f"{name}.log"))
        tell(ready=True, address=self._require_instance().address, home=str(self.home))

    def _claim_home(self) -> None:
        with EngineHome(self.home).lock(time.monotonic() + 30), plain_os_errors(self.home):
            (self.home / "logs").mkdir(mode=0o700, exist_ok=True)
            left = self._take_over()
        left += [f"engine (process {pid})" for pid in stop_stale(self.home)]
        if left:
            tell(step=f"stopped what an instance that died had left: {', '.join(left)}")

    def _take_over(self) -> list[str]:
        earlier = read_instance(self.home)
        if earlier is not None and earlier.is_running and earlier.supervisor.pid != os.getpid():
            raise TangentError(f"an instance runs in {self.home} already (process {earlier.supervisor.pid})")
        self._instance = Instance(self.home, ProcessIdentity.of(os.getpid()))
        self._instance.write()
        if not (self.home / "token").exists():
            write_private(self.home / "token", secrets.token_urlsafe(32))
        return reap_children(earlier) if earlier is not None else []

    def _start_engines(self) -> dict[str, str]:
        if self._settings.database_url is not None:
            url = self._settings.require_database_url()
            self._step("migrating the ledger")
            migrate.upgrade(url)
            urls = {"owner": url, "service": url, "worker": url}
        else:
            urls = self._start_postgres()
        if self._settings.redis_url is not None:
            return {**urls, "redis": self._settings.require_redis_url()}
        self._step("starting Redis")
        return {**urls, "redis": self._redis.start().url}

    def _start_postgres(self) -> dict[str, str]:
        self._step(f"starting PostgreSQL ({describe_identity()})")
        handle = self._postgres.start()
        self._step("migrating the ledger")
        migrate.upgrade(handle.url())
        urls = {"owner": handle.url()}
        for name, group in (("service", roles.SERVICE_GROUP), ("worker", roles.WORKER_GROUP)):
            password = EngineHome(self.home).secret(f"login_{name}")
            roles.ensure_login(handle.url(), f"local_{name}", password, group)
            urls[name] = handle.url(f"local_{name}", password)
        return urls

    def _environment(self, urls: Mapping[str, str]) -> dict[str, str]:
        threads = str(self._settings.slot_threads)
        return {
            **os.environ,
            "TANGENT_HOME": str(self.home),
            "TANGENT_DATABASE_URL": urls["service"],
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
            "coordinator": [python, "-m", "service.coordinator"],
            "worker-cpu": [python, "-m", "workers", "--queues", "cpu"],
            "worker-reports": [python, "-m", "workers", "--queues", "reports"],
        }
        if _has_gpu():
            commands["worker-gpu"] = [python, "-m", "workers", "--queues", "gpu"]
        return commands

    def _start_api(self, environment: Mapping[str, str]) -> None:
        child = Child("api", [sys.executable, "-m", "service.api"], environment, self.home / "logs" / "api.log")
        address = self._launch_api(child)
        port = address.rsplit(":", 1)[1]  # a restart must answer where the first one did
        child.environment = {**environment, "TANGENT_API_PORT": port}
        self._children["api"] = child
        self._record(address)

    def _launch_api(self, child: Child) -> str:
        log_start = child.log.stat().st_size if child.log.exists() else 0
        child.start(reads_output=True)
        assert child.process is not None  # noqa: S101 (just started)
        assert child.process.stdout is not None  # noqa: S101 (piped)
        line = child.process.stdout.readline()
        threading.Thread(target=_drain, args=(child.process,), daemon=True).start()
        if not line:
            child.process.wait(10)
            raise EngineError(f"the API did not start: {last_lines(child.log, log_start, 1)}")
        return str(json.loads(line)["address"])

    def _add(self, child: Child) -> None:
        child.start()
        self._children[child.name] = child
        self._record(self._require_instance().address)

    def _record(self, address: str | None) -> None:
        children = {name: c.identity for name, c in self._children.items() if c.identity is not None}
        self._instance = replace(self._require_instance(), address=address, children=children)
        self._instance.write()

    def _require_instance(self) -> Instance:
        assert self._instance is not None  # noqa: S101 (set by _claim_home, which comes first)
        return self._instance

    def _watch(self) -> None:
        while not self.stop.wait(0.5):
            for child in self._children.values():
                if child.exit_code() is not None:
                    tell(step=child.died())
                    self._revive(child)
            self._watch_engines()

    def _revive(self, child: Child) -> None:
        if child.name == "api":
            self._launch_api(child)
        else:
            child.start()
        self._record(self._require_instance().address)

    def _watch_engines(self) -> None:
        if self._settings.database_url is None and not self._postgres.is_running():
            tell(step="PostgreSQL ended; it is started again")
            self._postgres.start()
        if self._settings.redis_url is None and not self._redis.is_running():
            tell(step="Redis ended; it is started again")
            self._redis.start()

    def _step(self, text: str) -> None:
        if self.stop.is_set():
            raise _StopRequestedError
        tell(step=text)

    def _stop_all(self) -> None:
        if self._instance is None:  # the home belongs to another instance
            return
        for name in in_stop_order(list(self._children)):
            self._children[name].stop(next(s for prefix, s in _STOP_S.items() if name.startswith(prefix)))
        for server in (self._redis, self._postgres):
            try:
                server.stop()
            except EngineError as error:
                tell(error=str(error))
        (self.home / "instance.json").unlink(missing_ok=True)
        tell(step="stopped")


def tell(**event: object) -> None:
    """Write one JSON line for whoever started the supervisor; nobody may be listening any more."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def _drain(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None  # noqa: S101 (piped)
    for _ in process.stdout:
        pass


def _has_gpu() -> bool:
    """Whether nvidia-smi lists a GPU; torch, which would know better, is not loaded here."""
    if shutil.which("nvidia-smi") is None:
        return False
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode == 0 and "GPU" in done.stdout


def _watch_lifeline(supervisor: Supervisor) -> None:
    while os.read(0, 4096):
        pass
    supervisor.stop.set()


def main() -> int:
    """Supervise until asked to stop; returns the exit code."""
    parser = argparse.ArgumentParser(description="Supervisor of a local Tangent instance.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    arguments = parser.parse_args()
    try:
        supervisor = Supervisor(arguments.home.absolute(), load_settings(), slots=arguments.slots)
    except TangentError as error:
        tell(error=str(error))
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop.set())
    if arguments.lifeline:
        threading.Thread(target=_watch_lifeline, args=(supervisor,), daemon=True).start()
    return supervisor.run()


if __name__ == "__main__":
    raise SystemExit(main())
