"""The worker's process: `python -m workers --queues cpu`. It never imports torch; its slots do."""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from celery.worker import state as celery_state

from service.config import Settings, load_settings
from service.errors import QueueUnavailableError, StoreUnavailableError, TangentError
from service.queue import QUEUES, announce_work
from service.store.database import Database
from service.store.workers import Registration
from workers.app import make_worker_app
from workers.checkpoint_folder import CheckpointFolder
from workers.consuming import Consumption
from workers.listening import Listener
from workers.logs import configure_logging
from workers.machine import slot_environments
from workers.readiness import wait_for_engines
from workers.registration import Presence, registration_of
from workers.signals import obey_signals
from workers.supervision import Supervisor
from workers.tasks import add_tasks

_log = logging.getLogger(__name__)
_CHECKPOINT_AGE = timedelta(days=14)


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
        self._training_queue = next((name for name in queues if name != "reports"), None)
        self._database = Database(settings.require_database_url(), application_name="tangent-worker", pool_size=4)
        self._app = make_worker_app(settings.require_redis_url())
        self._stopping = threading.Event()
        environments = slot_environments(self._training_queue, settings)
        self._checkpoints = CheckpointFolder.of(settings)
        self._checkpoints.remove_old(_CHECKPOINT_AGE)
        self._supervisor = Supervisor(worker_id, self._training_queue, environments, self._database, self._checkpoints)

    def run(self) -> int:
        """Start everything, consume hints until a signal comes, and stop everything in good order."""
        obey_signals(self._stop, self._supervisor.kill)
        try:
            found = self._supervisor.start()
            for problem in found[0]["problems"] if found else ():
                _log.error("%s", problem)
            wait_for_engines(self._settings, self._app, self._stopping)
            if not self._stopping.is_set():
                self._serve(registration_of(self._worker_id, self._queues, self._supervisor.n_slots, found))
        except StoreUnavailableError as error:
            _log.warning("stopped while Postgres does not answer: %s", error)
        finally:
            self._supervisor.stop()
            self._supervisor.join()
            self._database.close()
        _log.info("stopped")
        return 0

    def _serve(self, registration: Registration) -> None:
        """Be present in the ledger, and consume hints in this thread until told to stop."""
        add_tasks(self._app, self._supervisor, self._database)
        n_threads = self._supervisor.n_slots + ("reports" in self._queues)
        consumption = Consumption(self._app, self._queues, self._training_queue, n_threads)
        presence = Presence(self._database, registration, self._settings.lease / 3, consumption.obey)
        self._supervisor.begin(presence.start(self._stopping))
        self._listen(presence)
        _log.info("serving %s with %d slots", ", ".join(self._queues), self._supervisor.n_slots)
        self._look_for_work()
        try:
            if not self._stopping.is_set():
                consumption.run()
            self._supervisor.stop()
            self._supervisor.join()
        finally:
            presence.end()

    def _listen(self, presence: Presence) -> None:
        listener = Listener(
            self._database, look=self._supervisor.look, beat=presence.beat_now, forget=self._checkpoints.remove
        )
        listener.start(self._stopping)

    def _look_for_work(self) -> None:
        """Hint at what may have been waiting before any worker was there."""
        if self._training_queue is None:
            return
        try:
            announce_work(self._app, self._training_queue, self._supervisor.n_slots)
        except QueueUnavailableError as error:
            _log.warning("%s", error)

    def _stop(self) -> None:
        self._stopping.set()
        celery_state.should_stop = 0  # type: ignore[assignment]  # looked at in each turn of its loop
        self._supervisor.stop()
