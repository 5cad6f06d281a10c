"""Starting, finding and stopping a local instance from the command line."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from service import interrupts
from service.client import Client
from service.config import Settings
from service.errors import TangentError
from service.instance import Instance, find_home, read_instance, read_token, stop_instance

Tell = Callable[[str], None]


class OwnInstance:
    """A supervisor that this process started.

    Attributes:
        address: Where its API answers.
        home: Its folder.
    """

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self._process, self.home = process, home
        self.address = ""
        self._error: str | None = None
        self._last_words = ""

    def await_ready(self, tell: Tell) -> None:
        """Wait until the service answers; raises TangentError where it does not come up."""
        for event in self._events():
            if "ready" in event:
                self.address = event["address"]
                threading.Thread(target=self._follow, args=(tell,), daemon=True).start()
                return
            self._note(event, tell)
        raise TangentError(self._why_it_ended())

    def check(self) -> None:
        """Raise TangentError, with the reason, where the supervisor has ended."""
        if self._process.poll() is not None:
            raise TangentError(self._why_it_ended())

    def wait(self) -> None:
        """Wait until the supervisor ends; raises TangentError where it does so by itself."""
        self._process.wait()
        self.check()

    def stop(self, *, deadline_s: float = 60.0) -> None:
        """Ask the supervisor to stop, wait for it, and stop what it left if it was killed; again is harmless."""
        with interrupts.deferred():
            if self._process.poll() is None:
                self._process.terminate()
            with contextlib.suppress(OSError):
                if self._process.stdin is not None:
                    self._process.stdin.close()
            try:
                self._process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            left = read_instance(self.home) if self._process.returncode != 0 else None
            if left is not None and left.supervisor.pid == self._process.pid:
                stop_instance(left)

    def _events(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None  # noqa: S101 (piped)
        for line in self._process.stdout:
            try:
                yield json.loads(line)
            except ValueError:  # standard error comes here too until the supervisor has its log
                self._last_words = line.strip() or self._last_words

    def _follow(self, tell: Tell) -> None:
        for event in self._events():
            self._note(event, tell)

    def _note(self, event: dict[str, Any], tell: Tell) -> None:
        if "error" in event:
            self._error = event["error"]
        elif event.get("step") not in (None, "stopped"):
            tell(event["step"])

    def _why_it_ended(self) -> str:
        code = self._process.wait()
        if self._error is not None:
            return self._error
        if code == 0:
            return f"the service in {self.home} was stopped by somebody else, as `tangent down` does"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = self._last_words or f"see the logs in {self.home / 'logs'}"
        return f"the supervisor {how}; {hint}"


def home_of(settings: Settings) -> Path:
    """TANGENT_HOME, else the nearest `.tangent` in the working folder or above it."""
    return settings.home.expanduser().absolute() if settings.home else find_home(Path.cwd())


def running_instance(settings: Settings) -> Instance | None:
    """The local instance if its supervisor lives and its API answers already."""
    instance = read_instance(home_of(settings))
    return instance if instance is not None and instance.is_running and instance.address else None


def connect(settings: Settings) -> Client:
    """A client for TANGENT_API_URL with TANGENT_API_TOKEN, else for the local instance.

    Raises:
        TangentError: Neither is there.
    """
    if settings.api_url:
        return Client(settings.api_url, settings.require_api_token())
    instance = running_instance(settings)
    if instance is None or instance.address is None:
        raise TangentError(
            f"no Tangent runs in {home_of(settings)}; start one with `tangent up`, or name a service with "
            "TANGENT_API_URL and TANGENT_API_TOKEN"
        )
    return Client(instance.address, instance.token)


def start(home: Path, tell: Tell, *, slots: int = 0, has_lifeline: bool, port: int | None = None) -> OwnInstance:
    """Start a supervisor and wait until the service answers.

    Args:
        home: Its folder; created where it is missing.
        tell: Called with one sentence for each step, later for each incident.
        slots: Slots of each worker; 0 is one for each core or GPU.
        has_lifeline: The supervisor stops when this process ends, however it ends; else it stays.
        port: The API's port, 0 for a free one; None for the setting.

    Raises:
        TangentError: It did not come up; everything is stopped again.
    """
    argv = [sys.executable, "-m", "service.local", "--home", str(home), "--slots", str(slots)]
    # A folder `service` or `workers` where the user happens to stand must not be taken for ours.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with interrupts.deferred():
        process = subprocess.Popen(
            argv + (["--lifeline"] if has_lifeline else []),
            stdin=subprocess.PIPE if has_lifeline else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, **({} if port is None else {"TANGENT_API_PORT": str(port)})},
            start_new_session=True,
        )
        own = OwnInstance(process, home)
        if has_lifeline:
            atexit.register(own.stop)  # a Ctrl-C may come between this function's return and the caller's `try`
    try:
        own.await_ready(tell)
    except BaseException:
        own.stop()
        raise
    return own


@contextlib.contextmanager
def instance_for(settings: Settings, tell: Tell, *, slots: int = 0) -> Iterator[tuple[Client, OwnInstance | None]]:
    """A client for the local instance: the one that runs, else one that is started and stopped again with the block.

    Yields:
        The client, and the instance where it is our own.
    """
    instance = running_instance(settings)
    if instance is not None and instance.address is not None:
        tell(f"using the instance that runs in {instance.home}; it stays up afterwards")
        yield Client(instance.address, instance.token), None
        return
    home = home_of(settings)
    own = start(home, tell, slots=slots, has_lifeline=True, port=0)
    try:
        yield Client(own.address, read_token(home)), own
    finally:
        with interrupts.deferred():
            tell("stopping workers, coordinator, API, Redis and PostgreSQL")
            own.stop()
