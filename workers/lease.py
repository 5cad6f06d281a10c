"""The lease of one claimed trial: renewed by a thread, together with what was measured and noted meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from service.errors import StoreUnavailableError
from service.store.database import Database
from service.store.leases import Claim, Wish, renew_lease

_log = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 2.0

Note = Callable[[Any], object]
"""A further statement, called with a connection; harmless when repeated."""


class LeaseLostError(Exception):
    """The trial no longer belongs to this attempt: nothing that it does counts any more."""


class CancelledError(Exception):
    """Somebody asked for the trial's end."""


class Lease:
    """Keeps a claimed trial for as long as the block lasts.

    While Postgres does not answer, everything is kept and tried again. Thread-safe.

    Attributes:
        is_wanted_back: True once the ledger asked for a checkpoint and the trial, to go on with it later.
    """

    def __init__(self, database: Database, claim: Claim, length: timedelta, wake: threading.Event) -> None:
        """Prepare it; whoever sets `wake` has it renewed at once."""
        self._database = database
        self._claim = claim
        self._length = length
        self._measurements: list[Mapping[str, Any]] = []
        self._notes: list[Note] = []
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._is_closed = False
        self._wake = wake
        self.is_wanted_back = False
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_closed = True
        self._wake.set()
        self._thread.join()

    def check(self) -> None:
        """Raise LeaseLostError or CancelledError where that is known; cheap enough for every step."""
        if self._problem is not None:
            raise self._problem

    def add(self, measurement: Mapping[str, Any]) -> None:
        """Have a row of measurements saved with the next renewal."""
        with self._lock:
            self._measurements.append(measurement)

    def note(self, note: Note) -> None:
        """Have a statement executed with the next renewal."""
        with self._lock:
            self._notes.append(note)

    def save_now(self) -> bool:
        """Renew at once, with everything that waits; False where Postgres does not answer."""
        try:
            self._renew()
        except StoreUnavailableError as error:
            _log.warning("Postgres does not answer (%s); training goes on", error)
            return False
        return True

    def report_rung(self) -> bool:
        """Renew at once and have the coordinator decide on what was measured; False where Postgres does not answer."""
        try:
            self._renew(is_rung=True)
        except StoreUnavailableError as error:
            _log.warning("Postgres does not answer (%s); training goes on", error)
            return False
        return True

    def save_soon(self) -> None:
        """Have the thread renew now."""
        self._wake.set()

    def leftovers(self) -> tuple[list[Mapping[str, Any]], list[Note]]:
        """Measurements and notes that are not saved yet; to be saved with the end of the attempt."""
        with self._lock:
            return list(self._measurements), list(self._notes)

    def _keep(self) -> None:
        period = self._length.total_seconds() / 3
        pause = period
        while not isinstance(self._problem, LeaseLostError):
            self._wake.wait(pause)
            self._wake.clear()
            if self._is_closed:
                return
            try:
                pause = period if self.save_now() else min(period, _LONGEST_PAUSE_S)
            except Exception as error:  # noqa: BLE001 (shown to the training thread, which raises it)
                _log.exception("The lease of trial %d cannot be renewed", self._claim.trial_id)
                self._problem = error
                return

    def _renew(self, *, is_rung: bool = False) -> None:
        with self._renewing:
            self._send(is_rung)

    def _send(self, is_rung: bool) -> None:
        measurements, notes = self.leftovers()
        claim = self._claim
        with self._database.transaction() as connection:
            answer = renew_lease(connection, claim.trial_id, claim.attempt, self._length, measurements, is_rung=is_rung)
            if answer is not None:
                for note in notes:
                    note(connection)
        with self._lock:
            del self._measurements[: len(measurements)]
            del self._notes[: len(notes)]
        if answer is None:
            self._problem = LeaseLostError(f"attempt {claim.attempt} of trial {claim.trial_id} has lost its lease")
        elif answer is Wish.CANCEL:
            self._problem = CancelledError("the trial was cancelled")
        elif answer is Wish.HAND_BACK:
            self.is_wanted_back = True
