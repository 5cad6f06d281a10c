"""A ledger is backed up while it is in use and restored to another PostgreSQL, by the commands, as a person would."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import reports
from service.domain.study import SearchPlan
from service.domain.trial import StudyId
from service.store import migrate
from service.store.database import Database
from service.store.schema import metadata
from tests.integration.coordinator.support import (
    Slots,
    assert_whole,
    coordinating,
    row_of,
    submit,
    wait_for,
    wait_for_end,
)
from tests.integration.faults.conftest import Engine
from tests.integration.store.support import claim_one, make_study, own_database, register

TANGENT = Path(sys.executable).parent / "tangent"
STUDY = make_study(
    ("AdamW", "AdamP"), replicates=3, search=SearchPlan(trials=3), confirm_seeds=2, compare=(("arm0", "arm1"),)
)


def tangent(url: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
    return subprocess.run(
        [TANGENT, *map(str, arguments)],
        env={**own, "TANGENT_DATABASE_URL": url, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def refusal(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def other(own_postgres: Engine) -> Iterator[Database]:
    """The ledger of a second PostgreSQL, empty."""
    database = Database(own_postgres.url, application_name="tests")
    yield database
    database.close()


def rows_of(ledger: Database) -> dict[str, list[Any]]:
    """Every row of every table."""
    with ledger.transaction() as connection:
        return {
            name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1, 2")]
            for name in metadata.tables
        }


def report_of(ledger: Database, study_id: StudyId) -> bytes:
    with ledger.transaction() as connection:
        return json.dumps(reports.build(connection, study_id)).encode()


@pytest.mark.timeout(200)
def test_restored_ledger_reports_the_same_bytes_and_its_running_study_goes_on(
    ledger: Database, database_url: str, other: Database, own_postgres: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.tangent"
    register(ledger)
    with coordinating(database_url), own_database(database_url) as pool:
        finished = submit(ledger, STUDY)
        with Slots(pool, 2):
            wait_for_end(ledger, finished)
        running = submit(ledger, make_study(("AdamW", "SGD"), search=SearchPlan("tpe", trials=5)))
        wait_for(lambda: row_of(ledger, running).counts["n_waiting"] == 2)
        lost = claim_one(ledger)
        done = tangent(database_url, "backup", file)
        assert done.returncode == 0, done.stderr
    assert "2 studies" in done.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    before = rows_of(ledger)
    done = tangent(own_postgres.url, "restore", file)
    assert done.returncode == 0, done.stderr
    assert rows_of(other) == before
    assert report_of(other, finished) == report_of(ledger, finished)
    with other.transaction() as connection:
        connection.exec_driver_sql("UPDATE trials SET lease_expires_at = now() WHERE state = 'RUNNING'")
    with coordinating(own_postgres.url), own_database(own_postgres.url) as pool, Slots(pool, 2):
        assert wait_for_end(other, running).state == "FINISHED"
    assert_whole(other, running)
    with other.transaction() as connection:
        query = "SELECT attempt FROM trials WHERE id = %(id)s"
        assert connection.exec_driver_sql(query, {"id": lost.trial_id}).scalar_one() == 2


def test_restore_refuses_what_it_would_harm_and_replaces_it_only_after_a_backup(
    ledger: Database, database_url: str, other: Database, own_postgres: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.tangent"
    submit(other, make_study(name="mine"))
    theirs = rows_of(other)
    submit(ledger, make_study(name="restored"))
    assert tangent(database_url, "backup", file).returncode == 0
    assert "exists; name a new file" in refusal(tangent(database_url, "backup", file))
    assert "has studies (1, with 0 trials) and was left alone" in refusal(tangent(own_postgres.url, "restore", file))
    with own_database(own_postgres.url) as user, user.transaction() as connection:
        connection.exec_driver_sql("SELECT 1")
        said = refusal(tangent(own_postgres.url, "restore", file, "--replace"))
        assert "the ledger is in use by tangent-tests" in said
    assert rows_of(other) == theirs
    done = tangent(own_postgres.url, "restore", file, "--replace")
    assert done.returncode == 0, done.stderr
    assert rows_of(other)["studies"] == rows_of(ledger)["studies"]
    (saved,) = tmp_path.glob("before-restore-*.tangent")
    assert tangent(own_postgres.url, "restore", saved, "--replace").returncode == 0
    assert rows_of(other) == theirs


def test_file_that_is_no_backup_changes_nothing(database_url: str, ledger: Database, tmp_path: Path) -> None:
    whole, file = tmp_path / "whole", tmp_path / "file"
    submit(ledger, make_study())
    assert tangent(database_url, "backup", whole).returncode == 0
    before = rows_of(ledger)
    for content in (b"", b"no archive at all", whole.read_bytes()[:-3000]):
        file.write_bytes(content)
        assert f"{file} cannot be read as a backup of a ledger" in refusal(
            tangent(database_url, "restore", file, "--replace")
        )
    assert "there is no file" in refusal(tangent(database_url, "restore", tmp_path / "absent", "--replace"))
    assert rows_of(ledger) == before


def test_backup_of_a_newer_tangent_is_refused_and_an_empty_database_has_none(
    database_url: str, ledger: Database, tmp_path: Path
) -> None:
    file = tmp_path / "newer"
    with ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert tangent(database_url, "backup", file).returncode == 0
    assert "revision 9999, which this version of Tangent does not know" in refusal(
        tangent(database_url, "restore", file, "--replace")
    )
    with ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = %(v)s", {"v": migrate.head_revision()})
    ledger.close()
    migrate.downgrade(database_url, "base")
    assert "there is no ledger at this address" in refusal(tangent(database_url, "backup", tmp_path / "none"))
    assert not list(tmp_path.glob(".*")) + list(tmp_path.glob("none"))
