"""Transactions that outlive a Postgres that is away for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from service.errors import StoreUnavailableError
from service.store.database import Database

T = TypeVar("T")
_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


def persist(
    database: Database, work: Callable[[Any], T], *, stopping: threading.Event, patience_s: float = 0.0, what: str
) -> T:
    """Do `work` in one transaction, again and again while Postgres does not answer.

    Args:
        work: Called with a connection; harmless when repeated after it was committed.
        stopping: Once set, patience ends.
        patience_s: Seconds of patience that are left then.
        what: For the log, such as "finish trial 7".

    Raises:
        StoreUnavailableError: Postgres does not answer, and patience has ended.
    """
    pause, give_up_at = _FIRST_PAUSE_S, None
    while True:
        try:
            with database.transaction() as connection:
                return work(connection)
        except StoreUnavailableError as error:
            if stopping.is_set():
                give_up_at = give_up_at or time.monotonic() + patience_s
                if time.monotonic() >= give_up_at:
                    raise
            if pause == _FIRST_PAUSE_S:
                _log.warning("Postgres does not answer (%s); trying again to %s", error, what)
            _sleep(pause, stopping)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _sleep(pause: float, stopping: threading.Event) -> None:
    """Wait; once stopping, in short steps, because little time is left."""
    if stopping.is_set():
        time.sleep(min(pause, 0.2))
    else:
        stopping.wait(pause)
