"""Services of processes on engines that a test may kill, all ended whatever happens."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.engines import PostgresServer, RedisHandle, RedisServer, remove_engines
from service.store.database import Database
from service.store.migrate import upgrade
from tests.integration.faults.hosts import may_make_networks
from tests.integration.faults.support import Service

_FAST = {"fsync": "off", "shared_buffers": "8MB"}
_folders: list[Path] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Generator[None, Any, Any]:
    """Show the end of every program's log with a test that failed."""
    report = yield
    if report.failed:
        for log in (log for folder in _folders for log in sorted(folder.glob("*.log"))):
            report.sections.append((log.name, "\n".join(log.read_text(errors="replace").splitlines()[-25:])))
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and count as deselected, what needs network namespaces where the caller has no right to make any."""
    if may_make_networks():
        return
    left_out = [item for item in items if item.get_closest_marker("network")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _serve(folder: Path, database_url: str, redis_url: str) -> Iterator[Service]:
    service = Service(folder, database_url, redis_url)
    _folders.append(folder)
    yield service
    service.close()
    _folders.remove(folder)


@pytest.fixture
def service(database_url: str, redis: RedisHandle, tmp_path: Path) -> Iterator[Service]:
    """A service on a ledger of this test and the session's Redis."""
    yield from _serve(tmp_path, database_url, redis.url)


@pytest.fixture(scope="module")
def shared_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The address of a ledger for all tests of a module, each with studies of its own."""
    with fresh_database() as url:
        yield url


@pytest.fixture(scope="module")
def shared_ledger(shared_url: str) -> Iterator[Database]:
    database = Database(shared_url, application_name="tangent-tests")
    yield database
    database.close()


@pytest.fixture(scope="module")
def shared_service(shared_url: str, redis: RedisHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on the module's ledger."""
    yield from _serve(tmp_path_factory.mktemp("service"), shared_url, redis.url)


class Engine:
    """PostgreSQL or Redis of one test: its address stays the same over its deaths.

    Attributes:
        pid: Of the latest start.
    """

    def __init__(self, server: PostgresServer | RedisServer) -> None:
        self._server = server
        self.pid = 0
        self.url = self.start()

    def start(self) -> str:
        handle = self._server.start()
        self.pid, url = handle.pid, handle.url
        return url if isinstance(url, str) else url()

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """SIGKILL, and proof that the process is gone; PostgreSQL's backends notice by themselves."""
        process = psutil.Process(self.pid)
        process.kill()
        process.wait(10)
        time.sleep(0.1)
        assert not self._server.is_running()


@pytest.fixture
def own_redis(engines_home: Path) -> Iterator[Engine]:
    """A running Redis of one test."""
    home = engines_home.parent / "faulty-redis"
    engine = Engine(RedisServer(home, log=home / "redis.log"))
    yield engine
    engine.stop()
    remove_engines(home)


@pytest.fixture
def own_postgres(engines_home: Path) -> Iterator[Engine]:
    """A running PostgreSQL of one test with a migrated ledger."""
    home = engines_home.parent / "faulty-postgres"
    engine = Engine(PostgresServer(home, log=home / "postgres.log", extra_settings=_FAST))
    upgrade(engine.url)
    yield engine
    engine.stop()
    remove_engines(home)
