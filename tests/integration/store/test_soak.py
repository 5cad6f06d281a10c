"""Everything at once, at random, for some seconds: counters stay counts and no statement is a deadlock's victim."""

import random
import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.trial import Outcome
from service.store.leases import (
    Finish,
    expired_trials,
    finish_trial,
    hand_back_trial,
    note_resumed,
    renew_lease,
    save_checkpoint,
)
from service.store.studies import add_event, cancel_stragglers, end_study
from tests.integration.store.support import (
    add_study,
    add_trials,
    assert_consistent,
    assert_counters,
    claim,
    in_threads,
    make_study,
    own_database,
)

SECONDS = 8.0
ENDS = list(Outcome)


class Soak:
    """What slots, sweepers, coordinators and users do, each in transactions of its own."""

    def __init__(self, pool, ledger):
        self.pool, self.ledger = pool, ledger
        self.deadline = time.monotonic() + SECONDS
        self.studies = [add_study(ledger, 10, attempts=2) for _ in range(3)]
        self.lock = threading.Lock()
        self.n_done = dict.fromkeys(("slot", "sweep", "coordinate", "cancel", "check"), 0)

    def run(self, index):
        rng = random.Random(index)
        work = [self.slot, self.slot, self.slot, self.slot, self.sweep, self.coordinate, self.cancel, self.check][index]
        while time.monotonic() < self.deadline:
            work(rng)
            with self.lock:
                self.n_done[work.__name__] += 1

    def slot(self, rng):
        lease = timedelta(seconds=rng.choice([-1.0, 0.005, 5.0]))
        with self.pool.transaction() as connection:
            claimed = claim(connection, lease=lease)
        if claimed is None:
            time.sleep(0.005)
            return
        trial, attempt = claimed.trial_id, claimed.attempt
        time.sleep(rng.choice([0, 0.01]))
        with self.pool.transaction() as connection:
            note_resumed(connection, trial, attempt, 1)
            renew_lease(connection, trial, attempt, lease, [{"epoch": 1, "step": 1, "metrics": {}, "layers": {}}])
            save_checkpoint(connection, trial, attempt, {"step": 1})
        with self.pool.transaction() as connection:
            if rng.random() < 0.3:
                outcome = rng.choice([None, Outcome.LOST, Outcome.OUT_OF_MEMORY])
                note_resumed(connection, trial, attempt, 2)
                hand_back_trial(connection, trial, attempt, outcome=outcome, reason="soak")
            else:
                outcome = rng.choice(ENDS)
                finish_trial(connection, trial, attempt, Finish(outcome, value=0.5 if outcome.counts else None))

    def sweep(self, _rng):
        with self.pool.transaction() as connection:
            expired = expired_trials(connection)
        for trial, attempt in expired:
            with self.pool.transaction() as connection:
                hand_back_trial(connection, trial, attempt, outcome=Outcome.LOST, reason="lease", only_expired=True)
        with self.pool.transaction() as connection:
            cancel_stragglers(connection)

    def coordinate(self, rng):
        with self.lock:
            study = rng.choice(self.studies[-3:])
        with self.pool.transaction() as connection:
            start = connection.execute(text("SELECT next_number FROM studies WHERE id = :i"), {"i": study}).scalar_one()
            if start < 500:
                add_trials(connection, study, make_study(), rng.choice([1, 3]), start=start)
            add_event(connection, study, "cell", {})
        time.sleep(0.003)

    def cancel(self, rng):
        time.sleep(0.15)
        with self.lock:
            study = rng.choice(self.studies[-3:])
        in_threads(2, lambda _: self.end(study))
        added = add_study(self.ledger, 10, attempts=2)
        with self.lock:
            self.studies.append(added)

    def end(self, study):
        with self.pool.transaction() as connection:
            end_study(connection, study, "CANCELLED")

    def check(self, _rng):
        time.sleep(0.2)
        with self.pool.transaction() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            assert_counters(connection)


@pytest.mark.timeout(120)
def test_random_soak_keeps_counters_and_never_deadlocks(ledger, database_url):
    with own_database(database_url, pool_size=12) as pool:
        soak = Soak(pool, ledger)
        in_threads(8, soak.run)
        for study in soak.studies:
            soak.end(study)
        soak.sweep(None)
    assert_consistent(ledger)
    with ledger.transaction() as connection:
        waiting = connection.execute(text("SELECT count(*) FROM trials WHERE state = 'WAITING'")).scalar_one()
        mine = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert (waiting, connection.execute(mine).scalar_one()) == (0, 0)
    assert soak.n_done["slot"] > 200
    assert min(soak.n_done.values()) > 5
