"""The slot's side of reuse: a training that the ledger has already is taken from there, and checked now and then."""

from __future__ import annotations

import hashlib
import logging

from service.domain.trial import TrialId
from service.store.database import Database
from service.store.leases import Claim, Finish
from service.store.reuse import Twin, find_twin, note_revalidation, take_over

_log = logging.getLogger(__name__)
REVALIDATED_SHARE = 1 / 20
"""Of the trials that could be taken over, those that are run all the same, to see whether the bits are equal."""


def is_revalidated(trial_id: TrialId, content_key: str) -> bool:
    """Whether a trial with a twin is run all the same: a draw that depends on the two only."""
    digest = hashlib.sha256(f"{trial_id} {content_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < REVALIDATED_SHARE * 2**64


class Reuse:
    """What one claimed trial may take from the ledger."""

    def __init__(self, database: Database, claim: Claim) -> None:
        self._database, self._claim = database, claim
        self._twin: Twin | None = None
        self._epochs: dict[int, float | None] = {}

    def take(self, content_key: str) -> bool:
        """End the trial with its twin's result; False where it has to run.

        Raises:
            StoreUnavailableError: Postgres does not answer; then the trial has to run.
        """
        claim = self._claim
        with self._database.transaction() as connection:
            twin = find_twin(connection, claim.trial_id, claim.attempt, content_key)
            if twin is None:
                return False
            if is_revalidated(claim.trial_id, content_key):
                _log.info("trial %d could be taken from %s; it is run to check that", claim.trial_id, twin.name)
                self._twin = twin
                return False
            is_taken = take_over(connection, claim.trial_id, claim.attempt, content_key, twin)
        _log.info("trial %d: %s %s", claim.trial_id, "taken from" if is_taken else "came too late for", twin.name)
        return True

    def measured(self, epoch: int, value: float | None) -> None:
        """Note an epoch of a trial that is run to check its twin."""
        self._epochs[epoch] = value

    def compare(self, finish: Finish) -> None:
        """Say on a trial that was run to check its twin whether all bits are equal; nothing for any other."""
        twin = self._twin
        if twin is None or self._claim.attempt > 1:  # a resumed attempt has not seen all epochs
            return
        ran = (finish.outcome, finish.value, finish.test_value, finish.n_steps, self._epochs)
        is_equal = ran == (twin.outcome, twin.value, twin.test_value, twin.n_steps, twin.epochs)
        if not is_equal:
            _log.error("trial %d differs from %s, which is the same training", self._claim.trial_id, twin.name)
        with self._database.transaction() as connection:
            note_revalidation(connection, self._claim.trial_id, twin, is_equal=is_equal)
