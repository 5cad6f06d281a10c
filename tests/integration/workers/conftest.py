"""Workers as processes, stopped whatever happens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from service.engines import RedisHandle, RedisServer, remove_engines
from service.store.database import Database
from tests.integration.workers.support import WorkerProcess

Start = Callable[..., WorkerProcess]


@pytest.fixture
def start_worker(database_url: str, redis: RedisHandle, tmp_path: Path) -> Iterator[Start]:
    """Start workers of one slot on this test's ledger; keyword arguments are variables of the environment."""
    started: list[WorkerProcess] = []

    def start(queues: str = "cpu", **variables: str) -> WorkerProcess:
        engines = {"TANGENT_DATABASE_URL": database_url, "TANGENT_REDIS_URL": redis.url}
        settings = {"TANGENT_SLOTS": "1", "TANGENT_LEASE": "3", "TANGENT_CHECKPOINT_DIR": str(tmp_path / "checkpoints")}
        log = tmp_path / f"worker-{len(started)}.log"
        started.append(WorkerProcess(log, queues=queues, **{**engines, **settings, **variables}))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()


class OwnRedis:
    """A Redis of one test, to be started and stopped by it; its address stays the same."""

    def __init__(self, home: Path) -> None:
        self._server = RedisServer(home, log=home / "redis.log")
        self.start, self.stop = self._server.start, self._server.stop
        self.url = self.start().url
        self.stop()


@pytest.fixture
def own_redis(engines_home: Path) -> Iterator[OwnRedis]:
    """Not started yet."""
    home = engines_home.parent / "own"
    own = OwnRedis(home)
    yield own
    own.stop()
    remove_engines(home)


@pytest.fixture(scope="module")
def shared_ledger(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[tuple[str, Database]]:
    """A ledger for all tests of a module, each with studies of its own: (address, database)."""
    with fresh_database() as url:
        database = Database(url, application_name="tangent-tests")
        yield url, database
        database.close()


@pytest.fixture(scope="module")
def shared_worker(
    shared_ledger: tuple[str, Database], redis: RedisHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """A worker with two slots on the shared ledger."""
    folder = tmp_path_factory.mktemp("worker")
    worker = WorkerProcess(
        folder / "worker.log",
        TANGENT_DATABASE_URL=shared_ledger[0],
        TANGENT_REDIS_URL=redis.url,
        TANGENT_SLOTS="2",
        TANGENT_LEASE="3",
        TANGENT_CHECKPOINT_EVERY="0.3",
    )
    worker.wait_for_line("serving cpu with 2 slots")
    yield worker
    worker.kill()
