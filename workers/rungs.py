"""The slot's side of pruning: each epoch is reported at once, and the decision on it is obeyed one epoch later."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from service.domain.trial import Phase
from service.errors import StoreUnavailableError
from service.store.database import Database
from service.store.leases import Claim
from service.store.rungs import Decision, decision_on
from workers.lease import Lease

_log = logging.getLogger(__name__)
_POLL_S = 0.02


class Rungs:
    """Reports the epochs of one claimed trial, and says when it ends.

    A decision on an epoch is obeyed after the next one, and waited for there: so a study with one open trial in each
    cell prunes the same trials with any number of slots, and deciding costs no time while an epoch takes longer. Where
    no coordinator answers for `patience_s`, the trial goes on, and reports as before.
    """

    def __init__(self, database: Database, claim: Claim, lease: Lease, patience_s: float) -> None:
        self._database, self._claim, self._lease, self._patience_s = database, claim, lease, patience_s
        self._is_pruning = claim.phase is Phase.SEARCH and claim.spec["search"]["pruner"] != "none"

    def report(self, epoch: int, stopping: threading.Event) -> Decision | None:
        """Report the epoch, whose measurement the lease holds; the decision to end the trial, or None."""
        if not self._is_pruning or epoch == 0 or not self._lease.report_rung() or epoch == 1:
            return None
        decision = self._await(epoch - 1, stopping.is_set)
        return decision if decision is not None and decision.prune else None

    def _await(self, epoch: int, is_stopping: Callable[[], bool]) -> Decision | None:
        end = time.monotonic() + self._patience_s
        while time.monotonic() < end and not is_stopping():
            self._lease.check()
            try:
                with self._database.transaction() as connection:
                    decision = decision_on(connection, self._claim.trial_id)
            except StoreUnavailableError:
                return None
            if decision is not None and (decision.prune or decision.epoch >= epoch):
                return decision
            time.sleep(_POLL_S)
        _log.warning("trial %d: no decision on epoch %d; training goes on", self._claim.trial_id, epoch)
        return None
