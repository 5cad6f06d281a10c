"""The commands of `tangent`: they talk HTTP only, but for those that start and stop the local instance."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from service import backup_commands, bars, control_commands, launch, optuna_commands, render, report_commands, watching
from service.client import Client
from service.config import load_settings
from service.demo import run_demo
from service.doctor import run_doctor
from service.errors import TangentError
from service.instance import read_instance, read_token, stop_instance
from service.studyfile import read_study_file, template
from service.terminal import JsonOption, StudyArgument, connected, console, errors, print_json

app = typer.Typer(
    help="Compare optimizers on your model, after fair tuning, with an interval.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(report_commands.app)
app.add_typer(optuna_commands.app)
app.add_typer(backup_commands.app)
app.add_typer(control_commands.app)


def tell(text: str) -> None:
    """One line of what is going on: above the bars where they are drawn, else on standard error. Links stay whole."""
    with contextlib.suppress(OSError):  # the terminal may have been closed
        (console if console.is_terminal else errors).print(f"  {text}", style="dim", markup=False, soft_wrap=True)


@app.command()
def up(
    *,
    slots: Annotated[int, typer.Option(help="Trials at once; 0 is one for each core or GPU.")] = 0,
    port: Annotated[int | None, typer.Option(help="Port of the API; 0 takes a free one.")] = None,
    foreground: Annotated[bool, typer.Option(help="Stay until Ctrl-C.")] = False,
) -> None:
    """Start the service on this machine, with its own PostgreSQL and Redis."""
    settings = load_settings()
    if (instance := launch.running_instance(settings)) is not None:
        console.print(f"Tangent runs already: {instance.address} (home {instance.home})", markup=False)
        console.print("  dashboard  tangent open", markup=False)
        return
    home = launch.home_of(settings)
    own = launch.start(home, tell, slots=slots, has_lifeline=foreground, port=port)
    try:
        console.print(f"Tangent answers at {own.address}", markup=False)
        with Client(own.address, read_token(home)) as client:
            link = client.login_link()
        console.print(f"  dashboard  {link}", markup=False, soft_wrap=True)
        console.print(
            "             signs one browser in, once, within ten minutes; `tangent open` gives another", markup=False
        )
        console.print(f"  home       {home}\n  token      {home / 'token'}\n  stop       tangent down", markup=False)
        if foreground:
            own.wait()
    finally:
        if foreground:
            own.stop()


@app.command("open")
def open_dashboard(
    study: Annotated[int | None, typer.Argument(help="Open this study's page.")] = None,
    *,
    browser: Annotated[bool, typer.Option(help="Also start the browser.")] = False,
) -> None:
    """Print a link to the dashboard that signs one browser in, once, within ten minutes."""
    with connected() as client:
        link = client.login_link("/studies" if study is None else f"/studies/{study}")
    console.print(link, markup=False, soft_wrap=True)
    if browser:
        webbrowser.open(link)


@app.command()
def down() -> None:
    """Stop the local service; its data stays."""
    home = launch.home_of(load_settings())
    instance = read_instance(home)
    if instance is None:
        console.print(f"nothing runs in {home}", markup=False)
        return
    left = stop_instance(instance)
    console.print("stopped" + (f"; the supervisor had died and left {', '.join(left)}" if left else ""), markup=False)


@app.command()
def status(*, as_json: JsonOption = False) -> None:
    """What runs: the local instance's processes, its workers and the queue."""
    settings = load_settings()
    instance = read_instance(launch.home_of(settings))
    processes = {}
    if instance is not None:
        everything = {"supervisor": instance.supervisor, **instance.children}
        processes = {name: (one.pid if one.find() else None) for name, one in everything.items()}
    with connected() as client:
        workers = client.workers()
        studies = client.list_studies(limit=20)
    if as_json:
        print_json({"processes": processes, "workers": workers, "studies": studies})
        return
    for name, pid in processes.items():
        console.print(f"{name:16} {f'process {pid}' if pid else 'dead'}", markup=False)
    console.print(render.workers_table(workers))
    console.print(render.studies_table(studies))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="Which process, such as worker-cpu; without it, all are listed.")] = "",
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.", min=1)] = 50,
) -> None:
    """Show the last lines of a process's log."""
    folder = launch.home_of(load_settings()) / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if name not in known:
        listed = ", ".join(known) or "none yet"
        if name:
            raise TangentError(f"there is no log '{name}' in {folder}; there are: {listed}")
        console.print(f"logs in {folder}: {listed}", markup=False)
        return
    for line in (folder / f"{name}.log").read_text(errors="replace").splitlines()[-lines:]:
        console.print(line, markup=False)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="The study file to write.")] = Path("study.yaml"),
    *,
    workload: Annotated[str, typer.Option(help="The workload to compare on.")] = "digits-cnn",
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a study file to start from."""
    if file.exists() and not force:
        raise TangentError(f"{file} exists; use --force to replace it")
    file.write_text(template(_yaml_text(file.stem), _yaml_text(workload)), encoding="utf-8")
    console.print(f"wrote {file}; next: tangent submit {file} --dry-run", markup=False)


def _yaml_text(text: str) -> str:
    """A text as YAML may hold it: as it is where it is plain, else in quotes."""
    return text if re.fullmatch(r"[A-Za-z][\w.-]*", text) else json.dumps(text)


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="A study file, YAML or JSON.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it and show the cost; submit nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end and print the report.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit a study."""
    document, views = read_study_file(file), watching.Views()
    with connected() as client:
        answer = client.validate(document) if dry_run else client.submit(document)
        if not dry_run:
            _say_submitted(answer, is_followed=wait)
        if wait and not dry_run:
            study_id = int(answer["id"])
            views = watching.watch(client, [study_id], errors if as_json else console)
            answer = watching.ask(lambda: client.report(study_id))
    if as_json:
        print_json(answer)
    elif dry_run:
        console.print(render.cost_text(answer), markup=False)
    elif wait:
        console.print(render.report_view(answer, console.width))
    watching.refuse_unfinished(views)


def _say_submitted(answer: Mapping[str, Any], *, is_followed: bool) -> None:
    """Name the study, and what may keep it from what it is meant for; on standard error, beside any JSON."""
    for warning in answer["warnings"]:
        errors.print(f"note: {warning}", style="yellow", markup=False)
    how = "" if is_followed else f"; follow it with: tangent watch {answer['id']}"
    (errors if is_followed else console).print(f"study {answer['id']} submitted{how}", markup=False)


@app.command("list")
def list_studies(
    *, limit: Annotated[int, typer.Option(help="How many, the newest first.")] = 20, as_json: JsonOption = False
) -> None:
    """List studies, newest first."""
    with connected() as client:
        page = client.list_studies(limit=limit)
    if as_json:
        print_json(page)
    else:
        console.print(render.studies_table(page))


@app.command()
def show(study: StudyArgument, *, as_json: JsonOption = False) -> None:
    """Show a study's progress."""
    with connected() as client:
        view = client.show(study)
    if as_json:
        print_json(view)
    else:
        console.print(bars.progress_table([view], console.width))


@app.command()
def watch(study: StudyArgument) -> None:
    """Follow a study to its end."""
    with connected() as client:
        watching.refuse_unfinished(watching.watch(client, [study], console))


@app.command()
def cancel(study: StudyArgument) -> None:
    """Cancel a study: waiting trials end at once, running ones at their next step."""
    with connected() as client:
        client.cancel(study)
    console.print(f"study {study} is cancelled", markup=False)


@app.command()
def export(
    study: StudyArgument,
    *,
    form: Annotated[str, typer.Option("--format", help="json, csv, or optuna (an SQLite file for Optuna).")] = "json",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; else standard output.")
    ] = None,
) -> None:
    """Write a study with all its trials to a file."""
    with connected() as client:
        if form == "optuna":
            _export_optuna(client, study, output)
            return
        text = client.export(study, form)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
        console.print(f"wrote {output}", markup=False)


def _export_optuna(client: Client, study: int, output: Path | None) -> None:
    from service.optuna_export import write_optuna_storage  # Optuna's import is slow and needed here only

    if output is None:
        raise TangentError("an Optuna storage is a file; name it with --output study.db")
    names = write_optuna_storage(json.loads(client.export(study, "json")), output)
    console.print(f"wrote {output}: {len(names)} Optuna studies, one for each arm and replicate", markup=False)
    console.print(f'  optuna.load_study(study_name="{names[0]}", storage="sqlite:///{output}")', markup=False)


@app.command()
def doctor() -> None:
    """Say what this machine has, what is missing, and how to get it."""
    raise typer.Exit(run_doctor(load_settings(), console))


@app.command()
def demo(
    *,
    stay_open: Annotated[bool, typer.Option("--open", help="Keep the service up at the end, until Ctrl-C.")] = False,
    slots: Annotated[int, typer.Option(help="Trials at once; 0 is one for each core.")] = 0,
    quick: Annotated[
        bool, typer.Option(help="A smaller study of the same shape, for a first look and for tests.")
    ] = False,
) -> None:
    """AdamP or AdamW, SGDP or SGD? Two studies and their controls on real data."""
    settings = load_settings()
    raise typer.Exit(run_demo(settings, console, tell, slots=slots, stays_open=stay_open, is_quick=quick))
