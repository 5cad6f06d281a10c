"""Where a package's source lies in a checkout, and what it needs."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.check.errors import InfrastructureError, UsageError

_DEPTH = 3
"""How deep packages are looked for below the top."""
_SKIPPED = {"build", "dist", "node_modules", "site-packages"}


@dataclass(frozen=True)
class Package:
    """A package in a checkout.

    Attributes:
        path: The folder to put first on sys.path.
        folder: The package itself: the folder that holds its modules, or its one file.
        project: The folder with its pyproject.toml; None where there is none.
    """

    path: Path
    folder: Path
    project: Path | None


def find_package(top: Path, name: str, path: str | None, links: Path, *, where: str) -> Package:
    """Find a package by the name under which it is imported.

    Args:
        top: The checkout.
        name: Such as "adamp".
        path: What the configuration says; None looks in `src`, at the top, below it, and for a flat project whose
            pyproject.toml maps the name to its own folder.
        links: An empty folder; a flat project whose folder has another name is linked there.
        where: What the checkout is, for messages: "the baseline (main)".

    Raises:
        UsageError: It is not there, or in several places.
    """
    for folder in [top / "src", top] if path is None else [top / path]:
        if (found := _in(folder, name)) is not None:
            return Package(folder, found, _project(found, top))
    if path is not None:
        raise UsageError(
            f"there is no package '{name}' in the folder '{path}' of {where}; `path` of the configuration names it"
        )
    return _only(list(_below(top, name, links)), name, top, where)


def dependencies(package: Package) -> tuple[str, ...]:
    """Requirement lines that its pyproject.toml declares; () where there is none."""
    if package.project is None:
        return ()
    project = _read(package.project / "pyproject.toml").get("project", {})
    return tuple(map(str, project.get("dependencies", ())))


def digest(package: Package) -> str:
    """A hash of the package's files and of its pyproject.toml."""
    root = package.folder.resolve()
    files = {path.relative_to(root): path for path in root.rglob("*")} if root.is_dir() else {Path(root.name): root}
    if package.project is not None:
        files[Path("..", "pyproject.toml")] = package.project / "pyproject.toml"
    found = hashlib.sha256()
    for name, path in sorted(files.items()):
        if path.is_file() and path.suffix != ".pyc":
            found.update(f"{name.as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _in(folder: Path, name: str) -> Path | None:
    for found in (folder / name, folder / f"{name}.py"):
        if found.is_file() or (found / "__init__.py").is_file():
            return found
    return None


def _below(top: Path, name: str, links: Path) -> Iterator[Package]:
    for folder in _folders(top, _DEPTH):
        if (found := _in(folder, name)) is not None:
            yield Package(folder, found, _project(found, top))
        elif _is_flat(folder, name):
            (links / name).symlink_to(folder)
            yield Package(links, links / name, folder)


def _folders(top: Path, depth: int) -> Iterator[Path]:
    for folder in sorted(top.iterdir()):
        if folder.is_dir() and not folder.is_symlink() and folder.name[0] != "." and folder.name not in _SKIPPED:
            yield folder
            if depth > 1:
                yield from _folders(folder, depth - 1)


def _is_flat(folder: Path, name: str) -> bool:
    path = folder / "pyproject.toml"
    if not path.is_file():
        return False
    mapped = _read(path).get("tool", {}).get("setuptools", {}).get("package-dir", {}).get(name)
    return mapped is not None and Path(mapped) == Path()


def _only(found: list[Package], name: str, top: Path, where: str) -> Package:
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"there is no package '{name}' in {where}: neither at its top, nor in src, nor {_DEPTH} folders deep; "
            "`path` of the configuration can say where it is"
        )
    places = ", ".join(str(package.path.relative_to(top)) for package in found if package.path.is_relative_to(top))
    raise UsageError(
        f"the package '{name}' is in several folders of {where} ({places}); `path` of the configuration says which"
    )


def _project(package: Path, top: Path) -> Path | None:
    """The nearest folder with a pyproject.toml, from the package itself (a flat layout) up to the checkout's top."""
    folder = package if package.is_dir() else package.parent
    while folder != top.parent:
        if (folder / "pyproject.toml").is_file():
            return folder
        folder = folder.parent
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InfrastructureError(f"cannot read {path.name} of the package: {error}") from error
