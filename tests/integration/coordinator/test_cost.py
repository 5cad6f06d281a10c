"""What a trial costs in SQL statements and commits, all processes together."""

import threading
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, text

from service.domain.study import SearchPlan
from service.store.leases import finish_trial
from tests.integration.coordinator.support import assert_whole, coordinating, row_of, submit, toy, wait_for
from tests.integration.store.support import claim_one, make_study

UNTOLD = text("SELECT count(*) FROM trials WHERE outcome IS NOT NULL AND NOT is_told")


class Meter:
    """Statements and commits of every engine in this process, but for those of a thread that looks on."""

    def __init__(self):
        self.counts = Counter()
        self._lock = threading.Lock()
        self._is_looking = threading.local()

    def count(self, what):
        if not getattr(self._is_looking, "now", False):
            with self._lock:
                self.counts[what] += 1

    @contextmanager
    def looking(self):
        self._is_looking.now = True
        yield
        self._is_looking.now = False


@pytest.fixture
def meter():
    meter = Meter()
    listeners = {
        "before_cursor_execute": lambda *_: meter.count("statements"),
        "commit": lambda *_: meter.count("commits"),
    }
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    yield meter
    for name, listener in listeners.items():
        event.remove(Engine, name, listener)


def run_one_by_one(ledger, database_url, meter, search):
    """A study of 100 trials on one slot: the dearest case, for the coordinator looks after every single finish."""
    study = make_study(("AdamW",), search=search, select_top=3, select_seeds=3, confirm_seeds=3)
    assert study.n_runs == 100

    def is_looked_after():
        with meter.looking(), ledger.transaction() as connection:
            return connection.execute(UNTOLD).scalar_one() == 0 and row_of(ledger, study_id).counts["n_waiting"]

    def is_finished():
        with meter.looking():
            return row_of(ledger, study_id).is_finished

    long = timedelta(seconds=600)
    with meter.looking():
        study_id = submit(ledger, study)
    with coordinating(database_url, poll=long, sweep=long):
        for _ in range(100):
            wait_for(is_looked_after)
            claimed = claim_one(ledger)
            with ledger.transaction() as connection:
                finish_trial(connection, claimed.trial_id, claimed.attempt, toy(claimed))
        wait_for(is_finished)
    with meter.looking():
        assert_whole(ledger, study_id)
    return meter.counts


def assert_within_one_turn(counts, expected):
    """Exact but for turns that fall together on a busy machine, each of two statements in two transactions."""
    saved = expected["statements"] - counts["statements"]
    assert 0 <= saved <= 8
    assert expected["commits"] - counts["commits"] == saved


def test_a_trial_of_random_search_costs_five_statements_and_five_commits(ledger, database_url, meter):
    """Per trial: claim, finish, and a turn of two statements in two transactions; 31 more for the whole study."""
    counts = run_one_by_one(ledger, database_url, meter, SearchPlan(trials=88))
    assert_within_one_turn(counts, {"statements": 400 + 31, "commits": 400 + 10})


def test_a_trial_of_tpe_costs_two_statements_more(ledger, database_url, meter):
    """Each of the 87 suggestions after the first is an insert and the cell's next number."""
    counts = run_one_by_one(ledger, database_url, meter, SearchPlan("tpe", trials=88))
    assert_within_one_turn(counts, {"statements": 400 + 31 + 2 * 87, "commits": 400 + 10})
