"""The connection to Postgres: one pool a process, transactions as context managers, notifications as an iterator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

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

# The same seen from Postgres: a host that was cut off would else keep its locks, and a coordinator its studies, for two
# hours. Without effect on Unix sockets.
_SERVER_LINK = {"tcp_keepalives_idle": 15, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}

CHANNEL = "tangent"


def driver_url(url: str) -> str:
    """SQLAlchemy's spelling of a "postgresql://…" address, with the driver named."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


class Database:
    """A pool of connections to one ledger.

    Thread-safe; not to be shared over a fork or spawn. Connections are opened on first use.
    """

    def __init__(
        self, url: str, *, application_name: str, pool_size: int = 5, abandoned_after: timedelta | None = None
    ) -> None:
        """Prepare a pool; opens nothing yet.

        Args:
            url: A "postgresql://…" address. Where it has an option `options`, none of ours are sent to the server.
            abandoned_after: How long a transaction may wait for its next statement before Postgres ends the session: a
                process that was stopped in the middle of one would else hold its rows' locks for ever. None for
                processes that compute within a transaction.
        """
        self._url = url
        self._name = application_name
        self._engine: Engine = create_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            connect_args={"application_name": application_name, **_LINK, **_server_options(url, abandoned_after)},
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Raises:
            StoreUnavailableError: Postgres does not answer, or the connection broke in mid-work.
        """
        with _availability(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection that is kept over several transactions, for session-level advisory locks.

        The caller opens each with `step(connection)`. When the block ends the connection is closed for good, which
        releases its locks.
        """
        with _availability(), self._engine.connect() as connection:
            try:
                yield connection
            finally:
                connection.invalidate()

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
            options = {**_LINK, **_server_options(self._url, None)}
            with psycopg.connect(self._url, autocommit=True, application_name=self._name, **options) as link:
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
        with _availability(), session.begin():
            yield
    except exc.DBAPIError as error:
        raise StoreRefusedError(_first_line(error)) from error


@contextmanager
def _availability() -> Iterator[None]:
    """Tell an absent Postgres, and a session that it ended, from a statement that it refused."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise StoreUnavailableError(_first_line(error)) from error
    except exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise StoreUnavailableError(_first_line(error)) from error


def _server_options(url: str, abandoned_after: timedelta | None) -> dict[str, str]:
    """Settings of the server's end of a connection; some managed servers use the address's own to find the database."""
    if "options" in parse_qs(urlsplit(url).query):
        return {}
    settings: dict[str, int] = dict(_SERVER_LINK)
    if abandoned_after is not None:
        settings["idle_in_transaction_session_timeout"] = round(1000 * abandoned_after.total_seconds())
    return {"options": " ".join(f"-c {name}={value}" for name, value in settings.items())}


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().partition("\n")[0]
