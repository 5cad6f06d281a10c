"""The ledger in one file, and back: `pg_dump` and `pg_restore` around our own migrations.

The file is PostgreSQL's custom format and holds data only. The schema, its groups and their rights are made by the
migrations, up to the revision that the file was written at and then to the newest one; so a ledger moves between
servers with other owners and other versions, and an older one is brought up to date on its way.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from service.engines import PostgresServer
from service.engines.pgtools import PostgresTool
from service.errors import ConfigurationError, ConflictError, EngineError
from service.store import migrate
from service.store.contents import VERSION_TABLE, Contents, contents_of

Tell = Callable[[str], None]


@contextlib.contextmanager
def ledger_of_home(home: Path, *, may_make: bool = False) -> Iterator[str]:
    """The address of a local instance's ledger; its PostgreSQL runs for as long as the block lasts, if need be.

    Args:
        may_make: A home without a ledger gets one.

    Raises:
        ConfigurationError: There is none.
    """
    if not may_make and not (home / "engines.json").exists():
        raise ConfigurationError(f"there is no ledger in {home}; name one with TANGENT_HOME or TANGENT_DATABASE_URL")
    server = PostgresServer(home, log=home / "logs" / "postgres.log")
    if server.is_running():
        yield server.url()
        return
    handle = server.start()
    try:
        yield handle.url()
    finally:
        server.stop()


def back_up(url: str, file: Path) -> Contents:
    """Write the ledger at `url`, as it is in one moment, to a new file of mode 0600; it may be in use meanwhile.

    Returns:
        What the ledger held when the writing began.

    Raises:
        ConfigurationError: There is no ledger, or pg_dump is older than the server.
        ConflictError: The file exists.
        EngineError: pg_dump failed; there is no file then.
        StoreUnavailableError: Postgres does not answer.
    """
    if file.exists():
        raise ConflictError(f"{file} exists; name a new file")
    contents = contents_of(url)
    if contents.revision is None:
        raise ConfigurationError("there is no ledger at this address: its database has no schema of Tangent")
    tool = PostgresTool("pg_dump")
    tool.require(contents.server_major)
    draft = file.with_name(f".{file.name}.part")
    tables = [f"--table=public.{table}" for table in contents.tables]
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        tool.run("--format=custom", "--data-only", "--no-owner", *tables, f"--file={draft}", url=url)
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)
    return contents


def restore(url: str, file: Path, tell: Tell, *, replace: bool = False) -> Contents:
    """Fill the ledger at `url` from a file of `back_up`, and bring it to the newest schema.

    Args:
        tell: Called with one sentence for each step.
        replace: A ledger with studies is replaced; it is written to a file beside `file` before.

    Returns:
        What the ledger holds now.

    Raises:
        ConfigurationError: The file is no backup, damaged, or of a newer Tangent.
        ConflictError: The ledger has studies, or is in use; nothing was changed.
        EngineError: pg_restore failed; the ledger is empty then.
        StoreUnavailableError: Postgres does not answer.
    """
    revision = _check(file)
    before = contents_of(url)
    _refuse_use(before)
    if before.n_studies:
        _save(url, file, before, tell, may=replace)
    tell(f"making an empty ledger at schema revision {revision}, that of the file")
    migrate.downgrade(url, "base")
    migrate.upgrade(url, revision)
    tell(f"reading {file}")
    with _entries_of(file) as entries:
        options = ("--data-only", "--no-owner", "--single-transaction", "--exit-on-error")
        PostgresTool("pg_restore").run(*options, f"--use-list={entries}", str(file), url=url)
    tell(f"migrating to schema revision {migrate.head_revision()}")
    migrate.upgrade(url)
    return contents_of(url)


def _check(file: Path) -> str:
    """The schema revision of a backup; every byte of it was read."""
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    tool = PostgresTool("pg_restore")
    try:
        tool.run("--data-only", "--file=/dev/null", str(file))
        rows = tool.run("--data-only", f"--table={VERSION_TABLE}", "--file=-", str(file)).splitlines()
    except EngineError as error:
        raise ConfigurationError(f"{file} cannot be read as a backup of a ledger: {error}") from error
    starts = [number for number, row in enumerate(rows) if row.startswith(f"COPY public.{VERSION_TABLE} ")]
    if not starts:
        raise ConfigurationError(f"{file} is a file of pg_dump, but no backup of a ledger: it names no schema revision")
    revision = rows[starts[0] + 1]
    if not migrate.is_known(revision):
        raise ConfigurationError(
            f"{file} is at schema revision {revision}, which this version of Tangent does not know; "
            "install the version that wrote it, or a newer one"
        )
    return revision


def _refuse_use(contents: Contents) -> None:
    if contents.others:
        used_by = ", ".join(contents.others)
        raise ConflictError(f"the ledger is in use by {used_by}; stop Tangent there first (locally: `tangent down`)")


def _save(url: str, file: Path, contents: Contents, tell: Tell, *, may: bool) -> None:
    if not may:
        raise ConflictError(
            f"the ledger has studies ({contents.n_studies}, with {contents.n_trials} trials) and was left alone; "
            "restore into an empty one, or replace it with --replace, which writes it to a file before"
        )
    saved = file.with_name(f"before-restore-{time.strftime('%Y%m%d-%H%M%S')}.tangent")
    back_up(url, saved)
    tell(f"what was there before is in {saved}")


@contextlib.contextmanager
def _entries_of(file: Path) -> Iterator[Path]:
    """A file that lists what is to be restored: all data but the revision's, which the migration writes."""
    listed = PostgresTool("pg_restore").run("--data-only", "--list", str(file)).splitlines()
    kept = [line for line in listed if f" {VERSION_TABLE} " not in line]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "entries"
        path.write_text("\n".join(kept) + "\n")
        yield path
