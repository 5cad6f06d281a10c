"""Opening an existing Optuna study to read it: an SQLite file, a PostgreSQL address or a journal file.

Optuna's storages create their tables, or their file, where there are none. Here nothing is created: what is opened must
exist, and SQLite and PostgreSQL are opened read-only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from service.errors import InvalidInputError
from service.store.database import driver_url

_SQLITE = "sqlite:///"
_MAGIC = b"SQLite format 3\x00"


@contextmanager
def opened_study(where: str, name: str) -> Iterator[optuna.Study]:
    """The study of that name, for as long as the block lasts.

    Args:
        where: A file (SQLite or Optuna's journal), "sqlite:///FILE" or "postgresql://…".

    Raises:
        InvalidInputError: Nothing can be read there, or no study has that name; with the names that there are.
    """
    storage = _open(where)
    try:
        try:
            names = [study.study_name for study in storage.get_all_studies()]
        except StorageInternalError as error:
            raise InvalidInputError(_unreadable(where, error)) from error
        if name not in names:
            known = ", ".join(sorted(names)[:20]) or "none"
            raise InvalidInputError(f"{without_secrets(where)} holds no Optuna study '{name}'; it holds {known}")
        yield optuna.load_study(study_name=name, storage=storage)
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def without_secrets(where: str) -> str:
    """An address without its user and password; a file's name as it is."""
    named = re.sub(r"(?<=://)[^/@]*@", "", where)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", named)


def _open(where: str) -> BaseStorage:
    if where.startswith(_SQLITE):
        return _open_file(Path(where.removeprefix(_SQLITE)))
    if where.startswith("postgresql://"):
        separator = "&" if urlsplit(where).query else "?"
        return _open_database(f"{driver_url(where)}{separator}options=-cdefault_transaction_read_only%3Don", where)
    if "://" in where:
        scheme = where.partition("://")[0]
        raise InvalidInputError(f"Optuna studies are read from files and postgresql://, not from {scheme}://")
    return _open_file(Path(where))


def _open_file(path: Path) -> BaseStorage:
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}") from error
    if start == _MAGIC:
        return _open_database(f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&uri=true", str(path))
    if not start.startswith(b"{"):  # a journal is a line of JSON for each operation
        raise InvalidInputError(f"{path} is neither an SQLite file nor a journal of Optuna's")
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, AssertionError, OSError) as error:  # Optuna asserts what it reads
        raise InvalidInputError(
            f"{path} cannot be read as a journal of Optuna's: {type(error).__name__}: {error}"
        ) from error


def _open_database(url: str, where: str) -> BaseStorage:
    try:
        return RDBStorage(url)
    except Exception as error:  # a driver's: only the store knows its classes
        raise InvalidInputError(_unreadable(where, error)) from error


def _unreadable(where: str, error: Exception) -> str:
    cause = str(error.__cause__ or error).strip().partition("\n")[0]
    return f"{without_secrets(where)} holds no Optuna studies that can be read: {cause}"
