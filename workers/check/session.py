"""One call of `tangent check`, from what was asked to what came out; everything it made on disk is gone afterwards."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service.domain.checks import Check, Layer
from service.errors import ConfigurationError
from workers.check.acknowledgement import acknowledged_by
from workers.check.baselines import default_baseline
from workers.check.config import CheckConfig, read_config_file, read_configs
from workers.check.errors import CheckError, UsageError
from workers.check.git import Repository
from workers.check.output.document import Outcome, exit_code
from workers.check.runner import Plan, run_check
from workers.check.selection import select_configs
from workers.check.sources import Given, Source, prepare
from workers.check.workspace import Workspace

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Call:
    """What the command line says.

    Attributes:
        baseline: None takes the one that suits, see `default_baseline`.
        layers: None takes those of the configuration.
        event: GitHub's event file.
    """

    folder: Path
    baseline: str | None = None
    candidate: str = "."
    baseline_python: str | None = None
    candidate_python: str | None = None
    optimizer: str | None = None
    config: str | None = None
    pyproject: Path | None = None
    layers: tuple[Layer, ...] | None = None
    seed: int = 0
    is_strict: bool = False
    is_bisect: bool = False
    is_change_expected: bool = False
    event: Path | None = None


def check_all(call: Call, progress: Progress, done: Callable[[Check], None]) -> tuple[Outcome, CheckError | None]:
    """Check every optimizer that the call names.

    Args:
        progress: Takes a line for each step.
        done: Takes each report when it is there.

    Returns:
        The outcome, and the error that ended it early, if any.
    """
    checks: list[Check] = []
    failed: CheckError | None = None
    try:
        for check in _checks(call, progress):
            checks.append(check)
            done(check)
    except ConfigurationError as error:
        failed = UsageError(str(error))
    except CheckError as error:
        failed = error
    failure = failed.exit_code if failed is not None else None
    code = exit_code(checks, failure, is_strict=call.is_strict, is_bisect=call.is_bisect)
    return Outcome(tuple(checks), int(code), str(failed or "")), failed


def _checks(call: Call, progress: Progress) -> Iterator[Check]:
    folder = call.folder
    known = read_configs(folder) if call.pyproject is None else read_config_file(call.pyproject)
    optimizer = call.optimizer or (call.candidate if Given("candidate", call.candidate).is_class else None)
    configs = select_configs(known, folder, name=call.config, optimizer=optimizer)
    candidate = Given("candidate", call.candidate, call.candidate_python)
    needs_git = candidate.is_git or call.baseline is None or Given("baseline", call.baseline).is_git
    repository = Repository.around(folder) if needs_git else None
    baseline = Given("baseline", _baseline(call, repository, progress), call.baseline_python)
    acknowledged = acknowledged_by(baseline, candidate, repository, flag=call.is_change_expected, event=call.event)
    with Workspace() as workspace:
        for config in configs:
            yield _check(call, config, (baseline, candidate), workspace, repository, acknowledged, progress)


def _baseline(call: Call, repository: Repository | None, progress: Progress) -> str:
    if call.baseline is not None:
        return call.baseline
    if repository is None:
        raise UsageError(f"{call.candidate} is in no repository: name what to compare it with, by --baseline")
    found = default_baseline(repository, call.candidate, is_nightly=False)
    progress(f"baseline: {found.commit[:12]}, {found.why}")
    return found.commit


def _check(
    call: Call,
    config: CheckConfig,
    sides: tuple[Given, Given],
    workspace: Workspace,
    repository: Repository | None,
    acknowledged: str,
    progress: Progress,
) -> Check:
    baseline, candidate = (prepare(given, config, workspace, repository, progress) for given in sides)
    words = ["--baseline", _again(baseline), "--candidate", _again(candidate)]
    words += ["--config", config.name] if call.optimizer is None and not sides[1].is_class else []
    words += ["--optimizer", call.optimizer] if call.optimizer else []
    command = shlex.join(["tangent", "check", *words, "--seed", str(call.seed)])
    layers = config.layers if call.layers is None else call.layers
    plan = Plan(config, baseline, candidate, call.seed, layers, acknowledged, command)
    return run_check(plan, lambda text: progress(f"{config.name}: {text}"))


def _again(source: Source) -> str:
    """How to name the same side later: a branch moves, a commit does not."""
    side = source.side
    is_clean_commit = source.root is not None and not side.revision.endswith("-dirty")
    return side.revision[:12] if is_clean_commit and "==" not in side.given else side.given
