"""The worker's Celery application: that of `service.queue`, with what only a consumer needs."""

from __future__ import annotations

from celery import Celery

from service.queue import make_app


def make_worker_app(redis_url: str) -> Celery:
    """A Celery application that takes a hint only when a thread is free for it.

    A hint that lay in a busy worker's memory would be lost to the idle ones.
    """
    app = make_app(redis_url)
    app.conf.update(
        worker_disable_prefetch=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_prefetch_count_reduction=False,
    )
    return app
