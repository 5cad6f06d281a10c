"""The worker's Celery application: that of `service.queue`, with what only a consumer needs."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu import Connection

from service.queue import make_app

_log = logging.getLogger(__name__)
_PAUSE_S = 1.0
_HEALTH_CHECK_S = 5


def make_worker_app(redis_url: str) -> Celery:
    """A Celery application that takes a hint only when a thread is free for it.

    A hint that lay in a busy worker's memory would be lost to the idle ones.
    """
    app = make_app(redis_url)
    app.conf.update(
        worker_disable_prefetch=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_prefetch_count_reduction=False,
        broker_transport_options={
            **app.conf.broker_transport_options,
            # A Redis behind a cut network says nothing: kombu would notice after 51 s, with this after 11.
            "health_check_interval": _HEALTH_CHECK_S,
        },
    )
    return app


class SteadyConsumer(Consumer):
    """A consumer that looks every second whether Redis is back.

    Celery's own waits 2 s longer after each failure, up to 30 s: measured, trials in the queue of a Redis that had been
    away for 15 s were claimed later than two sweeps after its return.
    """

    def ensure_connected(self, conn: Connection) -> Connection:
        """Return once the broker answers; raises Celery's WorkerShutdown where the worker has to stop."""
        n_failures = 0

        def say(error: Exception, _pause_s: float) -> None:
            nonlocal n_failures
            n_failures += 1
            if n_failures == 1:
                _log.warning("Redis does not answer (%s); trying again every %g s", error, _PAUSE_S)

        options: dict[str, Any] = {"interval_start": _PAUSE_S, "interval_step": 0, "interval_max": _PAUSE_S}
        for_ever = self.app.conf.broker_connection_max_retries
        answered = conn.ensure_connection(say, for_ever, callback=maybe_shutdown, **options)
        if n_failures:
            _log.info("Redis answers again")
        return answered
