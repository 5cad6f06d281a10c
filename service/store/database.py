"""The connection to Postgres: one pool a process, transactions as context managers, notifications as an iterator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, exc, text

from service.errors import StoreRefusedError, StoreUnavailableError

__all__ = ["Connection", "Database", "step"]

# A network that drops packets silently must not block a write for the kernel's quarter of an hour.
_LINK: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

CHANNEL = "tangent"


def driver_url(url: str) -> str:
    """SQLAlchemy's spelling of a "postgresql://…" address, with the driver named."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


class Database:
    """A pool of connections to one ledger.

    Thread-safe; not to be shared over a fork or spawn. Connections are opened on first use.
    """

    def __init__(self, url: str, *, application_name: str, pool_size: int = 5) -> None:
        """Prepare a pool for `url`, a "postgresql://…" address; opens nothing yet."""
        self._url = url
        self._name = application_name
        self._engine: Engine = create_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            connect_args={"application_name": application_name, **_LINK},
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Raises:
            StoreUnavailableError: Postgres does not answer, or the connection broke in mid-work.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise StoreUnavailableError(_first_line(error)) from error

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection that is kept over several transactions, for session-level advisory locks.

        The caller opens each with `step(connection)`. When the block ends the connection is closed for good, which
        releases its locks.
        """
        try:
            with self._engine.connect() as connection:
                try:
                    yield connection
                finally:
                    connection.invalidate()
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise StoreUnavailableError(_first_line(error)) from error

    def check(self) -> None:
        """Raise StoreUnavailableError where Postgres does not answer."""
        with self.transaction() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()

    def listen(self, timeout_s: float) -> Iterator[list[str]]:
        """Yield the payloads of notifications in batches, an empty batch after each `timeout_s` of silence.

        Never ends by itself.

        Raises:
            StoreUnavailableError: The connection broke; what was sent meanwhile is lost, so look at the tables.
        """
        try:
            with psycopg.connect(self._url, autocommit=True, application_name=self._name, **_LINK) as link:
                link.execute(f"LISTEN {CHANNEL}")
                while True:
                    batch = [notice.payload for notice in link.notifies(timeout=timeout_s, stop_after=1)]
                    batch += [notice.payload for notice in link.notifies(timeout=0)] if batch else []
                    yield batch
        except psycopg.Error as error:
            raise StoreUnavailableError(_first_line(error)) from error


@contextmanager
def step(session: Connection) -> Iterator[None]:
    """One transaction of a session: committed when the block ends, rolled back when it raises.

    Raises:
        StoreUnavailableError: The connection broke, or Postgres chose this transaction to end a deadlock.
        StoreRefusedError: Postgres refused a statement; the session can go on.
    """
    try:
        with session.begin():
            yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise StoreUnavailableError(_first_line(error)) from error
    except exc.DBAPIError as error:
        raise StoreRefusedError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().partition("\n")[0]
