"""A process that is stopped in the middle of a transaction holds its locks for a lease, not for ever."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.trial import Outcome, TrialState
from service.errors import StoreUnavailableError
from service.store.database import Database
from service.store.leases import hand_back_trial, renew_lease
from tests.integration.store.support import GONE, LEASE, add_study, assert_consistent, claim_one


def test_trial_of_a_transaction_that_nobody_goes_on_with_is_taken_back(database_url, ledger):
    """The slot has written and not committed; its next statement finds that its session was ended."""
    add_study(ledger)
    claimed = claim_one(ledger, lease=GONE)
    slot = Database(database_url, application_name="tangent-slot", abandoned_after=timedelta(seconds=0.5))
    with pytest.raises(StoreUnavailableError, match="idle-in-transaction"), slot.transaction() as stopped:  # noqa: PT012
        assert renew_lease(stopped, claimed.trial_id, claimed.attempt, LEASE) is not None
        with ledger.transaction() as sweep:
            sweep.execute(text("SET LOCAL lock_timeout = '20s'"))
            arguments = {"outcome": Outcome.LOST, "reason": "the lease ended", "only_expired": True}
            state = hand_back_trial(sweep, claimed.trial_id, claimed.attempt, **arguments)
        assert state is TrialState.WAITING
        stopped.execute(text("SELECT 1"))
    slot.close()
    assert_consistent(ledger)


@pytest.mark.parametrize(("query", "expected"), [("", "500ms"), ("&options=-c%20work_mem%3D5MB", "0")])
def test_options_of_the_address_are_kept_and_replace_ours(database_url, query, expected):
    database = Database(database_url + query, application_name="tangent-tests", abandoned_after=timedelta(seconds=0.5))
    with database.transaction() as connection:
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == expected
        assert (connection.execute(text("SHOW work_mem")).scalar_one() == "5MB") == bool(query)
    database.close()
