"""Hearing what happens in the ledger: a request to a running trial is seen at once and not at its next renewal."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Container, Iterable

from service.domain.trial import TrialId
from service.errors import StoreUnavailableError
from service.store.database import Database

_log = logging.getLogger(__name__)
_LISTEN_S = 1.0
_CONCERN_TRIALS = ("study", "requeue")


class Listener:
    """A thread that hears Postgres's notifications, from `start` until `stopping` is set.

    What is missed while Postgres is away costs time only: leases, heartbeats and the age of checkpoints say it later.
    """

    def __init__(
        self,
        database: Database,
        *,
        look: Callable[[Container[int]], None],
        beat: Callable[[], None],
        forget: Callable[[TrialId], None],
    ) -> None:
        """Prepare it.

        Args:
            look: Called with the studies whose trials may have been asked to stop.
            beat: Called where workers were told to drain, or no longer to.
            forget: Called with each deleted trial that may have left checkpoints.
        """
        self._database = database
        self._look, self._beat, self._forget = look, beat, forget

    def start(self, stopping: threading.Event) -> None:
        """Listen until `stopping` is set."""
        threading.Thread(target=self._listen, args=(stopping,), name="listen", daemon=True).start()

    def _listen(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                for batch in self._database.listen(_LISTEN_S):
                    if stopping.is_set():
                        return
                    self.hear(batch)
            except StoreUnavailableError:
                stopping.wait(_LISTEN_S)  # the heartbeat says in the log that Postgres is away

    def hear(self, payloads: Iterable[str]) -> None:
        """Pass notifications on to those whom they concern."""
        notices = [json.loads(payload) for payload in payloads]
        if studies := {notice[0] for notice in notices if notice[2] in _CONCERN_TRIALS}:
            self._look(studies)
        if any(notice[2] == "workers" for notice in notices):
            self._beat()
        for notice in notices:
            if notice[2] == "deleted":
                for trial_id in notice[3]:
                    self._forget(TrialId(trial_id))
