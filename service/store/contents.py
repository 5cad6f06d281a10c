"""What a ledger holds as a whole, asked by whoever copies it to a file or over another one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from service.store.database import Database
from service.store.schema import metadata

VERSION_TABLE = "alembic_version"


@dataclass(frozen=True)
class Contents:
    """A ledger at one moment.

    Attributes:
        server_major: PostgreSQL's major version, such as 18.
        revision: Of the schema; None where there is none.
        tables: Ours that exist, that of the revision included.
        others: Tangent's processes that are connected, such as "tangent-api".
    """

    server_major: int
    revision: str | None
    tables: tuple[str, ...]
    n_studies: int
    n_trials: int
    others: tuple[str, ...]


def contents_of(url: str) -> Contents:
    """Look at the ledger at `url`; raises StoreUnavailableError where Postgres does not answer."""
    database = Database(url, application_name="tangent-backup", pool_size=1)
    try:
        with database.transaction() as connection:
            return _contents(connection)
    finally:
        database.close()


def _contents(connection: Connection) -> Contents:
    tables = _existing(connection)
    revision = None
    if VERSION_TABLE in tables:
        revision = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()
    return Contents(
        server_major=int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000,
        revision=revision,
        tables=tables,
        n_studies=_count(connection, "studies", tables),
        n_trials=_count(connection, "trials", tables),
        others=_others(connection),
    )


def _existing(connection: Connection) -> tuple[str, ...]:
    ours = [VERSION_TABLE, *metadata.tables]
    statement = text(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename = ANY(:ours) ORDER BY 1"
    )
    return tuple(connection.execute(statement, {"ours": ours}).scalars())


def _count(connection: Connection, table: str, tables: tuple[str, ...]) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()) if table in tables else 0


def _others(connection: Connection) -> tuple[str, ...]:
    statement = text("""
        SELECT DISTINCT application_name FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'tangent-%'
        ORDER BY 1
    """)
    return tuple(connection.execute(statement).scalars())
