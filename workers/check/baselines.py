"""The baseline where none was named: what the candidate comes from."""

from __future__ import annotations

from dataclasses import dataclass

from workers.check.errors import InfrastructureError
from workers.check.git import Repository

_TRUNKS = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class Baseline:
    """A commit, and why it is the baseline."""

    commit: str
    why: str


def default_baseline(repository: Repository, candidate: str, *, is_nightly: bool) -> Baseline:
    """The merge base with the trunk where the candidate lies on a branch, else the last release, else the parent.

    Args:
        candidate: A ref; "." stands for the working tree, whose changes come after HEAD.
        is_nightly: Only the last release will do.

    Raises:
        InfrastructureError: There is none of them.
    """
    is_tree = candidate == "."
    newest = repository.commit_of("HEAD" if is_tree else candidate)
    release = _release(repository, newest, is_tree and repository.is_dirty)
    if is_nightly:
        if release is None:
            raise InfrastructureError("there is no release to compare with: no tag at or before the candidate")
        return release
    found = _branch_point(repository, newest) or release or _parent(repository, newest, is_tree)
    if found is None:
        why = "this clone is shallow" if repository.is_shallow else "the history is one commit"
        raise InfrastructureError(
            f"there is no baseline: {why}, without a release's tag; fetch more history or name one with --baseline"
        )
    return found


def _branch_point(repository: Repository, newest: str) -> Baseline | None:
    for trunk in _TRUNKS:
        if repository.find_commit(trunk) and (base := repository.merge_base(newest, trunk)) not in (None, newest):
            return Baseline(str(base), f"the merge base with {trunk}")
    return None


def _release(repository: Repository, newest: str, has_changes: bool) -> Baseline | None:
    """The last tag before `newest`; one at it counts only where there are changes after it."""
    start = newest if has_changes else f"{newest}^"
    tag = repository.last_tag(start) if repository.find_commit(start) else None
    return Baseline(repository.commit_of(tag), f"the last release, {tag}") if tag else None


def _parent(repository: Repository, newest: str, is_tree: bool) -> Baseline | None:
    if is_tree and repository.is_dirty:
        return Baseline(newest, "HEAD, which the working tree changes")
    parent = repository.find_commit(f"{newest}^")
    return Baseline(parent, "the commit before it") if parent else None
