"""What a coordinator loses when it is killed, loses its lock, or loses Redis: time."""

import random
import sys
import time

import psutil
import pytest
from sqlalchemy import text

from service.domain.study import SearchPlan
from tests.integration.coordinator.support import (
    Process,
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
from tests.integration.store.support import (
    GONE,
    claim_one,
    make_study,
    own_database,
)

TPE = SearchPlan("tpe", trials=8, options={"n_startup_trials": 3})
LOCK_HOLDERS = text("""
    SELECT DISTINCT pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND d.datname = current_database()
""")
TERMINATE = text("SELECT pg_terminate_backend(:pid)")


@pytest.fixture
def pool(database_url):
    with own_database(database_url) as database:
        yield database


def reference(ledger, database_url, pool, study):
    """The suggestions of a run that nothing disturbs."""
    study_id = submit(ledger, study)
    with coordinating(database_url), Slots(pool, 2):
        wait_for_end(ledger, study_id)
    return suggestions_of(ledger, study_id)


@pytest.mark.timeout(200)
def test_coordinator_killed_ten_times_loses_and_doubles_nothing(ledger, database_url, pool, tmp_path):
    """Slots run on; each kill is at a random moment after the process has taken its lock."""
    rng = random.Random(5)
    study = make_study(("AdamW", "SGD"), replicates=2, search=TPE)
    expected = reference(ledger, database_url, pool, study)
    ids, n_kills = [submit(ledger, study)], 0
    with Slots(pool, 2):
        while n_kills < 10:
            with Process(tmp_path / "log", database_url) as process:
                wait_for(lambda: holders(ledger) or process.popen.poll() is not None)
                time.sleep(rng.uniform(0, 0.25))
                process.kill()
                n_kills += 1
            if row_of(ledger, ids[-1]).is_finished:
                ids.append(submit(ledger, study))
        with Process(tmp_path / "log", database_url):
            for study_id in ids:
                wait_for_end(ledger, study_id)
    for study_id in ids:
        assert_whole(ledger, study_id)
        assert suggestions_of(ledger, study_id) == expected
    assert "Traceback" not in (tmp_path / "log").read_text()


def holders(ledger):
    with ledger.transaction() as connection:
        return list(connection.execute(LOCK_HOLDERS).scalars())


def test_coordinator_that_loses_its_session_in_mid_work_recovers_and_doubles_nothing(ledger, database_url, pool):
    study = make_study(("AdamW", "SGD"), replicates=2, search=TPE)
    expected = reference(ledger, database_url, pool, study)
    study_id, n_cut = submit(ledger, study), 0
    with coordinating(database_url), Slots(pool, 2, lambda c: time.sleep(0.03) or toy(c)):
        while n_cut < 5 and not row_of(ledger, study_id).is_finished:
            for pid in holders(ledger):
                with ledger.transaction() as connection:
                    n_cut += connection.execute(TERMINATE, {"pid": pid}).scalar_one()
            time.sleep(0.1)
        wait_for_end(ledger, study_id)
    assert n_cut >= 1
    assert_whole(ledger, study_id)
    assert suggestions_of(ledger, study_id) == expected


def test_another_coordinator_takes_over_when_the_lock_is_lost(ledger, database_url, pool):
    study = make_study(("AdamW", "SGD"), replicates=2, search=SearchPlan("tpe", trials=20))
    study_id = submit(ledger, study)
    with coordinating(database_url), coordinating(database_url), Slots(pool, 2):
        for _ in range(3):
            for pid in wait_for(lambda: holders(ledger) or (row_of(ledger, study_id).is_finished and [0])):
                with ledger.transaction() as connection:
                    connection.execute(TERMINATE, {"pid": pid})
            time.sleep(0.05)
        wait_for_end(ledger, study_id)
    assert_whole(ledger, study_id)


def test_expired_leases_are_taken_back_and_the_trials_run_again(ledger, database_url, pool):
    study_id = submit(ledger, make_study(("AdamW",)))
    with coordinating(database_url):
        wait_for(lambda: row_of(ledger, study_id).counts["n_waiting"])
        lost = [claim_one(ledger, lease=GONE) for _ in range(3)]
        with Slots(pool, 1):
            wait_for_end(ledger, study_id)
    with ledger.transaction() as connection:
        attempts = connection.execute(text("SELECT id FROM trials WHERE attempt = 2 ORDER BY id")).scalars().all()
    assert attempts == sorted(claimed.trial_id for claimed in lost)
    assert_whole(ledger, study_id)


def test_coordinator_process_stops_at_sigterm_and_never_loads_torch(ledger, database_url, tmp_path):
    study = make_study(("AdamW",), search=SearchPlan("tpe", trials=3, options={"n_startup_trials": 1}))
    study_id = submit(ledger, study)
    with Process(tmp_path / "log", database_url) as process, own_database(database_url) as pool, Slots(pool, 1):
        wait_for_end(ledger, study_id)
        if sys.platform == "linux":
            maps = {entry.path for entry in psutil.Process(process.popen.pid).memory_maps()}
            assert not [path for path in maps if "torch" in path]
        before = time.monotonic()
        process.popen.terminate()
        assert process.popen.wait(10) == 0
    assert time.monotonic() - before < 3
    assert len(records_of(ledger, study_id)) == study.n_runs
