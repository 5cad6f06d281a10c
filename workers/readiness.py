"""Waiting for Postgres and Redis when a worker starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from celery import Celery
from kombu.exceptions import OperationalError

from service.config import Settings
from service.errors import QueueUnavailableError, StoreUnavailableError
from service.store.migrate import current_revision, head_revision

_log = logging.getLogger(__name__)
_PAUSE_S = 1.0
_PAUSES_PER_LINE = 15


def wait_for_engines(settings: Settings, app: Celery, stopping: threading.Event) -> None:
    """Return when the ledger is there in this code's version and the broker answers, or when `stopping` is set."""
    _wait_for(lambda: check_ledger(settings.require_database_url()), stopping)
    _wait_for(lambda: check_broker(app), stopping)


def _wait_for(check: Callable[[], None], stopping: threading.Event) -> None:
    said, n_pauses = "", 0
    while not stopping.is_set():
        try:
            check()
            return
        except (StoreUnavailableError, QueueUnavailableError) as error:
            if str(error) != said or n_pauses % _PAUSES_PER_LINE == 0:
                _log.warning("waiting: %s", error)
            said = str(error)
        n_pauses += 1
        stopping.wait(_PAUSE_S)


def check_ledger(url: str) -> None:
    """Raise StoreUnavailableError where Postgres does not answer, or has another schema than this code."""
    try:
        found, needed = current_revision(url), head_revision()
    except StoreUnavailableError as error:
        raise StoreUnavailableError(f"Postgres does not answer: {error}") from error
    if found != needed:
        raise StoreUnavailableError(
            f"the ledger is at schema revision {found}, this worker needs {needed}: migrate the ledger, "
            "or install the version of Tangent that belongs to it"
        )


def check_broker(app: Celery) -> None:
    """Raise QueueUnavailableError where Redis does not answer."""
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except (OperationalError, ConnectionError, TimeoutError) as error:
        raise QueueUnavailableError(f"Redis does not answer: {error}") from error
