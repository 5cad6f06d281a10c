"""A ledger of the first migration, written by the code of that time, is brought up to date with all that it holds.

`ledger_0001.sql` holds a study that had finished, with its report, and one of which a trial ran; it is never made anew.
"""

from pathlib import Path

import pytest

from service import reports
from service.domain.trial import StudyId
from service.store import migrate
from service.store.studies import get_study, list_studies
from service.store.trials import get_trial, records
from tests.integration.coordinator.support import Slots, assert_whole, coordinating, wait_for_end
from tests.integration.store.support import assert_consistent, own_database

OLD = Path(__file__).parent / "ledger_0001.sql"
FINISHED, RUNNING = StudyId(1), StudyId(2)


@pytest.fixture
def upgraded(database_url, ledger):
    migrate.downgrade(database_url, "base")
    migrate.upgrade(database_url, "0001")
    with ledger.transaction() as connection:
        connection.exec_driver_sql(OLD.read_text().replace("%", "%%"))
    assert migrate.current_revision(database_url) == "0001"
    migrate.upgrade(database_url)
    assert migrate.current_revision(database_url) == migrate.head_revision()
    return ledger


def test_studies_trials_and_measurements_of_the_first_migration_are_read(upgraded):
    with upgraded.transaction() as connection:
        assert [row.name for row in list_studies(connection)] == ["running at 0001", "finished at 0001"]
        row = get_study(connection, FINISHED)
        assert (row.state, row.counts["n_complete"], row.study.n_runs) == ("FINISHED", 24, 24)
        assert [record.number for record in records(connection, FINISHED)] == list(range(24))
        (measured,) = get_trial(connection, RUNNING, 0)["measurements"]
        assert (measured["epoch"], measured["step"], measured["value"]) == (1, 16, 0.5)
        assert measured["layers"]["fc"]["weight_norm"] == 1.0
    assert_consistent(upgraded)


def test_report_that_was_kept_then_is_the_one_that_is_computed_now(upgraded):
    with upgraded.transaction() as connection:
        kept = connection.exec_driver_sql("SELECT report FROM reports WHERE study_id = 1").scalar_one()
        (now,) = reports.build(connection, FINISHED)["comparisons"]
    (then,) = kept["comparisons"]
    assert now["effect"]["mean"] == then["effect"]["mean"]
    assert now["effect"]["interval_95"] == then["effect"]["interval_95"]
    assert now["verdict"]["kind"] == then["verdict"]["kind"]


@pytest.mark.timeout(120)
def test_study_that_ran_then_goes_on_now(upgraded, database_url):
    """The lease of the trial that ran has ended long ago."""
    with coordinating(database_url), own_database(database_url) as pool, Slots(pool, 2):
        assert wait_for_end(upgraded, RUNNING).state == "FINISHED"
    assert_whole(upgraded, RUNNING)
    with upgraded.transaction() as connection:
        attempts = connection.exec_driver_sql(
            "SELECT a.outcome FROM attempts a JOIN trials t ON t.id = a.trial_id"
            " WHERE t.study_id = 2 AND t.attempt = 2 ORDER BY a.attempt"
        )
        assert list(attempts.scalars()) == ["lost", "diverged"]  # what the toy gives at this learning rate
