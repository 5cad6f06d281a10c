"""A coordinator and slots that want the same rows at the same moment, in the one order that would be a deadlock."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.study import Limits, SearchPlan
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

HOLD = text("SELECT id FROM studies FOR NO KEY UPDATE")
DEADLOCKS = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")


@pytest.fixture
def pool(database_url):
    with own_database(database_url) as database:
        yield database


def finish_behind_the_coordinator(ledger, pool, claimed, holder):
    """While `holder` has the study's row and a coordinator waits for it: let the slot that has a trial wait, too."""
    answers = []

    def finish():
        with pool.transaction() as connection:
            answers.append(finish_trial(connection, claimed.trial_id, claimed.attempt, toy(claimed)))

    wait_until_blocked(pool, 1)
    thread = threading.Thread(target=finish)
    thread.start()
    wait_until_blocked(pool, 2)
    holder.commit()
    thread.join(10)
    return answers


def n_deadlocks(ledger):
    with ledger.transaction() as connection:
        return connection.execute(DEADLOCKS).scalar_one()


def test_failing_cell_lets_a_slot_finish(ledger, database_url, pool):
    """The holder queues for the study's row behind the finish that fails the cell, so that it has it before anyone."""
    study = make_study(("AdamW", "SGD"), search=SearchPlan(trials=20), limits=Limits(failures=0))
    study_id = submit(ledger, study)
    with coordinating(database_url, poll=timedelta(seconds=30)), ledger.session() as holder:
        wait_for(lambda: row_of(ledger, study_id).counts["n_waiting"] == 40)
        running, failing = claim_one(ledger), claim_one(ledger)
        with ledger.transaction() as connection:
            finish_trial(connection, failing.trial_id, failing.attempt, Finish(Outcome.WORKLOAD_ERROR))
            queued = threading.Thread(target=lambda: holder.execute(HOLD))
            queued.start()
            wait_until_blocked(pool, 1)
        queued.join(10)
        answers = finish_behind_the_coordinator(ledger, pool, running, holder)
        assert wait_for_end(ledger, study_id).state == "FAILED"
    assert (answers, n_deadlocks(ledger)) == ([True], 0)
    assert_consistent(ledger)


def test_sweep_of_expired_leases_lets_a_late_slot_finish(ledger, database_url, pool):
    add_study(ledger, 2)
    first, second = claim_one(ledger, lease=GONE), claim_one(ledger, lease=GONE)
    assert first.trial_id < second.trial_id
    with ledger.transaction() as connection:  # so that the coordinator sweeps and does nothing else
        connection.execute(text("UPDATE studies SET state = 'CANCELLED'"))
    with ledger.session() as holder:
        holder.execute(HOLD)
        with coordinating(database_url):
            answers = finish_behind_the_coordinator(ledger, pool, second, holder)
            wait_for(lambda: row_of(ledger, first.study_id).counts["n_fail"] == 1)
    assert (answers, n_deadlocks(ledger)) == ([True], 0)
    assert_consistent(ledger)
