"""Checkpoints at an fsspec URL (s3://, gs://, sftp://, file:// …): copies of one folder's files that every host reads.

Of fsspec only what all its filesystems have is used. Whatever one of them raises is an OSError here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from service.errors import ConfigurationError

_log = logging.getLogger(__name__)


class CheckpointStore:
    """The files at one URL; connects at first use."""

    def __init__(self, url: str) -> None:
        """Name it.

        Raises:
            ConfigurationError: fsspec does not know the URL's scheme, or the package that serves it is not installed.
        """
        from fsspec.core import url_to_fs  # slow, and needed where a URL is set only

        try:
            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"TANGENT_CHECKPOINT_DIR={url} cannot be used: {error}") from error

    def put(self, file: Path) -> str:
        """Copy a local file there, whole or not at all; returns its address for `get`."""
        address = f"{self._root}/{file.name}"
        with _as_os_error():
            self._files.makedirs(self._root, exist_ok=True)
            self._files.put_file(str(file), f"{address}.part")
            self._files.mv(f"{address}.part", address)
        return address

    def get(self, address: str, file: Path) -> None:
        """Copy what `put` wrote, on whatever host, to a local file."""
        with _as_os_error():
            self._files.get_file(address, str(file))

    def remove(self, prefix: str) -> None:
        """Delete the files whose names begin so."""
        for address in self._names(prefix):
            self._try(partial(self._files.rm_file, address), f"the checkpoint {address} cannot be deleted")

    def remove_old(self, prefix: str, age: timedelta) -> None:
        """Delete those that were written so long ago, where the filesystem knows when that was."""
        for address in self._names(prefix):
            written_at = self._try(partial(self._files.modified, address), f"{address} has no date")
            if isinstance(written_at, datetime) and _age_of(written_at) > age:
                self._files.rm_file(address)

    def _names(self, prefix: str) -> list[str]:
        found = self._try(lambda: self._files.ls(self._root, detail=False), f"{self._root} cannot be listed")
        return [name for name in found or [] if name.rpartition("/")[2].startswith(prefix)]

    def _try(self, work: Callable[[], Any], problem: str) -> Any:
        """What `work` gives; None, and a line of the log, where it fails: tidying up is no reason to stop."""
        try:
            with _as_os_error():
                return work()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s: %s", problem, error)
            return None


def _age_of(written_at: datetime) -> timedelta:
    return datetime.now(UTC) - (written_at if written_at.tzinfo else written_at.replace(tzinfo=UTC))


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """Filesystems raise errors of their own libraries."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
