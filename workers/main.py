"""The worker's process: `python -m workers --queues cpu`. It never imports torch; its slots do."""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from celery.worker import WorkController
from celery.worker import state as celery_state

from service.config import Settings, load_settings
from service.errors import QueueUnavailableError, StoreUnavailableError, TangentError
from service.queue import QUEUES, announce_work
from service.store.database import Database
from workers.app import make_worker_app
from workers.logs import configure_logging
from workers.machine import NOTHING_PROBED, count_slots, plan_slots, probe_machine
from workers.readiness import wait_for_engines
from workers.registration import Presence, registration_of
from workers.signals import obey_signals
from workers.supervision import Supervisor
from workers.tasks import add_tasks

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker until it is told to stop; returns the exit status."""
    try:
        queues = _parse(arguments)
        settings = load_settings()
        worker_id = uuid4()
        configure_logging(settings.log_level, f"worker {worker_id.hex[:8]}")
        return Worker(worker_id, queues, settings).run()
    except TangentError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _parse(arguments: Sequence[str] | None) -> tuple[str, ...]:
    parser = argparse.ArgumentParser(prog="python -m workers", description="Run trials of a queue, or reports.")
    parser.add_argument(
        "--queues", default="cpu", help="cpu or gpu, and reports, separated by commas (default: %(default)s)"
    )
    queues = tuple(parser.parse_args(arguments).queues.split(","))
    if unknown := [name for name in queues if name not in QUEUES]:
        parser.error(f"there is no queue {unknown[0]!r}; there are {', '.join(QUEUES)}")
    if "cpu" in queues and "gpu" in queues:
        parser.error("a worker's slots serve one device: start one worker for cpu and one for gpu")
    return queues


class Worker:
    """Everything that a worker's process holds."""

    def __init__(self, worker_id: UUID, queues: tuple[str, ...], settings: Settings) -> None:
        self._worker_id = worker_id
        self._queues = queues
        self._settings = settings
        self._database = Database(settings.require_database_url(), application_name="tangent-worker", pool_size=4)
        self._app = make_worker_app(settings.require_redis_url())
        self._stopping = threading.Event()
        self._supervisor: Supervisor | None = None

    def run(self) -> int:
        """Start everything, consume hints until a signal comes, and stop everything in good order."""
        obey_signals(self._stop, self._kill)
        found = self._probe()
        wait_for_engines(self._settings, self._app, self._stopping)
        if self._stopping.is_set():
            return 0
        presence = self._presence(found)
        try:
            environment_id = presence.start(self._stopping)
            plans = plan_slots(self._training_queue, self._settings, found, self._worker_id, environment_id)
            self._supervisor = Supervisor(plans, self._database)
            self._serve(self._supervisor)
        except StoreUnavailableError as error:
            _log.warning("stopped while Postgres does not answer: %s", error)
        finally:
            self._kill()
            presence.end()
            self._database.close()
        _log.info("stopped")
        return 0

    @property
    def _training_queue(self) -> str | None:
        return next((name for name in self._queues if name != "reports"), None)

    def _probe(self) -> Mapping[str, Any]:
        if self._training_queue is None:
            return NOTHING_PROBED
        found = probe_machine(self._training_queue, self._settings)
        for problem in found["problems"]:
            _log.error("%s", problem)
        return found

    def _presence(self, found: Mapping[str, Any]) -> Presence:
        n_slots = count_slots(self._training_queue, self._settings, found)
        registration = registration_of(self._worker_id, self._queues, n_slots, found)
        return Presence(self._database, registration, self._settings.lease / 3)

    def _serve(self, supervisor: Supervisor) -> None:
        """Start the slots and consume hints in this thread until told to stop; then wait for the slots."""
        supervisor.start()
        add_tasks(self._app, supervisor, self._database)
        n_threads = supervisor.n_slots + ("reports" in self._queues)
        _log.info("serving %s with %d slots", ", ".join(self._queues), supervisor.n_slots)
        self._look_for_work(supervisor.n_slots)
        if not self._stopping.is_set():
            WorkController(
                app=self._app,
                pool="threads",
                concurrency=n_threads,
                queues=list(self._queues),
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
            ).start()
        supervisor.stop()
        supervisor.join()

    def _look_for_work(self, n_slots: int) -> None:
        """Hint at what may have been waiting before any worker was there."""
        if self._training_queue is None:
            return
        try:
            announce_work(self._app, self._training_queue, n_slots)
        except QueueUnavailableError as error:
            _log.warning("%s", error)

    def _stop(self) -> None:
        self._stopping.set()
        celery_state.should_stop = 0  # type: ignore[assignment]  # looked at in each turn of its loop
        if self._supervisor is not None:
            self._supervisor.stop()

    def _kill(self) -> None:
        if self._supervisor is not None:
            self._supervisor.kill()
