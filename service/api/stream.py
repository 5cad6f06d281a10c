"""Event streams: one LISTEN thread a process wakes them, the ledger is what they read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from service.domain.trial import StudyId
from service.errors import NotFoundError, StoreUnavailableError
from service.events import EventBatch, read_after
from service.store.database import Database

log = logging.getLogger("tangent.api")

_LISTEN_S = 1.0
# Trials of a second each on many slots would wake every reader many times a second; so it reads batches.
_BATCH_S = 0.1


class Hub:
    """Wakes the streams of a study when Postgres notifies of it.

    A missed notification costs time only: streams look at the ledger from time to time by themselves.
    `start` and the subscriptions belong to one event loop.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listen", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_closed(self) -> bool:
        """True once every stream has to end."""
        return self._stop.is_set()

    def start(self) -> None:
        """Start listening; called in the event loop that the streams run in."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def close(self) -> None:
        """End every stream, so that the server can stop; may be called from a signal handler of the loop."""
        self._stop.set()
        self._wake_all()

    def join(self) -> None:
        """Wait until the thread has closed its connection."""
        if self._thread.is_alive():
            self._thread.join(timeout=2 * _LISTEN_S)

    @contextlib.contextmanager
    def subscription(self, study_id: StudyId) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happened to the study."""
        woken = asyncio.Event()
        self._waiting.setdefault(study_id, set()).add(woken)
        try:
            yield woken
        finally:
            self._waiting[study_id].discard(woken)
            if not self._waiting[study_id]:
                del self._waiting[study_id]

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                for batch in self._database.listen(_LISTEN_S):
                    if self._stop.is_set():
                        return
                    self._pass_on({json.loads(payload)[0] for payload in batch})
            except StoreUnavailableError as error:
                log.warning("Postgres does not answer, listening again: %s", error)
                self._stop.wait(_LISTEN_S)

    def _pass_on(self, study_ids: set[int]) -> None:
        if study_ids and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed in the same moment
                self._loop.call_soon_threadsafe(self._wake, study_ids)

    def _wake(self, study_ids: set[int]) -> None:
        for study_id in study_ids:
            for woken in self._waiting.get(study_id, ()):
                woken.set()

    def _wake_all(self) -> None:
        self._pass_on(set(self._waiting))


async def follow(
    hub: Hub, database: Database, study_id: StudyId, after: int, poll_s: float
) -> AsyncIterator[dict[str, Any]]:
    """Yield a study's events above the revision `after`, as they happen, each once.

    Ends after the last event of a study that has ended, where the process stops, and where Postgres fails: the reader
    comes back with the last revision that it has seen.

    Args:
        poll_s: How long to wait at most before looking without being woken.
    """
    with hub.subscription(study_id) as woken:
        while not hub.is_closed:
            woken.clear()
            try:
                batch = await run_in_threadpool(_read, database, study_id, after)
            except (StoreUnavailableError, NotFoundError) as error:
                log.warning("the event stream of study %s ends: %s", study_id, error)
                return
            for event in batch.events:
                yield event
                after = event["revision"]
            if batch.is_complete:
                return
            if not batch.events:
                await _wait(woken, poll_s)
            await asyncio.sleep(_BATCH_S)


def _read(database: Database, study_id: StudyId, after: int) -> EventBatch:
    with database.transaction() as connection:
        return read_after(connection, study_id, after)


async def _wait(woken: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(woken.wait(), timeout_s)
