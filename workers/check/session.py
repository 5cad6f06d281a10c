"""One call of `tangent check`, from what was asked to what came out; everything it made on disk is gone afterwards."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from service.domain.checks import Check, Layer
from service.errors import ConfigurationError
from workers.check.acknowledgement import acknowledged_by
from workers.check.baselines import default_baseline
from workers.check.config import CheckConfig, read_config_file, read_configs
from workers.check.errors import CheckError, UsageError
from workers.check.git import Repository
from workers.check.nightly import add_night, read_history, write_history
from workers.check.output.document import Outcome, exit_code
from workers.check.preflight import expect_known
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
        nightly: The file that keeps the pairs of all nights; None where this is no nightly check.
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
    skips_unchanged: bool = False
    event: Path | None = None
    nightly: Path | None = None


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
    candidate = Given("candidate", call.candidate, call.candidate_python)
    optimizer = call.optimizer or (call.candidate if candidate.is_class else None)
    configs = select_configs(known, folder, name=call.config, optimizer=optimizer)
    for config in configs:
        expect_known(config)
    needs_git = candidate.is_git or call.baseline is None or Given("baseline", call.baseline).is_git
    repository = Repository.around(folder) if needs_git else None
    baseline = Given("baseline", _baseline(call, repository, progress), call.baseline_python)
    acknowledged = acknowledged_by(baseline, candidate, repository, flag=call.is_change_expected, event=call.event)
    with Workspace() as workspace:
        for config in configs:
            baseline_source, candidate_source = (
                prepare(given, config, workspace, repository, progress) for given in (baseline, candidate)
            )
            plan = _plan(call, config, baseline_source, candidate_source, acknowledged)
            yield _run(call, plan, lambda text, name=config.name: progress(f"{name}: {text}"))  # type: ignore[misc]


def _baseline(call: Call, repository: Repository | None, progress: Progress) -> str:
    if call.baseline is not None:
        return call.baseline
    if repository is None:
        raise UsageError(f"{call.candidate} is in no repository: name what to compare it with, by --baseline")
    found = default_baseline(repository, call.candidate, is_nightly=call.nightly is not None)
    progress(f"baseline: {found.commit[:12]}, {found.why}")
    return found.commit


def _plan(call: Call, config: CheckConfig, baseline: Source, candidate: Source, acknowledged: str) -> Plan:
    layers = config.layers if call.layers is None else call.layers
    command = _command(call, config, baseline, candidate)
    return Plan(
        config,
        baseline,
        candidate,
        call.seed,
        layers,
        acknowledged,
        command,
        skips_unchanged=call.skips_unchanged,
        trusts_config=call.is_bisect,
    )


def _command(call: Call, config: CheckConfig, baseline: Source, candidate: Source) -> str:
    """The command line that repeats the check of one optimizer, without --seed and --layers."""
    words = ["tangent", "check", "--baseline", _again(baseline), "--candidate", _again(candidate)]
    if call.optimizer is not None:
        words += ["--optimizer", call.optimizer]
    elif call.config is not None or not _is_class(candidate):
        words += ["--config", config.name]
    words += ["--pyproject", str(call.pyproject)] if call.pyproject is not None else []
    return shlex.join([*words, *(["--behaviour-change-expected"] if call.is_change_expected else [])])


def _run(call: Call, plan: Plan, progress: Progress) -> Check:
    if call.nightly is None:
        return run_check(plan, progress)
    history = read_history(call.nightly, plan.baseline.side.revision)
    config = plan.config.model_copy(update={"anytime": True})
    seed = plan.seed + len(history.of(config.name))  # no night repeats another's
    check = run_check(replace(plan, config=config, seed=seed), progress)
    history, check = add_night(history, check, config.margins.model_dump())
    write_history(call.nightly, history)
    return check


def _is_class(source: Source) -> bool:
    return Given("candidate", source.side.given).is_class


def _again(source: Source) -> str:
    """How to name the same side later: a branch moves, a commit does not."""
    side = source.side
    is_clean_commit = source.root is not None and not side.revision.endswith("-dirty")
    return side.revision[:12] if is_clean_commit and "==" not in side.given else side.given
