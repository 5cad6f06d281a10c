"""A PostgreSQL and a Redis of a benchmark, with the service's own settings, and the parts of a service on them."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg

from service.config import Settings
from service.coordinator import Coordinator
from service.engines import PostgresServer, RedisServer, remove_engines
from service.queue import make_app
from service.store.database import Database
from service.store.migrate import upgrade


class Engines:
    """Both, running; databases are made with `database`."""

    def __init__(self, home: Path) -> None:
        self._servers = (PostgresServer(home, log=home / "postgres.log"), RedisServer(home, log=home / "redis.log"))
        self._postgres, self._redis = self._servers[0].start(), self._servers[1].start()

    @property
    def redis_url(self) -> str:
        return self._redis.url

    def database(self, name: str, *, is_ledger: bool) -> str:
        """The address of a new database."""
        with psycopg.connect(self._postgres.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        url = self._postgres.url(database=name)
        if is_ledger:
            upgrade(url)
        return url

    def stop(self) -> None:
        for server in self._servers:
            server.stop()


@contextmanager
def engines() -> Iterator[Engines]:
    """On a disk, as a service's are."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        started = Engines(home)
        try:
            yield started
        finally:
            started.stop()
            remove_engines(home)


@contextmanager
def coordinating(url: str, redis_url: str) -> Iterator[Coordinator]:
    """A coordinator in a thread of this process, whose processor time is then counted with it."""
    settings = Settings(database_url=url, redis_url=redis_url, poll=timedelta(seconds=5), sweep=timedelta(seconds=10))  # type: ignore[arg-type]
    database = Database(url, application_name="tangent-coordinator", pool_size=1)
    coordinator, stop = Coordinator(database, make_app(redis_url), settings), threading.Event()
    thread = threading.Thread(target=coordinator.run, args=(stop,))
    thread.start()
    try:
        yield coordinator
    finally:
        stop.set()
        coordinator.wake()
        thread.join()
        database.close()
