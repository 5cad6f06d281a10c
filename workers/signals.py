"""SIGTERM and SIGINT: the first stops in good order, the second at once."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable


def obey_signals(stop: Callable[[], None], kill: Callable[[], None]) -> None:
    """Call `stop` in a thread of its own at the first signal, which may therefore take locks and time.

    Args:
        kill: Called inside the handler of the second signal, after which the process ends at once; takes no locks.
    """
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    has_come = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if not received.empty() or has_come.is_set():
            kill()
            os._exit(128 + number)
        received.put(number)

    def attend() -> None:
        received.get()
        has_come.set()
        stop()

    threading.Thread(target=attend, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
