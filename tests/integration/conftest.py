"""One PostgreSQL and one Redis for the session; for each test a fresh, migrated database of its own."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest

from service.engines import PostgresHandle, PostgresServer, RedisHandle, RedisServer, remove_engines
from service.store.database import Database
from service.store.migrate import upgrade

_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB"}
_TEMPLATE = "migrated"
_MEMORY = Path("/dev/shm")
_numbers = itertools.count()


@pytest.fixture(scope="session")
def engines_home() -> Iterator[Path]:
    """A folder in memory, where there is enough, that the engines' account can reach (pytest's are root's, 0700)."""
    in_memory = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 2**30
    with tempfile.TemporaryDirectory(dir=_MEMORY if in_memory else None) as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
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


@pytest.fixture(scope="session")
def fresh_database(postgres: PostgresHandle) -> Callable[[], AbstractContextManager[str]]:
    """Make a copy of the migrated database, about 20 ms, for as long as a block lasts; gives its address."""

    @contextmanager
    def make() -> Iterator[str]:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY file_copy")
        yield postgres.url(database=name)
        _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")

    return make


@pytest.fixture
def database_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The address of a ledger that only this test uses."""
    with fresh_database() as url:
        yield url


@pytest.fixture
def ledger(database_url: str) -> Iterator[Database]:
    """The ledger at `database_url`."""
    database = Database(database_url, application_name="tangent-tests")
    yield database
    database.close()


def _execute(handle: PostgresHandle, statement: str) -> None:
    with psycopg.connect(handle.url(), autocommit=True) as connection:
        connection.execute(statement.encode())
