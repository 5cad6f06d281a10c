"""Claims at the same moment."""

import threading
from collections import Counter

import pytest
from sqlalchemy import text

from tests.integration.store.support import (
    add_study,
    assert_consistent,
    claim,
    in_threads,
    own_database,
    state_of,
    wait_until_blocked,
)


@pytest.fixture
def pool(database_url):
    with own_database(database_url) as database:
        yield database


def test_eight_slots_claim_300_trials_once_each_and_never_leave_empty_handed(ledger, pool):
    for n_trials in (100, 150, 50):
        add_study(ledger, n_trials, optimizers=("AdamW", "SGD"))
    left = threading.Semaphore(300)
    claimed: list[int] = []

    def slot(index: int) -> None:
        while left.acquire(blocking=False):  # one permit a trial: whoever has one must find one
            with pool.transaction() as connection:
                trial = claim(connection, slot=index)
            assert trial is not None
            claimed.append(trial.trial_id)

    in_threads(8, slot)
    assert len(claimed) == len(set(claimed)) == 300
    assert_consistent(ledger)


def test_max_running_holds_and_the_slots_in_excess_get_other_work(ledger, pool):
    limited = add_study(ledger, 20, priority=5, columns={"max_running": 3})
    other = add_study(ledger, 20)
    claimed: list[int] = []

    def slot(index: int) -> None:
        with pool.transaction() as connection:
            trial = claim(connection, slot=index)
        assert trial is not None
        claimed.append(trial.study_id)

    in_threads(8, slot)
    assert Counter(claimed) == {limited: 3, other: 5}
    assert state_of(ledger, "studies", limited).n_running == 3
    assert_consistent(ledger)


def test_last_place_of_a_study_goes_to_one_of_two(ledger, pool):
    study = add_study(ledger, 5, columns={"max_running": 1})
    found: list[bool] = []

    def slot(index: int) -> None:
        with pool.transaction() as connection:
            found.append(claim(connection, slot=index) is not None)

    in_threads(2, slot)
    assert sorted(found) == [False, True]
    assert state_of(ledger, "studies", study).n_running == 1
    assert_consistent(ledger)


def test_two_revisions_that_claim_at_once_pin_one_and_the_other_gets_other_work(ledger, pool):
    """The first holds its claim open until the second waits for the study's row."""
    contested, spare = add_study(ledger, 5, priority=1), add_study(ledger, 5)
    second: list[int] = []

    def other() -> None:
        with pool.transaction() as connection:
            trial = claim(connection, code_revision="r2")
        second.append(trial.study_id if trial else 0)

    thread = threading.Thread(target=other)
    with pool.transaction() as connection:
        first = claim(connection, code_revision="r1")
        thread.start()
        wait_until_blocked(ledger)
    thread.join(10)
    assert first is not None
    assert (first.study_id, second) == (contested, [spare])
    assert state_of(ledger, "studies", contested).code_revision == "r1"
    assert state_of(ledger, "studies", spare).code_revision == "r2"
    assert_consistent(ledger)


def test_a_refused_claim_leaves_nothing_behind(ledger, pool):
    contested = add_study(ledger, 5)
    second: list[object] = []

    def other() -> None:
        with pool.transaction() as connection:
            second.append(claim(connection, code_revision="r2"))
            held = connection.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'tuple'")).scalar_one()
            second.append(held)
            second.append(connection.execute(text("SELECT count(*) FROM trials WHERE attempt > 0")).scalar_one())

    thread = threading.Thread(target=other)
    with pool.transaction() as connection:
        assert claim(connection, code_revision="r1") is not None
        thread.start()
        wait_until_blocked(ledger)
    thread.join(10)
    assert second == [None, 0, 1]
    assert state_of(ledger, "studies", contested).n_waiting == 4
    assert_consistent(ledger)


def test_mixed_revisions_on_many_studies_never_mix_within_one(ledger, pool):
    studies = [add_study(ledger, 6) for _ in range(6)]
    claimed: list[tuple[int, str]] = []

    def slot(index: int) -> None:
        revision = f"r{index % 2}"
        with pool.transaction() as connection:
            while trial := claim(connection, slot=index, code_revision=revision):
                claimed.append((trial.study_id, revision))
                connection.execute(text("COMMIT AND CHAIN"))

    in_threads(6, slot)
    assert len(claimed) == 36
    assert len({study for study, _ in claimed}) == len(set(claimed)) == len(studies)
    assert_consistent(ledger)
