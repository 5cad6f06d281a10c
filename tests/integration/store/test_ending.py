"""A study ends while slots and the coordinator are at it."""

import threading

import pytest
from sqlalchemy import text

from service.domain.trial import Outcome, TrialState
from service.errors import ConflictError
from service.store.events import events_after
from service.store.leases import Wish, finish_trial, hand_back_trial, renew_lease
from service.store.studies import add_event, cancel_stragglers, end_study
from service.studies import cancel
from tests.integration.store.support import (
    FINISHED,
    GONE,
    LEASE,
    add_study,
    add_trials,
    assert_consistent,
    claim,
    claim_one,
    make_study,
    own_database,
    state_of,
    wait_until_blocked,
)


@pytest.fixture
def pool(database_url):
    with own_database(database_url) as database:
        yield database


def in_background(pool, work):
    """Run `work(connection)` in a transaction of its own; returns the thread and what it answers."""
    answers = []

    def body():
        try:
            with pool.transaction() as connection:
                answers.append(work(connection))
        except Exception as error:  # noqa: BLE001 (compared by the test)
            answers.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    return thread, answers


def n_waiting(ledger):
    with ledger.transaction() as connection:
        cancel_stragglers(connection)
        return connection.execute(text("SELECT count(*) FROM trials WHERE state = 'WAITING'")).scalar_one()


def test_end_cancels_what_waits_and_asks_what_runs(ledger):
    study = add_study(ledger, 3)
    running = claim_one(ledger)
    with ledger.transaction() as connection:
        assert end_study(connection, study, "CANCELLED", "because")
    row = state_of(ledger, "studies", study)
    assert (row.state, row.reason, row.n_waiting, row.n_running, row.n_fail) == ("CANCELLED", "because", 0, 1, 2)
    with ledger.transaction() as connection:
        assert renew_lease(connection, running.trial_id, 1, LEASE) is Wish.CANCEL
        assert finish_trial(connection, running.trial_id, 1, FINISHED)
    assert_consistent(ledger)


def test_second_end_changes_nothing_and_leaves_the_transaction_usable(ledger):
    study = add_study(ledger, 1)
    with ledger.transaction() as connection:
        assert end_study(connection, study, "CANCELLED")
        before = state_of_in(connection, study)
        assert not end_study(connection, study, "FINISHED")
        assert not end_study(connection, 10**9, "FINISHED")
        assert state_of_in(connection, study) == before


def state_of_in(connection, study):
    return connection.execute(text("SELECT * FROM studies WHERE id = :id"), {"id": study}).one()


def test_two_cancels_at_once_give_one_success_and_one_conflict(ledger, pool):
    study = add_study(ledger, 3)
    with pool.transaction() as connection:
        cancel(connection, study)
        thread, answers = in_background(pool, lambda c: cancel(c, study))
        wait_until_blocked(ledger)
    thread.join(10)
    assert isinstance(answers[0], ConflictError)
    assert "CANCELLED" in str(answers[0])
    assert_consistent(ledger)


def test_cancel_waits_for_a_claim_and_asks_its_trial_to_stop(ledger, pool):
    study = add_study(ledger, 2)
    with pool.transaction() as connection:
        claimed = claim(connection)
        thread, answers = in_background(pool, lambda c: end_study(c, study, "CANCELLED"))
        wait_until_blocked(ledger)
    thread.join(10)
    assert answers == [True]
    assert claimed is not None
    assert state_of(ledger, "trials", claimed.trial_id).is_cancel_requested
    assert n_waiting(ledger) == 0
    assert_consistent(ledger)


def test_claim_that_waits_for_a_cancel_gets_other_work(ledger, pool):
    """The claim holds a trial that came in too late for the cancel, and waits for the study's row."""
    study, other = add_study(ledger, 1, priority=1), add_study(ledger, 1)
    with pool.transaction() as connection:
        assert end_study(connection, study, "CANCELLED")
        with ledger.transaction() as late:  # as if inserted between the cancel's locks and its end
            late.execute(
                text("""
                INSERT INTO trials (study_id, cell_id, number, cell_number, phase, config, seed_index, seed, optimizer,
                                    params, sort_key)
                SELECT study_id, cell_id, 1, 1, phase, 1, 0, 0, optimizer, params, 1 FROM trials WHERE study_id = :id
            """),
                {"id": study},
            )
        thread, answers = in_background(pool, claim)
        wait_until_blocked(ledger)
        connection.execute(
            text("UPDATE studies SET n_waiting = n_waiting + 1, next_number = next_number + 1 WHERE id = :id"),
            {"id": study},
        )
    thread.join(10)
    assert answers[0].study_id == other
    assert n_waiting(ledger) == 0
    assert_consistent(ledger)


def test_insert_that_waits_for_a_cancel_adds_nothing(ledger, pool):
    study = add_study(ledger, 2)
    with pool.transaction() as connection:
        assert end_study(connection, study, "CANCELLED")
        thread, answers = in_background(pool, lambda c: add_trials(c, study, make_study(), 2, start=2))
        wait_until_blocked(ledger)
    thread.join(10)
    assert answers == [None]
    assert n_waiting(ledger) == 0
    assert_consistent(ledger)


def test_cancel_that_waits_for_an_insert_leaves_nothing_waiting(ledger, pool):
    study = add_study(ledger, 2)
    with pool.transaction() as connection:
        assert add_trials(connection, study, make_study(), 3, start=2) == 2
        thread, answers = in_background(pool, lambda c: end_study(c, study, "CANCELLED"))
        wait_until_blocked(ledger)
    thread.join(10)
    assert answers == [True]
    assert state_of(ledger, "studies", study).n_fail == 5
    assert n_waiting(ledger) == 0
    assert_consistent(ledger)


def test_cancel_and_a_finishing_slot_do_not_deadlock(ledger, pool):
    """The slot holds its trial and waits for the study's row; the cancel must not hold that row and want the trial."""
    study = add_study(ledger, 3)
    claimed = claim_one(ledger)
    with ledger.transaction() as connection:
        add_event(connection, study, "cell", {})  # holds the study's row
        slot, done = in_background(pool, lambda c: finish_trial(c, claimed.trial_id, 1, FINISHED))
        wait_until_blocked(pool, 1)
        canceller, answers = in_background(pool, lambda c: end_study(c, study, "CANCELLED"))
        wait_until_blocked(pool, 2)
    slot.join(10)
    canceller.join(10)
    assert (done, answers) == ([True], [True])
    assert_consistent(ledger)


def test_straggler_of_an_ended_study_is_cancelled_with_an_event(ledger):
    study = add_study(ledger, 1)
    claimed = claim_one(ledger, lease=GONE)
    with ledger.transaction() as connection:
        assert end_study(connection, study, "CANCELLED", "enough")
        last = state_of_in(connection, study).revision
    with ledger.transaction() as connection:
        state = hand_back_trial(connection, claimed.trial_id, 1, outcome=Outcome.LOST, reason="gone")
        assert state is TrialState.WAITING
    assert n_waiting(ledger) == 0
    assert_consistent(ledger)
    with ledger.transaction() as connection:
        events = events_after(connection, study, last)
    assert [event["kind"] for event in events] == ["trial", "study"]
    assert events[-1]["data"] == {"state": "CANCELLED", "reason": "enough"}


def test_stragglers_of_active_studies_are_none(ledger):
    add_study(ledger, 2)
    add_study(ledger, 2, columns={"state": "PAUSED"})
    with ledger.transaction() as connection:
        assert cancel_stragglers(connection) == 0
    assert_consistent(ledger)
