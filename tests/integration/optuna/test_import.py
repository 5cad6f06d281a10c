"""An imported study in the ledger: consistent, marked, and readable by all that reads studies."""

import json
import math
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import optuna
import psycopg
import pytest
from sqlalchemy import text

from service import reports, studies
from service.exports import export_json
from service.importing import import_study
from service.optuna_import import Wishes
from service.optuna_storage import LedgerStorage
from service.store.calibration import earlier_runs
from service.store.studies import get_study
from service.store.trials import get_trial, records
from tests.integration.coordinator.support import coordinating
from tests.integration.store.support import assert_consistent

REPOSITORY = Path(__file__).parents[3]


def fill(storage):
    """An Optuna study of 30 trials by TPE, with a median pruner, a failure and a trial that never ended."""
    study = optuna.create_study(
        study_name="old",
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=1),
        pruner=optuna.pruners.MedianPruner(),
    )

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        depth = trial.suggest_int("depth", 1, 4)
        trial.set_user_attr("accuracy", 0.5)
        if trial.number == 3:
            raise ValueError("by the test")
        value = 0.1 + (math.log10(lr) + 2) ** 2 + 0.01 * depth
        for step in (1, 2, 3):
            trial.report(value + 1 / step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return math.inf if trial.number == 5 else value

    study.optimize(objective, n_trials=30, catch=ValueError)
    study.ask()
    return study


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The address of an SQLite file and its study's trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = tmp_path_factory.mktemp("optuna") / "old.db"
    study = fill(optuna.storages.InMemoryStorage())  # and at once into the file: each of its commits waits for the disk
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    optuna.copy_study(from_study_name="old", from_storage=study._storage, to_storage=storage)
    trials = optuna.load_study(study_name="old", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    return path, trials


def taken(ledger, old, **wishes):
    return import_study(ledger, str(old[0]), "old", Wishes(**wishes))


def test_every_trial_is_in_the_ledger_under_its_number(ledger, old):
    answer = taken(ledger, old)
    assert answer["n_trials"] == 31
    assert_consistent(ledger)
    with ledger.transaction() as connection:
        found = records(connection, answer["id"])
        shown = get_trial(connection, answer["id"], 0)
    assert [t.number for t in found] == [t.cell_number for t in found] == list(range(31))
    for trial, known in zip(found, old[1], strict=True):
        assert trial.params == known.params
        expected = {"RUNNING": "FAIL"}.get(known.state.name, known.state.name)
        assert trial.state.value == expected
        if trial.number not in (3, 5, 30):
            assert trial.value == known.value
            assert trial.metrics == {"accuracy": 0.5}
    assert (found[5].outcome.value, found[30].outcome.value) == ("diverged", "lost")
    assert [entry["epoch"] for entry in shown["measurements"]] == [1, 2, 3]
    assert shown["duration_s"] == pytest.approx(old[1][0].duration.total_seconds(), abs=1e-3)
    assert json.loads(shown["attempts"][0]["log_tail"])["optuna"]["user_attrs"] == {"accuracy": 0.5}


def test_the_study_is_finished_and_marked_as_imported_with_its_source(ledger, old):
    answer = taken(ledger, old, name="mine")
    with ledger.transaction() as connection:
        row = get_study(connection, answer["id"])
    assert row.name == "mine (imported, not preregistered)"
    assert (row.state, row.origin) == ("FINISHED", "imported")
    assert row.environment["imported"]["is_preregistered"] is False
    assert row.environment["imported"]["from"] == str(old[0])
    assert row.environment["imported"]["notes"] == answer["notes"]
    assert row.finished_at >= row.started_at


def test_what_reads_studies_reads_an_imported_one(ledger, old, database_url):
    study_id = taken(ledger, old)["id"]
    with ledger.transaction() as connection:
        view = studies.show(connection, study_id)
        report = reports.build(connection, study_id)
        exported = export_json(connection, study_id)
    assert view.row.is_finished
    assert report["comparisons"] == []
    assert len(exported["trials"]) == 31
    storage = LedgerStorage.connect(database_url, study_id)
    again = optuna.load_study(study_name=f"study-{study_id}/imported/r0", storage=storage)
    assert again.best_params == min((t for t in old[1] if t.state.name == "COMPLETE"), key=lambda t: t.value).params
    assert again.user_attrs["origin"] == "imported, not preregistered"
    assert [t.distributions for t in again.trials] == [t.distributions for t in old[1]]
    storage.close()


def test_a_coordinator_leaves_it_alone(ledger, old, database_url):
    study_id = taken(ledger, old)["id"]
    with coordinating(database_url, poll=timedelta(seconds=0.05)) as coordinator:
        coordinator.wake()
        time.sleep(0.3)
    with ledger.transaction() as connection:
        assert get_study(connection, study_id).revision == 2
        assert len(records(connection, study_id)) == 31


def test_its_durations_and_seed_do_not_count_as_earlier_runs(ledger, old):
    taken(ledger, old, workload="digits-mlp")
    with ledger.transaction() as connection:
        assert earlier_runs(connection, "digits-mlp", {}, "cpu") is None


def test_a_refused_import_writes_nothing(ledger, old):
    with pytest.raises(Exception, match="is minimised"):
        taken(ledger, old, endpoint="1 - value")
    with ledger.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM studies")).scalar_one() == 0


def run(database_url, *words):
    own = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
    return subprocess.run(
        [sys.executable, "-m", "service.importing", *words],
        cwd=REPOSITORY,
        env={**own, "TANGENT_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_study_in_postgres_is_read_through_a_login_that_cannot_write(fresh_database, database_url, ledger, old):
    """Optuna's tables, which the import must not make or change, in a database of their own."""
    with fresh_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        empty = run(database_url, url, "old")
        assert empty.returncode == 1
        assert empty.stderr.startswith("tangent: postgresql://")
        assert "holds no Optuna studies that can be read" in empty.stderr
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        storage = optuna.storages.RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))
        optuna.copy_study(from_study_name="old", from_storage=f"sqlite:///{old[0]}", to_storage=storage)
        storage.remove_session()
        storage.engine.dispose()
        done = run(database_url, url, "old")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["n_trials"] == 31
        with ledger.transaction() as connection:
            [source] = connection.execute(text("SELECT environment -> 'imported' ->> 'from' FROM studies")).scalars()
        assert "@" not in source
        assert source.startswith("postgresql:///test_")
