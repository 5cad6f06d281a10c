"""The schema: up, down, up again, two at once, a newer one; and that it is what the metadata say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from service.errors import ConfigurationError, StoreUnavailableError
from service.store import migrate
from service.store.schema import metadata
from tests.integration.store.support import (
    add_study,
    assert_consistent,
    claim_one,
    in_threads,
    own_database,
)

REPOSITORY = Path(__file__).parents[3]
TABLES = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")


@pytest.fixture
def empty_url(database_url):
    migrate.downgrade(database_url, "base")
    return database_url


def tables(url):
    with own_database(url) as database, database.transaction() as connection:
        return list(connection.execute(TABLES).scalars())


def test_down_removes_every_table_and_up_brings_them_back(database_url):
    before = tables(database_url)
    assert set(metadata.tables) | {"alembic_version"} == set(before)
    migrate.downgrade(database_url, "base")
    assert tables(database_url) == ["alembic_version"]
    assert migrate.current_revision(database_url) is None
    migrate.upgrade(database_url)
    assert tables(database_url) == before
    assert migrate.current_revision(database_url) == migrate.head_revision()


def test_ledger_works_after_down_and_up(empty_url):
    migrate.upgrade(empty_url)
    with own_database(empty_url) as ledger:
        add_study(ledger, 2)
        claim_one(ledger)
        assert_consistent(ledger)


def test_upgrade_twice_keeps_the_data(database_url, ledger):
    add_study(ledger, 2)
    migrate.upgrade(database_url)
    assert claim_one(ledger).number == 0


def test_migrations_make_exactly_what_the_metadata_say(ledger):
    with ledger.transaction() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        checks = connection.execute(text("SELECT conname FROM pg_constraint WHERE contype = 'c'")).scalars()
        expected = {
            str(constraint.name)
            for table in metadata.tables.values()
            for constraint in table.constraints
            if type(constraint).__name__ == "CheckConstraint"
        }
        assert {name for name in checks if name.startswith("ck_")} == expected


def test_four_upgrades_at_once_do_not_collide(empty_url):
    in_threads(4, lambda _: migrate.upgrade(empty_url))
    assert migrate.current_revision(empty_url) == migrate.head_revision()


def test_processes_that_migrate_two_ledgers_of_one_server_at_once_make_logins_and_succeed(fresh_database):
    """Roles belong to the server, so all of them meet there; two migrate the same ledger."""
    with fresh_database() as first, fresh_database() as second:
        urls = [first, first, second]
        for url in (first, second):
            migrate.downgrade(url, "base")
        processes = [start_migration(url) for url in urls]
        answers = [(*process.communicate(timeout=60), process.returncode) for process in processes]
        assert answers == [(f"the ledger is at revision {migrate.head_revision()}\n", "", 0)] * 3
        for url in urls:
            assert migrate.current_revision(url) == migrate.head_revision()


def start_migration(url):
    passwords = {"TANGENT_SERVICE_LOGIN_PASSWORD": "s" * 20, "TANGENT_WORKER_LOGIN_PASSWORD": "w" * 20}
    return subprocess.Popen(
        [sys.executable, "-m", "service.migrate"],
        cwd=REPOSITORY,
        env={**os.environ, "TANGENT_DATABASE_URL": url, **passwords},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("work", [migrate.upgrade, lambda url: migrate.downgrade(url, "base")], ids=["up", "down"])
def test_newer_ledger_is_refused_and_untouched(database_url, ledger, work):
    with ledger.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="revision 9999, which this version of Tangent does not know"):
        work(database_url)
    assert "studies" in tables(database_url)


def test_absent_server_is_one_sentence():
    nowhere = "postgresql://nobody:nothing@/nothing?host=/nonexistent&port=5432"
    for work in (migrate.upgrade, migrate.current_revision):
        with pytest.raises(StoreUnavailableError) as caught:
            work(nowhere)
        assert "\n" not in str(caught.value)
