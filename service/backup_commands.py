"""`tangent backup` and `tangent restore`: the ledger in one file, by its database's address instead of over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from service import backup as ledgers
from service import launch
from service.config import load_settings
from service.store.contents import Contents
from service.terminal import console, errors

app = typer.Typer()

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup's file.")]


@app.command()
def backup(file: FileArgument) -> None:
    """Write the whole ledger to a file, also while it is in use: TANGENT_DATABASE_URL's, else the local instance's."""
    with _address() as url:
        contents = ledgers.back_up(url, file)
    _say(f"wrote {file} ({file.stat().st_size / 1000:,.0f} kB)", contents)


@app.command()
def restore(
    file: FileArgument,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a ledger that has studies, after writing it to a file.")
    ] = False,
) -> None:
    """Fill an empty ledger from a backup: TANGENT_DATABASE_URL's, else the local instance's, which must be down."""
    with _address(may_make=True) as url:
        contents = ledgers.restore(url, file, _tell, replace=replace)
    _say("restored", contents)


@contextlib.contextmanager
def _address(*, may_make: bool = False) -> Iterator[str]:
    settings = load_settings()
    if settings.database_url is not None:
        yield settings.require_database_url()
        return
    with ledgers.ledger_of_home(launch.home_of(settings), may_make=may_make) as url:
        yield url


def _tell(text: str) -> None:
    errors.print(f"  {text}", style="dim", markup=False)


def _say(what: str, contents: Contents) -> None:
    counts = f"{_count(contents.n_studies, 'study', 'studies')}, {_count(contents.n_trials, 'trial', 'trials')}"
    console.print(f"{what}: {counts}, schema revision {contents.revision}", markup=False)


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
