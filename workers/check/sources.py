"""The two sides, made ready: a ref, the working tree, an installed version, or a class of this environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.domain.checks import Side
from workers.check import venvs
from workers.check.client import Probe
from workers.check.config import CheckConfig
from workers.check.errors import InfrastructureError, UsageError
from workers.check.git import Repository, shown
from workers.check.packages import Package, dependencies, digest, find_package
from workers.check.workspace import Checkout, Workspace

_VERSION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==[^=\s]+$")
_CLASS = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
_BUILD_TIMEOUT_S = 900.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """A side that can be started.

    Attributes:
        python: Its interpreter.
        paths: Come first on its sys.path.
        environment: Variables of its own.
        root: The folder in which the optimizer's code must turn out to lie; None: wherever it is installed.
        digest: A hash of its package's files; "" where they are not looked at.
    """

    side: Side
    python: str
    paths: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    digest: str = ""


@dataclass(frozen=True)
class Given:
    """What the user named for one side.

    Attributes:
        role: "baseline" or "candidate".
        text: A ref, ".", "package==version" or "package:Class".
        python: Its interpreter, where one was named.
    """

    role: str
    text: str
    python: str | None = None

    @property
    def words(self) -> str:
        """Role and text, for messages."""
        return f"the {self.role} ({shown(self.text)})"

    @property
    def is_class(self) -> bool:
        """Whether it is "package:Class" of an environment that is there."""
        return bool(_CLASS.match(self.text))

    @property
    def is_version(self) -> bool:
        """Whether it is "package==version", to be installed."""
        return bool(_VERSION.match(self.text))

    @property
    def is_git(self) -> bool:
        """Whether it is a ref or the working tree."""
        return not (self.is_class or self.is_version)


def prepare(
    given: Given, config: CheckConfig, workspace: Workspace, repository: Repository | None, progress: Progress
) -> Source:
    """Have a side's code lie ready.

    Args:
        repository: Where refs are looked up; None only where the side is none.

    Raises:
        UsageError: There is no such ref, or no such package in the baseline.
        InfrastructureError: The candidate lacks the package; a side cannot be checked out, built or installed.
    """
    python = given.python or sys.executable
    if given.is_class:
        return Source(Side(given.text, given.text, ""), python)
    if given.is_version:
        return _installed(given, config, workspace, progress)
    if repository is None:
        raise AssertionError(f"{given.text} is looked up in a repository")
    checkout = workspace.checkout(given.role, repository, given.text)
    return _checked_out(given, config, workspace, checkout, progress)


def open_probe(source: Source, role: str, config: CheckConfig) -> Probe:
    """The side's probe, to be entered."""
    return Probe(
        source.side,
        role=role,
        python=source.python,
        arguments=config.arguments,
        paths=source.paths,
        threads=config.threads,
        environment=source.environment,
        start_timeout_s=config.start_timeout_s,
        call_timeout_s=config.call_timeout_s,
    )


def expect_origin(probe: Probe, source: Source) -> None:
    """Raise InfrastructureError where the side imported its optimizer from elsewhere than from its own source."""
    file = Path(str(probe.description["file"]))
    if source.root is not None and not file.resolve().is_relative_to(source.root.resolve()):
        raise InfrastructureError(
            f"the {probe.role} ({shown(source.side.given)}) imports {source.side.optimizer} from {file}, "
            "not from its own checkout; `path` of the configuration says where the package lies"
        )


def _installed(given: Given, config: CheckConfig, workspace: Workspace, progress: Progress) -> Source:
    side = Side(given.text, config.optimizer, given.text.partition("==")[2])
    if given.python is not None:
        raise UsageError(f"{given.text} gets an environment of its own; --{given.role}-python goes with package:Class")
    progress(f"{given.role}: installing {given.text}")
    folder = workspace.empty(f"{given.role}-{config.name}")
    python = venvs.make_venv(folder / "venv")
    venvs.install(python, config.requirements, config.folder, own=given.text)
    return Source(side, python, environment=_extensions(folder / "extensions"), root=folder / "venv")


def _checked_out(
    given: Given, config: CheckConfig, workspace: Workspace, checkout: Checkout, progress: Progress
) -> Source:
    top, own = checkout.folder, workspace.empty(f"{given.role}-{config.name}")
    links = workspace.empty(f"{own.name}/links")
    module = config.optimizer.partition(":")[0]
    package = _package(given, module.partition(".")[0], config, top, links)
    environment = _extensions(workspace.empty(f"{given.role}-extensions"))
    python = given.python or _interpreter(config, package, top, own, given, progress)
    if config.build:
        progress(f"{given.role}: building")
        _build(config.build, python, top, environment, given)
    side = Side(given.text, config.optimizer, checkout.revision)
    return Source(side, python, (str(package.path),), environment, top, digest(package))


def _package(given: Given, name: str, config: CheckConfig, top: Path, links: Path) -> Package:
    """The optimizer's package; that a baseline has none is a wrong call, that a candidate has none any more is not."""
    try:
        return find_package(top, name, config.path, links, where=given.words)
    except UsageError as error:
        if given.role == "baseline":
            raise
        raise InfrastructureError(str(error)) from error


def _interpreter(config: CheckConfig, package: Package, top: Path, own: Path, given: Given, progress: Progress) -> str:
    """This interpreter, or one of the side's own where its dependencies are not all met here."""
    missing = [*venvs.unsatisfied(dependencies(package)), *config.requirements]
    if not missing:
        return sys.executable
    progress(f"{given.role}: installing {', '.join(missing)} into an environment of its own")
    python = venvs.make_venv(own / "venv")
    venvs.install(python, missing, top)
    return python


def _extensions(folder: Path) -> dict[str, str]:
    """A folder of the side's own for extensions that torch compiles on first use, because it keeps them by name only.

    Other caches (Triton's, the compiler's, adamp's) go by the source's content, and may be shared.
    """
    return {"TORCH_EXTENSIONS_DIR": str(folder)}


def _build(command: tuple[str, ...], python: str, top: Path, environment: Mapping[str, str], given: Given) -> None:
    argv = [python if part == "{python}" else part for part in command]
    try:
        done = subprocess.run(
            argv,
            cwd=top,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfrastructureError(f"{given.words}: its build command {argv[0]} cannot be run: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise InfrastructureError(f"building {given.words} failed: {last}", done.stderr)
