"""Schema versions: upgrade and downgrade with Alembic, safe when two start at once."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, exc, text

from service.errors import ConfigurationError, StoreUnavailableError
from service.store.database import driver_url

_LOCK = 0x7460


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the ledger at `url` up to `revision`; waits while another process migrates.

    Raises:
        StoreUnavailableError: Postgres does not answer.
        ConfigurationError: The ledger was written by a newer Tangent.
    """
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Bring the ledger down to `revision`; "base" drops every table and all data."""
    _run(url, lambda config: command.downgrade(config, revision))


def head_revision() -> str:
    """The newest revision that this code knows; raises where there are several heads."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise ConfigurationError("the folder migrations/versions holds no migration")
    return head


def is_known(revision: str) -> bool:
    """True where this code has the migration that leads to `revision`."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def current_revision(url: str) -> str | None:
    """The ledger's revision, None where it is empty."""
    engine = create_engine(driver_url(url), connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except exc.OperationalError as error:
        raise StoreUnavailableError(str(error.orig).strip().partition("\n")[0]) from error
    finally:
        engine.dispose()


def revision_of(connection: Connection) -> str | None:
    """The revision of the ledger at the other end of a connection, None where it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def _run(url: str, work: Callable[[Config], None]) -> None:
    engine = create_engine(driver_url(url), connect_args={"application_name": "tangent-migrate", "connect_timeout": 10})
    config = _config()
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            _refuse_newer(MigrationContext.configure(connection).get_current_revision(), config)
            config.attributes["connection"] = connection
            work(config)
    except exc.OperationalError as error:
        raise StoreUnavailableError(str(error.orig).strip().partition("\n")[0]) from error
    finally:
        engine.dispose()


def _refuse_newer(current: str | None, config: Config) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise ConfigurationError(
            f"the ledger is at schema revision {current}, which this version of Tangent does not know; "
            "install the version that wrote it, or a newer one"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    return config
