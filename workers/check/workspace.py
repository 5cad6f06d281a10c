"""A check's temporary folder: worktrees, copies and environments, gone when the check ends, however it ends.

Where the process is killed outright nothing can be removed; the folder's lock is then free, and the next check on this
machine removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service import interrupts
from workers.check.git import Repository

_PREFIX, _LOCK, _ORIGIN = "tangent-check-", "lock", "worktrees-of"


@dataclass(frozen=True)
class Checkout:
    """Code from git.

    Attributes:
        revision: The commit's id; of a working tree with changes shortened, with "-dirty".
    """

    folder: Path
    revision: str


class Workspace:
    """A context manager; what it makes lies in `folder` until it ends."""

    def __init__(self, parent: Path | None = None) -> None:
        """Name the folder that holds it; the system's for temporary files where none is given."""
        self._parent = Path(parent or tempfile.gettempdir())
        self._worktrees: list[tuple[Repository, Path]] = []
        self._checkouts: dict[str, Checkout] = {}

    def __enter__(self) -> Self:
        with interrupts.deferred():
            for left in sorted(self._parent.glob(f"{_PREFIX}*")):
                _remove_if_left(left)
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
            self._lock = os.open(self.folder / f"{_LOCK}.new", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            (self.folder / f"{_LOCK}.new").rename(self.folder / _LOCK)  # never seen unlocked while we live
        return self

    def __exit__(self, *_: object) -> None:
        with interrupts.deferred():
            for repository, path in self._worktrees:
                repository.remove_worktree(path)
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)

    def checkout(self, name: str, repository: Repository, ref: str) -> Checkout:
        """A ref as a worktree, or (".") a copy of the working tree as it is now, but for what git ignores.

        A second time the same is returned, wherever the ref has moved.
        """
        if name not in self._checkouts:
            path = self.folder / name
            if ref == ".":
                revision = repository.revision()
                _copy(repository, path)
            else:
                revision = repository.commit_of(ref)
                self._add_worktree(repository, path, revision)
            self._checkouts[name] = Checkout(path, revision)
        return self._checkouts[name]

    def _add_worktree(self, repository: Repository, path: Path, commit: str) -> None:
        with interrupts.deferred():
            (self.folder / _ORIGIN).write_text(str(repository.top))
            self._worktrees.append((repository, path))
            repository.add_worktree(path, commit)

    def empty(self, name: str) -> Path:
        """A new folder."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def _copy(repository: Repository, target: Path) -> None:
    for entry in repository.files():
        source, path = repository.top / entry, target / entry
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():  # a submodule
            shutil.copytree(source, path, symlinks=True, ignore=shutil.ignore_patterns(".git"), dirs_exist_ok=True)
        else:
            shutil.copy2(source, path, follow_symlinks=False)


def _remove_if_left(folder: Path) -> None:
    """Remove a workspace of this user whose process was killed."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:  # another user's, or one that is being made
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        _remove(folder)
    finally:
        os.close(lock)


def _remove(folder: Path) -> None:
    origin = folder / _ORIGIN
    if origin.is_file():
        repository = Repository(Path(origin.read_text()))
        for path in (path for path in folder.iterdir() if (path / ".git").is_file()):
            with contextlib.suppress(OSError):
                repository.remove_worktree(path)
    shutil.rmtree(folder, ignore_errors=True)
