"""`python -m workers.check`: what `tangent check` starts, because the command line has no torch."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from service import interrupts
from service.domain.checks import Check, ExitCode, Layer
from service.errors import TangentError
from workers.check.errors import CheckError
from workers.check.output.document import Outcome, to_document
from workers.check.output.junit import to_junit
from workers.check.output.markdown import to_markdown
from workers.check.output.terminal import print_check
from workers.check.session import Call, check_all

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
if not out.is_terminal:
    out.width = max(out.width, 120)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_SIDE = "a git ref, . (the working tree), package==version or package:Class"
_REPORTS = "Reports"
_HELP = """Compare an optimizer's code with a baseline's, in numerics, speed and memory, and training.

tangent check --baseline main --candidate my-branch
tangent check --baseline torch.optim:Adam --candidate torch.optim:AdamW

Exit codes:

0  PASS; also INCONCLUSIVE without --strict
1  FAIL
2  a wrong call or configuration
3  INCONCLUSIVE with --strict
4  no verdict could be had
5  behaviour changed, and nobody acknowledged it
125  with --bisect instead of 3 and 4: `git bisect run` skips the commit
128  with --bisect instead of 2: `git bisect run` stops
"""


@app.command(help=_HELP)
def check(
    *,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="SIDE", help=f"{_SIDE}. Default: merge base with the trunk, last release, or parent."),
    ] = None,
    candidate: Annotated[str, typer.Option(metavar="SIDE", help="As the baseline.")] = ".",
    optimizer: Annotated[str | None, typer.Option(metavar="PACKAGE.CLASS", help="Default: all configured.")] = None,
    config: Annotated[str | None, typer.Option(metavar="NAME", help="One table of tool.tangent.check.")] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Of numerics, speed, training; joined by commas.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other cases and training seeds.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="INCONCLUSIVE blocks: exit code 3.")] = False,
    bisect: Annotated[bool, typer.Option("--bisect", help="Exit codes for `git bisect run`.")] = False,
    change_expected: Annotated[
        bool, typer.Option("--behaviour-change-expected", help="Acknowledge that results differ from the baseline's.")
    ] = False,
    skip_unchanged: Annotated[
        bool, typer.Option("--skip-unchanged", help="Run nothing where the package's files are the same on both sides.")
    ] = False,
    nightly: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Compare with the last release; FILE keeps the training pairs of all nights."
        ),
    ] = None,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Plant bugs into adamp, and see which layer catches each.")
    ] = False,
    baseline_python: Annotated[str | None, typer.Option(metavar="PYTHON", help="The baseline's interpreter.")] = None,
    candidate_python: Annotated[str | None, typer.Option(metavar="PYTHON", help="The candidate's.")] = None,
    pyproject: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the configuration stands.")] = None,
    github_event: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="GITHUB_EVENT_PATH", help="Where a pull request's labels are.")
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Everything, with raw values.", rich_help_panel=_REPORTS),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For a job's summary.", rich_help_panel=_REPORTS)
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A test case for each layer and finding.", rich_help_panel=_REPORTS),
    ] = None,
    document: Annotated[Path | None, typer.Option(metavar="FILE", hidden=True)] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="Keep the report in the service.", rich_help_panel=_REPORTS)
    ] = False,
    with_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the traceback of an error, or the log of a crash.")
    ] = False,
) -> None:
    """Parse, check, report; the exit code is the verdict's."""
    if upload:
        raise typer.BadParameter("`tangent check --upload` does that; this program knows no service")
    if self_test:
        raise typer.Exit(_self_test(seed))
    files = ((json_file, _to_json), (document, _to_json), (markdown, to_markdown), (junit, to_junit))
    for path, _ in files:
        if path is not None and not path.parent.is_dir():
            raise typer.BadParameter(f"{path} cannot be written: there is no folder {path.parent}")
    call = Call(
        Path.cwd(),
        baseline=baseline,
        candidate=candidate,
        baseline_python=baseline_python,
        candidate_python=candidate_python,
        optimizer=optimizer,
        config=config,
        pyproject=pyproject,
        layers=_layers(layers),
        seed=seed,
        is_strict=strict,
        is_bisect=bisect,
        is_change_expected=change_expected,
        skips_unchanged=skip_unchanged,
        event=github_event,
        nightly=nightly,
    )
    outcome, error = check_all(call, _tell, lambda found: _show(found, with_logs=with_traceback))
    if error is not None:
        _say(error, with_traceback=with_traceback)
    for path, make in files:
        if path is not None:
            _write(path, make(outcome))
    raise typer.Exit(outcome.exit_code)


def _self_test(seed: int) -> int:
    """Exit code 0 where every plant trips the layer named for it, and no refactor any."""
    from workers.check.selftest import self_test

    outcomes = list(self_test(None, [seed], _tell))
    wrong = [outcome for outcome in outcomes if not outcome.is_right]
    for outcome in wrong:
        out.print(
            f"{outcome.name}: expected {outcome.expected or 'no layer'}, got {outcome.layer or 'none'}", markup=False
        )
    out.print(f"{len(outcomes) - len(wrong)} of {len(outcomes)} plants were judged right")
    return ExitCode.FAIL if wrong else ExitCode.PASS


def _layers(text: str | None) -> tuple[Layer, ...] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in list(Layer)]:
        raise typer.BadParameter(
            f"there is no layer '{unknown[0]}'; there are {', '.join(Layer)}", param_hint="--layers"
        )
    return tuple(layer for layer in Layer if layer in names)


def _tell(text: str) -> None:
    err.print(Text(f"  {text}", style="dim"))


def _show(check: Check, *, with_logs: bool) -> None:
    print_check(check, out)
    for finding in (finding for layer in check.layers for finding in layer.findings):
        if with_logs and finding.data.get("log"):
            err.print(f"{finding.name}:\n{finding.data['log']}", markup=False)


def _say(error: CheckError, *, with_traceback: bool) -> None:
    err.print(f"tangent check: {error}", markup=False)
    if with_traceback:
        err.print(error.traceback or "".join(traceback.format_exception(error)), markup=False)


def _to_json(outcome: Outcome) -> str:
    return json.dumps(to_document(outcome), indent=2, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckError(f"cannot write {path}: {error.strerror}") from error


def main() -> int:
    """Run, with signals turned into an orderly end; returns the exit code."""
    interrupts.install()
    try:
        app(prog_name="tangent check", standalone_mode=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code == ExitCode.USAGE and "--bisect" in sys.argv:
            return ExitCode.BISECT_ABORT
        return interrupts.exit_code() if code == interrupts.INTERRUPTED else code
    except KeyboardInterrupt:
        return interrupts.exit_code()
    except TangentError as error:
        err.print(f"tangent check: {error}", markup=False)
        return getattr(error, "exit_code", ExitCode.INFRASTRUCTURE)
    return ExitCode.PASS


if __name__ == "__main__":
    raise SystemExit(main())
