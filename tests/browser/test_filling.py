"""The study that the budgets are measured on looks like a finished one."""

import optuna
from sqlalchemy import text

from service.reports import build
from service.store.studies import get_study
from tests.bench._optuna_side import trials_by_arm, write_sqlite
from tests.browser.filling import fill
from tests.integration.conftest import database_url, engines_home, fresh_database, ledger, postgres  # noqa: F401
from tests.integration.store.support import assert_consistent


def test_a_filled_study_is_consistent_and_has_verdicts(ledger):  # noqa: F811
    with ledger.transaction() as connection:
        study_id = fill(connection, 200)
    assert_consistent(ledger)
    with ledger.transaction() as connection:
        row = get_study(connection, study_id)
        n_measured = connection.execute(text("SELECT count(*) FROM measurements")).scalar_one()
        report = build(connection, study_id)
    assert sum(row.counts[name] for name in ("n_complete", "n_pruned")) == 800
    assert n_measured == 8000
    assert row.counts["n_diverged"] > 0
    assert len(report["comparisons"]) == 2
    assert all(c["verdict"]["kind"] not in ("no_verdict", "not_comparable") for c in report["comparisons"])


def test_the_smallest_one_too(ledger):  # noqa: F811
    with ledger.transaction() as connection:
        study_id = fill(connection, 100)
    assert_consistent(ledger)
    with ledger.transaction() as connection:
        row = get_study(connection, study_id)
        report = build(connection, study_id)
    assert sum(row.counts[name] for name in ("n_complete", "n_pruned")) == 400
    assert all(c["verdict"]["kind"] not in ("no_verdict", "not_comparable") for c in report["comparisons"])


def test_what_optuna_dashboard_is_measured_on_are_the_same_trials(ledger, tmp_path):  # noqa: F811
    with ledger.transaction() as connection:
        study_id = fill(connection, 100)
    trials = trials_by_arm(ledger, study_id)
    write_sqlite(trials, tmp_path / "optuna.db")
    assert set(trials) == {"sgdw", "sgdp", "adamw", "adamp"}
    for arm, mine in trials.items():
        read = optuna.load_study(study_name=arm, storage=f"sqlite:///{tmp_path}/optuna.db").get_trials()
        for trial in mine:
            trial.user_attrs = {}
        assert read == mine
        assert len(mine) == 100
        assert all(len(trial.intermediate_values) == 10 for trial in mine)
