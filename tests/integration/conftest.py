"""One PostgreSQL and one Redis for the session; for each test a fresh, migrated database of its own."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.engines import PostgresHandle, PostgresServer, RedisHandle, RedisServer, remove_engines
from service.store.database import Database
from service.store.migrate import upgrade

_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB"}
_TEMPLATE = "migrated"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def engines_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("engines") / "home"
    yield home
    remove_engines(home)


@pytest.fixture(scope="session")
def postgres(engines_home: Path) -> Iterator[PostgresHandle]:
    """A running server with a migrated database to copy."""
    server = PostgresServer(engines_home, log=engines_home / "postgres.log", extra_settings=_SETTINGS)
    handle = server.start()
    try:
        _execute(handle, f"CREATE DATABASE {_TEMPLATE}")
        upgrade(handle.url(database=_TEMPLATE))
        yield handle
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis(engines_home: Path) -> Iterator[RedisHandle]:
    server = RedisServer(engines_home, log=engines_home / "redis.log")
    yield server.start()
    server.stop()


@pytest.fixture
def database_url(postgres: PostgresHandle) -> Iterator[str]:
    """The address of a fresh ledger: a copy of the migrated database, about 50 ms."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY file_copy")
    yield postgres.url(database=name)
    _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def ledger(database_url: str) -> Iterator[Database]:
    database = Database(database_url, application_name="tangent-tests")
    yield database
    database.close()


def _execute(handle: PostgresHandle, statement: str) -> None:
    with psycopg.connect(handle.url(), autocommit=True) as connection:
        connection.execute(statement.encode())
