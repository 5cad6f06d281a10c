"""The file that says what runs in a home folder, for whoever looks for, asks or stops a local instance."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.children import stop_together
from service.engines import stop_stale
from service.engines.folders import write_private
from service.engines.processes import ProcessIdentity, stop_process
from service.errors import TangentError

HOME_NAME = ".tangent"
_FILE_NAME = "instance.json"
_STOP_ORDER = (("worker", 11.0), ("coordinator", 4.0), ("api", 6.0))
"""Prefixes of the children's names in the order in which they are stopped, and the seconds that they have; Redis and
Postgres come last."""


@dataclass(frozen=True)
class Instance:
    """A local instance as its file records it.

    Attributes:
        supervisor: The process that started everything else.
        address: Where the API answers, None until it does.
        children: Processes by name, such as "worker-cpu"; engines are recorded by `service.engines`.
    """

    home: Path
    supervisor: ProcessIdentity
    address: str | None = None
    children: Mapping[str, ProcessIdentity] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file."""
        return self.home / _FILE_NAME

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
        draft = self.home / f"{_FILE_NAME}.new"
        draft.unlink(missing_ok=True)
        write_private(draft, json.dumps(document, indent=1))
        draft.replace(self.path)


def read_instance(home: Path) -> Instance | None:
    """What `home` records, running or not; None where nothing is recorded.

    Raises:
        TangentError: The file is damaged or belongs to another user, who could have us stop any process.
    """
    path = home / _FILE_NAME
    try:
        if path.stat().st_uid != os.geteuid():
            raise TangentError(f"{path} belongs to another user; use a home of your own (TANGENT_HOME)")
        return _parse(home, path.read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TangentError(f"cannot read {path}: {error.strerror}; use another home (TANGENT_HOME)") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TangentError(f"{path} is damaged; stop what runs there and delete that file") from error


def _parse(home: Path, text: str) -> Instance:
    document = json.loads(text)
    address = document["address"]
    if address is not None and not isinstance(address, str):
        raise TypeError("an address is text")
    children = {name: _identity(child) for name, child in document["children"].items()}
    return Instance(home, _identity(document["supervisor"]), address, children)


def _identity(fields: Mapping[str, float]) -> ProcessIdentity:
    return ProcessIdentity(int(fields["pid"]), float(fields["started"]))


def find_home(start: Path) -> Path:
    """The nearest `.tangent` of this user's, in `start` or above, that held an instance; else `.tangent` in `start`."""
    for folder in (start, *start.parents):
        token = folder / HOME_NAME / "token"
        with contextlib.suppress(OSError):
            if token.stat().st_uid == os.geteuid():
                return folder / HOME_NAME
    return start / HOME_NAME


def read_token(home: Path) -> str:
    """The local bearer token; raises TangentError where there is none for this user."""
    try:
        return (home / "token").read_text().strip()
    except OSError as error:
        raise TangentError(f"cannot read the token {home / 'token'}: {error.strerror}") from error


def stop_instance(instance: Instance, *, deadline_s: float = 60.0) -> list[str]:
    """Stop an instance in good order, or what a dead supervisor left of it, and delete its file.

    Returns:
        Names of what had to be stopped because the supervisor was gone already.
    """
    if instance.is_running:
        stop_process(instance.supervisor, [(signal.SIGTERM, deadline_s), (signal.SIGKILL, 5.0)])
    left = reap_children(instance) + [f"engine (process {pid})" for pid in stop_stale(instance.home)]
    instance.path.unlink(missing_ok=True)
    return left


def reap_children(instance: Instance) -> list[str]:
    """Stop the children that a dead supervisor left; a pid that another process has now is left alone.

    Returns:
        The names of those that ran.
    """
    stopped: list[str] = []
    for names, patience_s in in_stop_order(list(instance.children)):
        running = stop_together([instance.children[name] for name in names], patience_s)
        stopped += [name for name in names if instance.children[name] in running]
    return stopped


def in_stop_order(names: Sequence[str]) -> list[tuple[list[str], float]]:
    """Names that are stopped together, with their seconds: workers first, then the coordinator, then the API."""
    return [([name for name in names if name.startswith(prefix)], patience) for prefix, patience in _STOP_ORDER]
