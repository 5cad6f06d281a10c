"""The file that says what runs in a home folder, for whoever looks for, asks or stops a local instance."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.engines import stop_stale
from service.engines.folders import write_private
from service.engines.processes import ProcessIdentity, children_of, stop_process, wait_until_gone
from service.errors import TangentError

HOME_NAME = ".tangent"
STOP_ORDER = ("worker", "coordinator", "api")
"""Prefixes of the children's names, in the order in which they are stopped; Redis and Postgres come last."""


@dataclass(frozen=True)
class Instance:
    """A local instance as its file records it.

    Attributes:
        supervisor: The process that started everything else; None in a damaged file.
        address: Where the API answers, None until it does.
        children: Processes by name, such as "worker-cpu"; engines are recorded by `service.engines`.
    """

    home: Path
    supervisor: ProcessIdentity
    address: str | None = None
    children: Mapping[str, ProcessIdentity] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """True while the supervisor lives."""
        return self.supervisor.find() is not None

    @property
    def token(self) -> str:
        """The bearer token; raises TangentError where its file cannot be read."""
        return read_token(self.home)

    def write(self) -> None:
        """Replace the file in one step."""
        document = {
            "supervisor": vars(self.supervisor),
            "address": self.address,
            "children": {name: vars(child) for name, child in self.children.items()},
        }
        draft = self.home / "instance.json.new"
        draft.unlink(missing_ok=True)
        write_private(draft, json.dumps(document, indent=1))
        draft.replace(self.home / "instance.json")


def read_instance(home: Path) -> Instance | None:
    """What `home` records, running or not; None where nothing is recorded.

    Raises:
        TangentError: The file is damaged or belongs to another user.
    """
    path = home / "instance.json"
    try:
        document = json.loads(path.read_text())
        children = {name: ProcessIdentity(**child) for name, child in document["children"].items()}
        return Instance(home, ProcessIdentity(**document["supervisor"]), document["address"], children)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise TangentError(f"{path} belongs to another user; use a home of your own (TANGENT_HOME)") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TangentError(f"{path} is damaged; stop what runs there and delete that file") from error


def find_home(start: Path) -> Path:
    """The nearest `.tangent` with an instance file in `start` or above it, else `.tangent` in `start`."""
    for folder in (start, *start.parents):
        if (folder / HOME_NAME / "instance.json").is_file():
            return folder / HOME_NAME
    return start / HOME_NAME


def read_token(home: Path) -> str:
    """The local bearer token; raises TangentError where there is none for this user."""
    try:
        return (home / "token").read_text().strip()
    except OSError as error:
        raise TangentError(f"cannot read the token {home / 'token'}: {error.strerror}") from error


def stop_instance(instance: Instance, *, deadline_s: float = 60.0) -> list[str]:
    """Stop an instance in good order, or what a dead supervisor left of it.

    Returns:
        Names of what had to be stopped because the supervisor was gone already.
    """
    if instance.is_running:
        stop_process(instance.supervisor, [(signal.SIGTERM, deadline_s), (signal.SIGKILL, 5.0)])
    return reap_children(instance) + [f"engine (process {pid})" for pid in stop_stale(instance.home)]


def reap_children(instance: Instance) -> list[str]:
    """Stop the children that a dead supervisor left; a pid that another process has now is left alone.

    Returns:
        The names of those that ran.
    """
    stopped = []
    for name in in_stop_order(list(instance.children)):
        child = instance.children[name]
        below = children_of(child)
        if stop_process(child, [(signal.SIGTERM, 12.0), (signal.SIGKILL, 5.0)]):
            stopped.append(name)
        wait_until_gone(below, 2.0)
        for process in below:
            stop_process(process, [(signal.SIGKILL, 5.0)])
    return stopped


def in_stop_order(names: Sequence[str]) -> list[str]:
    """Workers first, then the coordinator, then the API."""
    return sorted(names, key=lambda name: next((i for i, p in enumerate(STOP_ORDER) if name.startswith(p)), 99))
