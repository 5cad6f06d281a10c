"""Coordinators that are killed at a chosen moment, lose their session in the middle of a write, or are refused one.

The moments are made, not waited for: a lock of the test stops a coordinator behind its asking and before its commit,
and a Redis that takes connections and says nothing stops it inside its hint.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from service.domain.study import SearchPlan
from service.domain.trial import StudyId
from service.store.database import Database
from service.store.leases import finish_trial
from tests.integration.coordinator.support import Process as Coordinator
from tests.integration.coordinator.support import (
    Slots,
    assert_whole,
    coordinating,
    records_of,
    row_of,
    submit,
    suggestions_of,
    toy,
    wait_for,
    wait_for_end,
)
from tests.integration.faults.support import SWEEP_S, Service, now_of, study_of, trial_of, wait_for_trial
from tests.integration.store.support import GONE, assert_consistent, claim_one, make_study, own_database

STUDY = make_study(("AdamW", "SGD"), replicates=2, search=SearchPlan("tpe", trials=6, options={"n_startup_trials": 2}))
HOLD = text("SELECT id FROM cells FOR NO KEY UPDATE")
ASKED = text("""
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'tangent-coordinator' AND wait_event_type = 'Lock'
      AND query LIKE '%UPDATE cells%'
""")
TERMINATE = text("SELECT pg_terminate_backend(:pid)")


@pytest.fixture
def pool(database_url: str) -> Iterator[Database]:
    with own_database(database_url) as database:
        yield database


@pytest.fixture
def expected(ledger: Database, database_url: str, pool: Database) -> dict[Any, Any]:
    """The suggestions of a run that nothing disturbs."""
    study_id = submit(ledger, STUDY)
    with coordinating(database_url), Slots(pool, 2):
        wait_for_end(ledger, study_id)
    return suggestions_of(ledger, study_id)


@contextmanager
def cells_held(ledger: Database) -> Iterator[None]:
    """Coordinators ask and insert until the block ends, and wait at the next statement, before their commit."""
    with ledger.transaction() as connection:
        connection.execute(HOLD)
        yield


def backends_that_asked(pool: Database) -> list[int]:
    with pool.transaction() as connection:
        return list(connection.execute(ASKED).scalars())


def n_trials(pool: Database, study_id: StudyId) -> int:
    return len(records_of(pool, study_id))


def finish_one(pool: Database) -> None:
    claimed = claim_one(pool)
    with pool.transaction() as connection:
        assert finish_trial(connection, claimed.trial_id, claimed.attempt, toy(claimed))


def ask_and_wait(ledger: Database, pool: Database, study_id: StudyId, *, is_first: bool) -> None:
    """Have something to ask for: the study's first trials, or the successor of one that is finished now."""
    if not is_first:
        assert n_trials(pool, study_id) == 4
        finish_one(pool)
    wait_for(lambda: backends_that_asked(pool))


@pytest.mark.parametrize("is_first", [True, False], ids=["first trials", "later trial"])
def test_coordinator_killed_between_ask_and_commit_loses_and_doubles_nothing(
    ledger: Database, database_url: str, pool: Database, tmp_path: Path, expected: Any, is_first: bool
) -> None:
    log, study_id = tmp_path / "log", submit(ledger, STUDY)
    if not is_first:
        with Coordinator(log, database_url) as early:
            wait_for(lambda: n_trials(pool, study_id) == 4)
            early.kill()
    before = n_trials(pool, study_id)
    with Coordinator(log, database_url) as victim:
        with cells_held(ledger):
            ask_and_wait(ledger, pool, study_id, is_first=is_first)
            victim.kill()
        assert n_trials(pool, study_id) == before
    with Coordinator(log, database_url), Slots(pool, 2):
        wait_for_end(ledger, study_id)
    assert_whole(ledger, study_id)
    assert suggestions_of(ledger, study_id) == expected


def test_coordinator_killed_between_commit_and_hint_leaves_trials_that_the_sweep_announces(
    service: Service, ledger: Database
) -> None:
    """The first one hangs in its hint, to a Redis that says nothing; the second one's Redis works."""
    worker = service.worker()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        victim = service.coordinator(TANGENT_REDIS_URL=address, TANGENT_SWEEP="600")
        study_id = submit(ledger, study_of(workload="digits-mlp"))
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1000), "the beginning of a hint"
            assert row_of(ledger, study_id).counts["n_waiting"] == 1
            victim.kill()
    assert worker.is_running
    assert trial_of(ledger, study_id)["state"] == "WAITING"
    service.coordinator()
    since = now_of(ledger)
    trial = wait_for_trial(ledger, study_id)
    assert (trial["outcome"], trial["attempt"]) == ("finished", 1)
    assert (trial["started_at"] - since).total_seconds() < 4 * SWEEP_S
    assert_consistent(ledger)


def test_coordinator_that_loses_its_lock_in_mid_write_writes_nothing_and_one_of_two_goes_on(
    ledger: Database, database_url: str, pool: Database, tmp_path: Path, expected: Any
) -> None:
    log, study_id = tmp_path / "log", submit(ledger, STUDY)
    with Coordinator(log, database_url) as one, Coordinator(log, database_url) as two:
        wait_for(lambda: log.read_text().count("started") == 2 and n_trials(pool, study_id) == 4)
        with cells_held(ledger):
            ask_and_wait(ledger, pool, study_id, is_first=False)
            (first,) = backends_that_asked(pool)
            with pool.transaction() as connection:
                assert connection.execute(TERMINATE, {"pid": first}).scalar_one()
            wait_for(lambda: [pid for pid in backends_that_asked(pool) if pid != first])  # it has the lock now
            assert n_trials(pool, study_id) == 4
        with Slots(pool, 2):
            wait_for_end(ledger, study_id)
        assert (one.popen.poll(), two.popen.poll()) == (None, None)
    assert log.read_text().count("Postgres does not answer, trying again") == 1
    assert_whole(ledger, study_id)
    assert suggestions_of(ledger, study_id) == expected


REFUSE = """
    CREATE SEQUENCE refusals;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF {when} THEN
            PERFORM nextval('refusals');
            RAISE EXCEPTION 'by the test' USING ERRCODE = 'unique_violation';
        END IF;
        RETURN new;
    END $$;
    CREATE TRIGGER refuse BEFORE {on} FOR EACH ROW EXECUTE FUNCTION refuse();
"""
N_REFUSALS = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM refusals"
"""A sequence keeps its value where a transaction is rolled back."""


def refuse(ledger: Database, on: str, when: str) -> None:
    with ledger.transaction() as connection:
        connection.exec_driver_sql(REFUSE.format(on=on, when=when).replace("%", "%%"))


def n_refusals(ledger: Database) -> int:
    with ledger.transaction() as connection:
        return int(connection.exec_driver_sql(N_REFUSALS).scalar_one())


def test_write_that_is_refused_once_costs_a_study_nothing(
    ledger: Database, database_url: str, pool: Database, tmp_path: Path, expected: Any
) -> None:
    """An IntegrityError, as a row that somebody else added in this moment would raise."""
    refuse(ledger, "INSERT ON trials", "new.number = 6 AND NOT (SELECT is_called FROM refusals)")
    study_id = submit(ledger, STUDY)
    with Coordinator(tmp_path / "log", database_url) as coordinator, Slots(pool, 2):
        assert wait_for_end(ledger, study_id).state == "FINISHED"
        assert coordinator.popen.poll() is None
    assert n_refusals(ledger) == 1
    assert_whole(ledger, study_id)
    assert suggestions_of(ledger, study_id) == expected


def test_study_whose_writes_are_refused_again_and_again_fails_alone(
    ledger: Database, database_url: str, pool: Database, tmp_path: Path
) -> None:
    broken, sound = submit(ledger, STUDY), submit(ledger, STUDY)
    refuse(ledger, "INSERT ON trials", f"new.study_id = {broken}")
    with Coordinator(tmp_path / "log", database_url) as coordinator, Slots(pool, 2):
        assert wait_for_end(ledger, sound).state == "FINISHED"
        row = wait_for_end(ledger, broken)
        assert coordinator.popen.poll() is None
    assert (row.state, row.reason) == ("FAILED", "the coordinator could not go on: by the test")
    assert n_refusals(ledger) == 2
    assert_consistent(ledger)


def test_lost_trial_that_cannot_be_taken_back_does_not_keep_the_others_waiting(
    ledger: Database, database_url: str, pool: Database, tmp_path: Path
) -> None:
    study_id = submit(ledger, make_study())
    with Coordinator(tmp_path / "log", database_url) as coordinator:
        wait_for(lambda: n_trials(pool, study_id) == 4)
        coordinator.kill()
    stuck, other = claim_one(ledger, lease=GONE), claim_one(ledger, lease=GONE)
    refuse(ledger, "UPDATE ON attempts", f"new.trial_id = {stuck.trial_id} AND new.outcome = 'lost'")
    with Coordinator(tmp_path / "log", database_url) as coordinator:
        wait_for(lambda: n_refusals(ledger) >= 2)
        wait_for(lambda: trial_of(ledger, study_id, other.number)["state"] == "WAITING")
        assert coordinator.popen.poll() is None
    assert trial_of(ledger, study_id, stuck.number)["state"] == "RUNNING"
    assert_consistent(ledger)
