"""Celery's thread pool, with an event loop that hears at once that a thread is free again."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from celery.concurrency.thread import TaskPool
from kombu.asynchronous import Hub


class WakingPool(TaskPool):
    """Threads whose next hint is fetched as soon as one of them is free.

    Where a hint is taken only when a thread is free for it (`worker_disable_prefetch`), Celery's loop looks whether one
    is only once a second: measured, 0.6 to 0.9 s between a hint and its claim, 0.01 s with this class. A search that
    suggests one trial after another would wait for that in each of its trials.
    """

    _hub: Hub | None = None

    def register_with_event_loop(self, loop: Hub) -> None:
        """Remember the loop; called again after each reconnection to the broker."""
        self._hub = loop

    def on_apply(self, *args: Any, **kwargs: Any) -> Any:
        """Run a task in a thread."""
        result = super().on_apply(*args, **kwargs)
        result.f.add_done_callback(self._wake)
        return result

    def _wake(self, _: Future[Any]) -> None:
        if self._hub is not None:
            self._hub.call_soon(_do_nothing)


def _do_nothing() -> None:
    pass
