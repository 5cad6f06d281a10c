"""Reports for pages: the kept one at once, a newer one from a worker where the study has gone on."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from pydantic import SecretStr

from service import queue
from service.domain.trial import StudyId
from service.errors import QueueUnavailableError
from service.store.dashboard_study import latest_report
from service.store.database import Connection
from service.store.studies import StudyRow

_log = logging.getLogger("tangent.dashboard")
_EVERY_S = 5.0
_MAX_KNOWN = 1000


@dataclass(frozen=True)
class ShownReport:
    """A report as a page shows it.

    Attributes:
        report: Without raw values; None where there is none yet.
        revision: The study's when it was computed.
        is_current: The study has not changed since.
    """

    report: dict[str, Any] | None
    revision: int
    is_current: bool


@dataclass
class FreshReports:
    """Asks workers for reports, of one study at most every five seconds; thread-safe."""

    redis_url: SecretStr | None
    _app: Celery | None = None
    _asked: dict[StudyId, tuple[int, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def show(self, connection: Connection, row: StudyRow) -> ShownReport:
        """The latest report that is kept; a newer one is asked for where there is one to be had."""
        kept = latest_report(connection, row.id)
        revision = kept[1] if kept else 0
        is_current = kept is not None and revision == row.revision
        if not is_current and row.revision > 1:
            self._ask(row.id, row.revision)
        return ShownReport(kept[0] if kept else None, revision, is_current)

    def _ask(self, study_id: StudyId, revision: int) -> None:
        with self._lock:
            asked, when = self._asked.get(study_id, (0, 0.0))
            if self.redis_url is None or asked == revision or time.monotonic() - when < _EVERY_S:
                return
            if len(self._asked) >= _MAX_KNOWN:
                self._asked.clear()
            self._asked[study_id] = (revision, time.monotonic())
        threading.Thread(target=self._send, args=(study_id,), name="ask", daemon=True).start()  # Redis may hang

    def _send(self, study_id: StudyId) -> None:
        with self._lock:
            if self._app is None and self.redis_url is not None:
                self._app = queue.make_app(self.redis_url.get_secret_value())
            app = self._app
        try:
            if app is not None:
                queue.ask_for_report(app, study_id)
        except QueueUnavailableError as error:
            _log.warning("no new report of study %s is asked for: %s", study_id, error)
