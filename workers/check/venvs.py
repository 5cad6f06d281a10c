"""Environments of a side's own: what is installed here stays visible, and what the side needs comes before it."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from workers.check.errors import InfrastructureError, UsageError

_TIMEOUT_S = 900.0


def make_venv(folder: Path) -> str:
    """A new environment in which everything of this one can be imported; returns its interpreter.

    `--system-site-packages` would show the base interpreter's packages, not those of the venv in which we may run.
    """
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    inherited = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (own / "_inherited.pth").write_text("\n".join(inherited) + "\n")
    return str(folder / "bin" / "python")


def install(python: str, requirements: Sequence[str], folder: Path, *, own: str | None = None) -> None:
    """Install what is not there yet; torch is there, and stays unless a requirement excludes it.

    Args:
        python: The environment's interpreter.
        requirements: Requirement lines, or names of requirement files in `folder`.
        folder: From which files and local paths are counted.
        own: One line that is installed here even where this environment has it, such as "package==1.2".

    Raises:
        InfrastructureError: pip cannot.
    """
    if own is not None:
        _pip(python, folder, "--no-deps", "--ignore-installed", own)
        requirements = [own, *requirements]
    arguments = [part for line in requirements for part in (["-r", line] if (folder / line).is_file() else [line])]
    if arguments:
        _pip(python, folder, *arguments)


def unsatisfied(requirements: Iterable[str]) -> list[str]:
    """The lines that this environment does not satisfy; those whose markers do not apply are left out.

    Raises:
        UsageError: A line is no requirement.
    """
    missing = []
    for line in requirements:
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise UsageError(f"'{line}' is no requirement: {str(error).splitlines()[0]}") from error
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        found = _installed_version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            missing.append(line)
    return missing


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pip(python: str, folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    try:
        done = subprocess.run(
            [*command, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(f"pip install {' '.join(arguments)} took more than {_TIMEOUT_S:g} s") from error
    if done.returncode:
        errors = re.findall(r"^ERROR: (.*)", done.stderr, re.MULTILINE) or done.stderr.split("\n")[-1:]
        wanted = " ".join(entry for entry in arguments if entry[:2] != "--")
        raise InfrastructureError(f"pip cannot install {wanted}: {errors[-1]}", done.stderr)
