"""`tangent check --self-test`: bugs planted into a copy of adamp, and mere refactors, through the same command.

Each plant is an edit of sources on disk in a repository of its own; `python -m workers.check` then compares the working
tree with the commit before it, as it would in CI.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.domain.checks import CheckVerdict
from workers.check.errors import InfrastructureError
from workers.check.plants import Plant, read_plants
from workers.check.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 900.0
SHORT = (
    "wd_ratio ignored",
    "C: views swapped",
    "one more state tensor",
    "the projection by a unit vector",
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What the command said of one plant.

    Attributes:
        layer: The layer that failed; "" for none.
        findings: Names of what failed.
        sentence: The first failing finding's, and its explanation.
        script: Its program; "" where there is none.
        is_right: The layer is the one named for the plant (none, for a refactor), and so is the finding.
    """

    name: str
    path: str
    config: str
    expected: str
    seed: int
    exit_code: int
    layer: str
    findings: tuple[str, ...]
    sentence: str
    explanation: str
    script: str
    is_right: bool
    duration_s: float


def self_test(names: Iterable[str] | None, seeds: Sequence[int], progress: Progress) -> Iterator[Outcome]:
    """Plant, check and undo, one after the other.

    Args:
        names: Plants by name; None for all.
        seeds: Of the checks; each plant is checked with each.

    Raises:
        UsageError: A plant does not fit adamp's sources any more.
        InfrastructureError: The command gave no report.
    """
    plants = [plant for plant in read_plants() if names is None or plant.name in set(names)]
    with Workspace() as workspace:
        folder = make_repository(workspace.empty("self-test"))
        for plant in plants:
            for seed in seeds:
                plant.apply(folder / "adamp")
                try:
                    outcome = _check(plant, folder, seed)
                finally:
                    _git(folder, "checkout", "-q", "--", ".")
                progress(f"{plant.name}: {outcome.layer or 'no layer'} ({'right' if outcome.is_right else 'WRONG'})")
                yield outcome


def make_repository(folder: Path) -> Path:
    """A repository with adamp and the configuration of its checks; one commit."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
    shutil.copytree(ROOT / "adamp", folder / "adamp", ignore=ignored)
    (folder / "tests" / "reference").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "reference" / "decoupled_sgd.py", folder / "tests" / "reference")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    begin = text.index("[tool.tangent.check.")
    (folder / "pyproject.toml").write_text(text[begin : text.index("[tool.pytest")], encoding="utf-8")
    _git(folder, "init", "-q")
    _git(folder, "add", "-A")
    _git(folder, "-c", "user.name=check", "-c", "user.email=check@localhost", "commit", "-qm", "adamp")
    return folder


def _check(plant: Plant, folder: Path, seed: int) -> Outcome:
    began = time.monotonic()
    report = folder.parent / "check.json"
    report.unlink(missing_ok=True)
    layers = plant.layer.value if plant.layer else "numerics"
    words = ["--baseline", "HEAD", "--candidate", ".", "--config", plant.config, "--layers", layers]
    exit_code, told = _command([*words, "--seed", str(seed), "--json", str(report)], folder)
    document = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    if not document.get("checks"):
        raise InfrastructureError(f"{plant.name}: no report ({told.strip()[-500:]})")
    outcome = _outcome(plant, document["checks"][0], seed)
    return dataclasses.replace(outcome, exit_code=exit_code, duration_s=round(time.monotonic() - began, 1))


def _command(words: list[str], folder: Path) -> tuple[int, str]:
    """`tangent check` in `folder`: its exit code, and what it told; in this process, which has loaded torch."""
    from workers.check.__main__ import app  # which imports this module

    told = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            app(args=words, prog_name="tangent check", standalone_mode=True)
        except SystemExit as end:
            return int(end.code or 0), told.getvalue()
    return 0, told.getvalue()


def _outcome(plant: Plant, check: dict[str, Any], seed: int) -> Outcome:
    failing = [
        finding
        for layer in check["layers"]
        for finding in layer["findings"]
        if finding["verdict"] in (CheckVerdict.FAIL, CheckVerdict.CHANGED)
    ]
    layer = failing[0]["layer"] if failing else ""
    names = tuple(finding["name"] for finding in failing)
    # Odd layouts take the plain path even in a run of the native one; the plain path's own finding says more.
    explained = [finding for finding in failing if finding["explanation"]]
    told = (explained[-1] if plant.path == "plain" else explained[0]) if explained else next(iter(failing), {})
    expected = plant.layer.value if plant.layer else ""
    return Outcome(
        name=plant.name,
        path=plant.path,
        config=plant.config,
        expected=expected,
        seed=seed,
        exit_code=-1,
        layer=layer,
        findings=names,
        sentence=told.get("sentence", ""),
        explanation=told.get("explanation", ""),
        script=told.get("script", ""),
        is_right=layer == expected and any(name.startswith(plant.finding) for name in names or ("",)),
        duration_s=0.0,
    )


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, timeout=60)
