"""Workers that take no new trials, and how their rows change with heartbeats, sweeps and their end."""

from datetime import timedelta
from uuid import uuid4

import pytest

from service.domain.trial import Outcome
from service.store.leases import finish_trial, hand_back_trial, renew_lease
from service.store.workers import drain, heartbeat, queue_depths, register_worker, sign_off, sweep_workers
from tests.integration.store.support import (
    FINISHED,
    LEASE,
    WORKER,
    add_study,
    assert_consistent,
    claim,
    claim_one,
    register,
    registration,
    state_of,
)

AT_ONCE = timedelta(seconds=-1)


def worker_state(ledger, worker_id=WORKER):
    row = state_of(ledger, "workers", worker_id)
    return row.state, row.stopped_at is not None


def call(ledger, function, *arguments, **options):
    with ledger.transaction() as connection:
        return function(connection, *arguments, **options)


def test_heartbeat_that_comes_after_the_end_does_not_bring_a_worker_back(ledger):
    register(ledger, worker_id=WORKER)
    call(ledger, sign_off, WORKER)
    assert call(ledger, heartbeat, WORKER) == "offline"
    assert worker_state(ledger) == ("offline", True)


def test_heartbeat_brings_a_worker_back_that_was_only_silent(ledger):
    register(ledger, worker_id=WORKER)
    assert call(ledger, sweep_workers, AT_ONCE) == 1
    assert worker_state(ledger) == ("offline", True)
    assert call(ledger, heartbeat, WORKER) == "online"
    assert worker_state(ledger) == ("online", False)


def test_draining_worker_claims_nothing_and_keeps_what_it_runs(ledger):
    add_study(ledger, 3)
    register(ledger, worker_id=WORKER)
    running = claim_one(ledger)
    assert call(ledger, drain, WORKER, True) == "draining"
    assert call(ledger, claim) is None
    with ledger.transaction() as connection:
        assert renew_lease(connection, running.trial_id, 1, LEASE) == "go on"
        assert finish_trial(connection, running.trial_id, 1, FINISHED)
    assert call(ledger, claim) is None
    assert call(ledger, drain, WORKER, False) == "online"
    assert claim_one(ledger).number == 1
    assert_consistent(ledger)


def test_slot_whose_worker_has_no_row_claims(ledger):
    """A heartbeat registers it anew; a study must not wait for that."""
    add_study(ledger, 1)
    assert claim_one(ledger).number == 0


@pytest.mark.parametrize("what_happens", ["heartbeat", "registered again", "silent for a while"])
def test_draining_lasts_until_somebody_ends_it(ledger, what_happens):
    register(ledger, worker_id=WORKER)
    call(ledger, drain, WORKER, True)
    if what_happens == "silent for a while":
        assert call(ledger, sweep_workers, AT_ONCE) == 1
        assert worker_state(ledger)[0] == "offline"
    if what_happens == "registered again":
        call(ledger, register_worker, registration(worker_id=WORKER))
    assert call(ledger, heartbeat, WORKER) == "draining"


def test_worker_that_has_ended_or_never_was_cannot_be_drained(ledger):
    register(ledger, worker_id=WORKER)
    call(ledger, sign_off, WORKER)
    assert call(ledger, drain, WORKER, True) == "offline"
    assert call(ledger, drain, uuid4(), True) is None


def test_trials_of_draining_workers_occupy_no_slot_of_the_others(ledger):
    """Else the sweep would think that the other worker's free slots are busy, and send them no hint."""
    add_study(ledger, 3)
    register(ledger, worker_id=WORKER, n_slots=1)
    claim_one(ledger)
    register(ledger, worker_id=uuid4(), n_slots=1)
    call(ledger, drain, WORKER, True)
    (depth,) = call(ledger, queue_depths)
    assert (depth.n_claimable, depth.n_running, depth.n_slots) == (2, 0, 1)


def test_attempts_before_a_retry_count_neither_towards_the_cap_nor_towards_the_time_limit(ledger):
    add_study(ledger, 1, attempts=2)
    for _ in range(2):
        lost = claim_one(ledger)
        call(ledger, hand_back_trial, lost.trial_id, lost.attempt, outcome=Outcome.LOST, reason="gone")
    with ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE attempts SET ended_at = started_at + interval '1 day'")
        connection.exec_driver_sql("UPDATE studies SET n_waiting = 1, n_fail = 0")
        connection.exec_driver_sql("UPDATE trials SET state = 'WAITING', outcome = NULL, n_attempts_forgiven = attempt")
    again = claim_one(ledger)
    assert again.attempt == 3
    assert 599 < again.deadline_s <= 600
    for attempt, state in ((3, "WAITING"), (4, "FAIL")):
        end = call(ledger, hand_back_trial, again.trial_id, attempt, outcome=Outcome.LOST, reason="gone")
        assert end == state
        call(ledger, claim)
    assert_consistent(ledger)
