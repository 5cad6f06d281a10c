"""Attempts in this process, and workers as processes, stopped whatever happens."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import torch

from service.domain.catalog import BUILT_IN
from service.engines import PostgresServer, RedisHandle, RedisServer, remove_engines
from service.store.database import Database
from service.store.leases import Capabilities, Claim, claim_next_trial
from tests.integration.workers.support import EXHAUSTING, PLUGINS, RAISING, SLOW, WorkerProcess
from workers.attempt import Workplace
from workers.checkpoint_folder import CheckpointFolder
from workers.logs import Tail
from workers.training import configure_torch

Start = Callable[..., WorkerProcess]
ALLOWED = (SLOW, RAISING, EXHAUSTING)
LONG = timedelta(minutes=5)


@pytest.fixture
def deterministic_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(PLUGINS))
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    configure_torch(n_threads=1)
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture
def place(ledger: Database, tmp_path: Path, deterministic_torch: None) -> Workplace:
    """What a slot's attempts need, with an endless lease and no periodic checkpoints."""
    return Workplace(
        database=ledger,
        checkpoints=CheckpointFolder(tmp_path / "checkpoints"),
        device="cpu",
        device_class="cpu",
        lease=LONG,
        checkpoint_every_s=1e9,
        allowed=ALLOWED,
        stopping=threading.Event(),
        looking=threading.Event(),
        tail=Tail(),
    )


@pytest.fixture
def claim(ledger: Database) -> Callable[[], Claim]:
    """Claim the next trial; fails where there is none."""
    capabilities = Capabilities(("cpu",), (*BUILT_IN.workloads, *ALLOWED), tuple(BUILT_IN.optimizers), "revision")

    def take() -> Claim:
        with ledger.transaction() as connection:
            taken = claim_next_trial(
                connection, "cpu", capabilities, worker_id=uuid4(), slot=0, environment_id=None, lease=LONG
            )
        assert taken is not None
        return taken

    return take


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


@pytest.fixture
def own_postgres(engines_home: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL of one test, to be started and stopped by it; its address stays the same."""
    home = engines_home.parent / "own_postgres"
    server = PostgresServer(home, log=home / "postgres.log", extra_settings={"fsync": "off", "shared_buffers": "8MB"})
    yield server
    server.stop()
    remove_engines(home)


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
