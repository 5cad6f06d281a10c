"""The folder of checkpoints: one file per attempt, found again by the next attempt, removed when the trial has ended.

Each attempt has a file of its own, so that one that has lost its lease cannot spoil the file of its successor. Where
the settings name a URL, the files lie in a folder of this host and are copied there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.config import Settings
from workers.checkpoint_store import CheckpointStore

_log = logging.getLogger(__name__)


class CheckpointFolder:
    """Files of one worker's slots; the folder is made with the first file."""

    def __init__(self, path: Path, store: CheckpointStore | None = None) -> None:
        """Name it; with a store, what lies there is what other hosts find."""
        self._path, self._store = path.absolute(), store

    @classmethod
    def of(cls, settings: Settings) -> CheckpointFolder:
        """The folder that the settings name, or `checkpoints` in the home of the instance."""
        named, usual = settings.checkpoint_dir, (settings.home or Path(".tangent")) / "checkpoints"
        if named is not None and "://" in named:
            return cls(usual, CheckpointStore(named))
        return cls(Path(named) if named else usual)

    def file(self, trial_id: int, attempt: int) -> Path:
        """Where an attempt writes."""
        return self._path / f"trial-{trial_id}-attempt-{attempt}.safetensors"

    def describe(self, path: Path, step: int) -> dict[str, Any] | None:
        """What the ledger keeps of a checkpoint; None where it could not be copied, so that the last one stands."""
        described = {"host": socket.gethostname(), "path": str(path), "step": step}
        if self._store is None:
            return described
        try:
            return {**described, "address": self._store.put(path)}
        except OSError as error:
            _log.warning("the checkpoint of step %d cannot be copied to the others' folder: %s", step, error)
            return None

    def adopt(self, described: Mapping[str, Any] | None, path: Path) -> str:
        """Put an earlier attempt's checkpoint where this attempt's own will be.

        Args:
            described: As `describe` gave it, or None.
            path: This attempt's file, which does not exist yet.

        Returns:
            Why there is nothing to resume from, or "".
        """
        if described is None:
            return "no checkpoint was written before"
        source = described.get("address") if self._store else None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if self._store is not None and source is not None:
                self._store.get(source, path)
            else:
                source = described["path"]
                _link_or_copy(Path(source), path)
        except OSError as error:
            return f"the checkpoint {source} of {described['host']} cannot be read here: {error.strerror or error}"
        return ""

    def remove(self, trial_id: int) -> None:
        """Delete the files of all attempts of a trial that lie in this folder."""
        _delete(self._path.glob(f"trial-{trial_id}-attempt-*.safetensors"))
        if self._store is not None:
            self._store.remove(f"trial-{trial_id}-attempt-")

    def remove_old(self, age: timedelta) -> None:
        """Delete files that were written so long ago: of trials that ended elsewhere, or while they waited."""
        oldest = time.time() - age.total_seconds()
        for path in self._path.glob("trial-*-attempt-*.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # another worker was quicker
                if path.stat().st_mtime < oldest:
                    _delete([path])
        if self._store is not None:
            self._store.remove_old("trial-", age)


def _delete(files: Iterable[Path]) -> None:
    """Delete files; one that cannot be deleted is no reason to stop."""
    for path in files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the checkpoint %s cannot be deleted: %s", path, error.strerror)


def _link_or_copy(source: Path, target: Path) -> None:
    """Link where the disk is the same: a checkpoint is replaced and never written in place."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
