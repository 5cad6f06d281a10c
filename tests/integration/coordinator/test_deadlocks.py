"""A coordinator and slots that want the same rows at the same moment, in the one order that would be a deadlock."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.study import SearchPlan
from service.domain.trial import Outcome
from service.store.leases import Finish, finish_trial
from tests.integration.coordinator.support import (
    coordinating,
    row_of,
    submit,
    toy,
    wait_for,
    wait_for_end,
)
from tests.integration.store.support import (
    GONE,
    add_study,
    assert_consistent,
    claim_one,
    make_study,
    own_database,
    wait_until_blocked,
)

DEADLOCKS = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")


@pytest.fixture
def pool(database_url):
    with own_database(database_url) as database:
        yield database


def finish_behind_the_coordinator(ledger, pool, claimed, database_url):
    """Hold the study's row until the coordinator waits for it, and behind it the slot that has its trial."""
    answers = []

    def finish():
        with pool.transaction() as connection:
            answers.append(finish_trial(connection, claimed.trial_id, claimed.attempt, toy(claimed)))

    thread = threading.Thread(target=finish)
    with ledger.transaction() as holder:
        holder.execute(text("SELECT id FROM studies FOR NO KEY UPDATE"))
        coordinator = coordinating(database_url)
        coordinator.__enter__()
        wait_until_blocked(pool, 1)
        thread.start()
        wait_until_blocked(pool, 2)
    thread.join(10)
    return coordinator, answers


def n_deadlocks(ledger):
    with ledger.transaction() as connection:
        return connection.execute(DEADLOCKS).scalar_one()


def test_failing_cell_lets_a_slot_finish(ledger, database_url, pool):
    study_id = submit(ledger, make_study(("AdamW", "SGD"), search=SearchPlan(trials=20)))
    with coordinating(database_url, poll=timedelta(seconds=30)):
        wait_for(lambda: row_of(ledger, study_id).counts["n_waiting"] == 40)
    running = claim_one(ledger)
    for _ in range(22):  # more than limits.failures in one of the two cells
        claimed = claim_one(ledger)
        with ledger.transaction() as connection:
            assert finish_trial(connection, claimed.trial_id, claimed.attempt, Finish(Outcome.WORKLOAD_ERROR))
    coordinator, answers = finish_behind_the_coordinator(ledger, pool, running, database_url)
    try:
        assert wait_for_end(ledger, study_id).state == "FAILED"
    finally:
        coordinator.__exit__(None, None, None)
    assert (answers, n_deadlocks(ledger)) == ([True], 0)
    assert_consistent(ledger)


def test_sweep_of_expired_leases_lets_a_late_slot_finish(ledger, database_url, pool):
    add_study(ledger, 2)
    first, second = claim_one(ledger, lease=GONE), claim_one(ledger, lease=GONE)
    with ledger.transaction() as connection:
        connection.execute(text("UPDATE studies SET state = 'CANCELLED'"))
    assert first.trial_id < second.trial_id
    coordinator, answers = finish_behind_the_coordinator(ledger, pool, second, database_url)
    try:
        wait_for(lambda: row_of(ledger, first.study_id).counts["n_fail"] == 1)
    finally:
        coordinator.__exit__(None, None, None)
    assert (answers, n_deadlocks(ledger)) == ([True], 0)
    assert_consistent(ledger)
