"""The commands of `tangent` that plan, print and compare results, and that check optimizer code.

What computes is imported by the command that needs it: scipy alone takes longer than most commands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from service import render
from service.errors import TangentError
from service.studyfile import read_study_file
from service.terminal import JsonOption, StudyArgument, connected, console, print_json

if TYPE_CHECKING:
    from service.domain.budgeting import BudgetPlan, Shape

Made = TypeVar("Made")
app = typer.Typer()
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write; else standard output.")]


def _checked(make: Callable[[], Made]) -> Made:
    """What the domain makes; its ValueErrors are sentences for the user."""
    try:
        return make()
    except ValueError as error:
        raise TangentError(str(error)) from error


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TangentError(f"cannot write {output}: {error}") from error
    console.print(f"wrote {output}", markup=False)


def _form(form: str | None, output: Path | None, default: str) -> str:
    """The form that was asked for: by name, else by the file's ending."""
    if form is not None or output is None:
        return form or default
    return {"markdown": "md", "htm": "html"}.get(ending := output.suffix.removeprefix(".").lower(), ending)


@app.command()
def report(
    study: StudyArgument,
    *,
    form: Annotated[str | None, typer.Option("--format", help="text, json, md, html, csv (raw values) or svg.")] = None,
    figure: Annotated[str, typer.Option(help="For svg: effects, expected-best, difference or surface.")] = "effects",
    axis: Annotated[str, typer.Option(help="For svg, against what: trials, steps or device_s.")] = "trials",
    arm: Annotated[str | None, typer.Option(help="For svg: the challenger, or the surface's arm.")] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a study's comparison, or write it to a file: verdicts with their intervals."""
    with connected() as client:
        document = client.report(study)
    chosen = "json" if as_json else _form(form, output, "text")
    if chosen == "text" and output is None:
        console.print(render.report_view(document, console.width))
    else:
        from service.output import forms

        _write(_checked(lambda: forms.render(document, chosen, figure, axis=axis, arm=arm)), output)


@app.command()
def suite(
    studies: Annotated[list[int], typer.Argument(metavar="ID ID ...", help="Studies with the same arms.")],
    *,
    form: Annotated[str | None, typer.Option("--format", help="md, json, html or svg (forest plot).")] = None,
    output: OutputOption = None,
) -> None:
    """Pool studies with the same arms on several workloads."""
    from service.domain.suite import build_suite
    from service.output import suites

    with connected() as client:
        reports = [client.report(study) for study in studies]
    pooled = _checked(lambda: build_suite(reports))
    _write(_checked(lambda: suites.render_suite(pooled, reports[0]["margin"], _form(form, output, "md"))), output)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="ID[:ARM]", help="The baseline's study, and its arm.")],
    second: Annotated[str, typer.Argument(metavar="ID[:ARM]", help="The challenger's study, and its arm.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare arms of two studies on one workload; without arms, those of the same name."""
    from service.domain.unpaired import compare_studies

    (one, left), (other, right) = _place(first), _place(second)
    if one == other and (left or right) == (right or left):
        raise TangentError(f"study {one} stands on both sides; name two arms, such as {one}:adamw {one}:adamp")
    with connected() as client:
        reports = client.report(one), client.report(other)
    pairs = _checked(lambda: _pairs(reports, left, right))
    found = _checked(lambda: [compare_studies(*reports, *pair) for pair in pairs])
    if as_json:
        print_json(found)
        return
    for entry in found:
        console.print(entry.sentence, markup=False)
    for warning in dict.fromkeys(text for entry in found for text in entry.warnings):
        console.print(f"  note: {warning}", markup=False)


def _place(text: str) -> tuple[int, str | None]:
    number, _, arm = text.partition(":")
    if not number.isdigit():
        raise TangentError(f"a study is named by its number, such as 3 or 3:adamp; got '{text}'")
    return int(number), arm or None


def _pairs(
    reports: tuple[Mapping[str, Any], Mapping[str, Any]], left: str | None, right: str | None
) -> Sequence[tuple[str, str]]:
    names = [[str(arm["name"]) for arm in report["arms"]] for report in reports]
    if left or right:
        return [(left or str(right), right or str(left))]
    common = [name for name in names[0] if name in names[1]]
    if not common:
        raise ValueError("the studies have no arm name in common; name the arms, such as 3:adamw 7:lion")
    return [(name, name) for name in common]


@app.command()
def plan(
    file: Annotated[Path, typer.Argument(help="A study file, YAML or JSON.")],
    *,
    hours: Annotated[
        float | None,
        typer.Option(min=0, help="A budget of wall time on the slots that are there: the best plan for it."),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Time a training of every arm on this machine first (a minute at most).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """What a study costs and can show before it runs; or, with --hours, the best plan for a budget."""
    from service.domain.budgeting import plan_sentences

    with connected() as client:
        answer = client.validate(read_study_file(file))
    if calibrate:
        from service.calibrating import calibrated

        answer = calibrated(answer)
    if hours is None:
        if as_json:
            print_json(answer)
            return
        console.print(render.cost_text(answer), markup=False)
        console.print(f"  note: {_basis(answer['cost'])}", markup=False)
        return
    shape, found = budget_plan(answer, hours)
    if found is None:
        raise TangentError(
            f"{hours:g} hours are too short for 3 replicates of this study's arms, however few the trials"
        )
    if as_json:
        print_json(found)
        return
    for sentence in plan_sentences(found, shape, max(1, answer["cost"]["n_slots"])):
        console.print(sentence, markup=False)
    for note in [_basis(answer["cost"]), *answer["warnings"]]:
        console.print(f"  note: {note}", markup=False)


def budget_plan(answer: Mapping[str, Any], hours: float) -> tuple[Shape, BudgetPlan | None]:
    """The best plan for a budget, from the API's validation of a study file."""
    from service.domain.budgeting import Shape, plan_budget
    from service.domain.cost import Spread

    spec, cost = answer["spec"], answer["cost"]
    shape = Shape(
        n_arms=len(spec["arms"]),
        n_pairs=len(spec["compare"]),
        trials=spec["search"]["trials"],
        select_runs=spec["select"]["top"] * spec["select"]["seeds"],
    )
    device_s = hours * 3600 * max(1, cost["n_slots"])
    return shape, plan_budget(shape, Spread(**cost["spread"]), cost["run_s"], device_s)


def _basis(cost: Mapping[str, Any]) -> str:
    timed = f"{cost['n_measured']} earlier trainings" if cost["n_measured"] else "the catalog's rough guess"
    if "calibration" in cost:
        each = ", ".join(f"{arm} {run_s:.3g} s" for arm, run_s in cost["calibration"].items())
        timed = f"one training of each arm on this machine, nothing beside it ({each})"
    n_pairs = cost["spread"]["n_pairs"]
    spread = f"{n_pairs} earlier comparisons" if n_pairs else "what was typical on scikit-learn's digits"
    return f"time from {timed}; spread of replicates from {spread}"


@app.command()
def reproduce(
    study: StudyArgument,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number in the study.")],
    *,
    tolerance: Annotated[
        float, typer.Option(min=0, help="On the log of the endpoint, where processor, versions or code differ.")
    ] = 0.25,
    as_json: JsonOption = False,
) -> None:
    """Run a trial again on this machine and compare: bit by bit where the machine is the same. Exit code 1: not so."""
    from service.reproducing import reproduce as run_again

    with connected() as client:
        answer, code = run_again(client, study, trial, tolerance)
    if as_json:
        print_json(answer)
    else:
        console.print(answer["reproduction"]["sentence"], markup=False)
    raise typer.Exit(code)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def check(words: typer.Context) -> None:
    """Compare an optimizer's code with a baseline's: numerics, speed and memory, training; for CI."""
    from service.checking import run_check

    raise typer.Exit(run_check(words.args))


@app.command()
def checks(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only those of one configuration.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the checks that were uploaded, newest first."""
    with connected() as client:
        found = client.checks(name=name, limit=limit)
    if as_json:
        print_json(found)
    elif found:
        console.print(render.checks_table(found))
    else:
        console.print("no check was uploaded yet; `tangent check --upload` does", markup=False)
