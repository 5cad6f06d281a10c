"""Questions to git, and detached worktrees; the only module that runs it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from workers.check.errors import InfrastructureError, UsageError

_SHORT = 12
_FULL = re.compile("[0-9a-f]{40}")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_TRAILER = "Tangent-Check"


@dataclass(frozen=True)
class Repository:
    """A repository with a working tree.

    Attributes:
        top: The working tree's folder.
    """

    top: Path

    @staticmethod
    def around(folder: Path) -> Repository:
        """The one that holds `folder`; raises UsageError where there is none."""
        done = _git(folder, "rev-parse", "--show-toplevel")
        if done.returncode:
            words = " ".join(done.stderr.split()) or "it has no working tree"
            raise UsageError(
                f"{folder} is in no git repository that can be read ({words}); run in one, "
                "or name versions (package==1.2) or classes (package:Class)"
            )
        return Repository(Path(done.stdout.strip()))

    def commit_of(self, ref: str) -> str:
        """The full id of the commit that `ref` names; raises UsageError where there is none."""
        done = _git(self.top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        if done.returncode:
            hint = " (this clone is shallow; fetch more of it)" if self.is_shallow else ""
            hint = "; a class is named package:Class" if _DOTTED.fullmatch(ref) else hint
            raise UsageError(f"there is no commit '{ref}' in {self.top}{hint}")
        return done.stdout.strip()

    def find_commit(self, ref: str) -> str | None:
        """As `commit_of`, but None where there is none."""
        try:
            return self.commit_of(ref)
        except UsageError:
            return None

    @property
    def is_shallow(self) -> bool:
        """Whether the history was cut off when it was cloned."""
        return self._ask("rev-parse", "--is-shallow-repository") == "true"

    @property
    def is_dirty(self) -> bool:
        """Whether files differ from the commit, files that git does not know included."""
        return bool(self._ask("status", "--porcelain"))

    def revision(self) -> str:
        """The working tree's: the commit's id, shortened and marked where files differ from it."""
        commit = self.commit_of("HEAD")
        return f"{commit[:_SHORT]}-dirty" if self.is_dirty else commit

    def files(self) -> list[str]:
        """Paths of the working tree that git knows or would add, in the folder `top`; those deleted are left out.

        Raises:
            UsageError: A merge is not finished.
        """
        if self._ask("ls-files", "--unmerged"):
            raise UsageError(f"{self.top} has files with merge conflicts; resolve them first")
        listed = self._ask("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        found = (path for path in dict.fromkeys(listed) if path)
        return [path for path in found if (self.top / path).is_symlink() or (self.top / path).exists()]

    def merge_base(self, first: str, second: str) -> str | None:
        """Their newest common ancestor's id; None where there is none."""
        done = _git(self.top, "merge-base", first, second)
        return done.stdout.strip() if done.returncode == 0 else None

    def last_tag(self, ref: str) -> str | None:
        """The nearest tag at or before `ref`; None where there is none."""
        done = _git(self.top, "describe", "--tags", "--abbrev=0", ref)
        return done.stdout.strip() if done.returncode == 0 else None

    def trailers(self, baseline: str, candidate: str) -> list[str]:
        """Values of the trailer "Tangent-Check" in the commits that `candidate` has and `baseline` has not."""
        form = f"--format=%(trailers:key={_TRAILER},valueonly)"
        return self._ask("log", form, f"{baseline}..{candidate}").split()

    def add_worktree(self, folder: Path, commit: str) -> None:
        """Check a commit out into a new folder; its hooks do not run."""
        self._ask("-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", str(folder), commit)

    def remove_worktree(self, folder: Path) -> None:
        """Remove what `add_worktree` made, whatever has been changed in it; again is harmless."""
        _git(self.top, "worktree", "remove", "--force", "--force", str(folder))

    def _ask(self, *arguments: str) -> str:
        done = _git(self.top, *arguments)
        if done.returncode:
            words = " ".join(done.stderr.split()) or f"code {done.returncode}"
            raise InfrastructureError(f"git {arguments[0]} in {self.top} failed: {words}")
        return done.stdout.strip()


def shown(ref: str) -> str:
    """A commit's full id by its first digits; any other ref as it is."""
    return ref[:_SHORT] if _FULL.fullmatch(ref) else ref


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
    except OSError as error:
        raise InfrastructureError(f"git cannot be run: {error.strerror}") from error
