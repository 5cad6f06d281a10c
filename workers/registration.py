"""The worker's row in the ledger: written at the start, renewed by a thread, closed at the end."""

from __future__ import annotations

import logging
import os
import platform
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from service.errors import StoreUnavailableError
from service.store.database import Database
from service.store.workers import Registration, heartbeat, register_worker, sign_off
from workers.patience import persist

_log = logging.getLogger(__name__)
_LAST_BEAT_S = 1.5


def registration_of(
    worker_id: UUID, queues: Sequence[str], n_slots: int, found: Sequence[Mapping[str, Any]]
) -> Registration:
    """What a worker says of itself, from what its slots found; nothing where it has no slots."""
    first = found[0] if found else {}
    devices = {name: None for entry in found for name in entry["devices"]}
    return Registration(
        worker_id=worker_id,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        queues=tuple(queues),
        devices=tuple(devices),
        n_slots=n_slots,
        code_revision=first.get("code_revision", ""),
        optimizers=first.get("optimizers", {}),
        workloads=first.get("workloads", {}),
        environment=first.get("environment") or {"python": platform.python_version(), "platform": platform.platform()},
    )


class Presence:
    """Says in the ledger that the worker lives, from `start` to `end`."""

    def __init__(
        self,
        database: Database,
        registration: Registration,
        period: timedelta,
        obey: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare it.

        Args:
            obey: Called with the worker's state in the ledger after each heartbeat.
        """
        self._database, self._obey = database, obey
        self._registration = registration
        self._period_s = period.total_seconds()
        self._ending = threading.Event()
        self._is_due = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self, stopping: threading.Event) -> str:
        """Register; returns the id of the environment. Waits for Postgres until `stopping` is set."""
        environment_id = persist(
            self._database,
            lambda connection: register_worker(connection, self._registration),
            stopping=stopping,
            what="register this worker",
        )
        self._thread.start()
        return environment_id

    def beat_now(self) -> None:
        """Say that the worker lives, and hear its state, without waiting for the next heartbeat."""
        self._is_due.set()

    def end(self) -> None:
        """Sign off, unless Postgres does not answer; silence says the same a little later."""
        self._ending.set()
        self._is_due.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_BEAT_S)  # a beat after the sign-off would take it back
        try:
            with self._database.transaction() as connection:
                sign_off(connection, self._registration.worker_id)
        except StoreUnavailableError as error:
            _log.warning("cannot sign off: %s", error)

    def _beat(self) -> None:
        is_silent = False
        while True:
            self._is_due.wait(self._period_s)
            self._is_due.clear()
            if self._ending.is_set():
                return
            try:
                with self._database.transaction() as connection:
                    state = heartbeat(connection, self._registration.worker_id)
                    if state is None:
                        register_worker(connection, self._registration)
                self._obey(state or "online")
                is_silent = False
            except StoreUnavailableError as error:
                if not is_silent:
                    _log.warning("Postgres does not answer: %s", error)
                is_silent = True
            except Exception:  # noqa: BLE001 (a worker that cannot speak may still train)
                _log.exception("the heartbeat failed")
