"""Taking hints from the broker, and leaving them to others while the worker drains."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.worker import WorkController

from workers.app import SteadyConsumer
from workers.pool import WakingPool

_log = logging.getLogger(__name__)


class Consumption:
    """Celery's worker, in the thread that calls `run`."""

    def __init__(self, app: Celery, queues: Sequence[str], training_queue: str | None, n_threads: int) -> None:
        """Prepare it.

        Args:
            training_queue: The one of `queues` whose hints a draining worker leaves to others, if any.
            n_threads: Hints that are obeyed at once.
        """
        self._training_queue = training_queue
        self._is_open = True
        self._controller: Any = WorkController(
            app=app,
            pool=WakingPool,
            consumer_cls=SteadyConsumer,
            concurrency=n_threads,
            queues=list(queues),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )

    def run(self) -> None:
        """Consume hints until the worker is told to stop."""
        self._controller.start()

    def obey(self, state: str) -> None:
        """Take hints or not, as the worker's state in the ledger says. May be called in any thread.

        A hint that a draining worker took would be lost to the others until the next sweep.
        """
        is_open = state != "draining"
        hub = getattr(self._controller, "hub", None)
        if self._training_queue is None or is_open == self._is_open or hub is None:
            return
        self._is_open = is_open
        hub.call_soon(self._switch)

    def _switch(self) -> None:
        """In Celery's thread; while the broker is away the choice is only noted, and holds for the next connection."""
        consumer, queue = self._controller.consumer, self._training_queue
        queues = consumer.app.amqp.queues
        if consumer.task_consumer is None:
            queues.select_add(queues[queue]) if self._is_open else queues.deselect(queue)
        elif self._is_open:
            consumer.add_task_queue(queue)
        else:
            consumer.cancel_task_queue(queue)
        what = "takes hints of the queue %s again" if self._is_open else "drains; leaves hints of queue %s to others"
        _log.info(what, queue)
