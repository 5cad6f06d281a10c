"""The commands of `tangent` that change what is there: pause, retry, extend, clone, delete studies; drain workers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from service import render
from service.catalog_text import catalog_view
from service.client import Client
from service.errors import TangentError
from service.terminal import JsonOption, StudyArgument, connected, console, errors, print_json

app = typer.Typer()
TrialArgument = Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number in the study.", min=0)]
WorkerArgument = Annotated[
    str, typer.Argument(metavar="WORKER", help="As `tangent status` shows it (host:process), or its id.")
]


def _say(text: str) -> None:
    console.print(text, markup=False)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


@app.command()
def pause(
    study: StudyArgument,
    *,
    now: Annotated[bool, typer.Option("--now", help="Also have running trials write a checkpoint and wait.")] = False,
) -> None:
    """Let no trial of a study start until it is resumed."""
    with connected() as client:
        n_running = client.pause(study, now=now)["counts"]["n_running"]
    if not n_running:
        _say(f"study {study} is paused")
    elif now:
        _say(f"study {study} is paused; {_count(n_running, 'running trial')} will checkpoint and wait")
    else:
        _say(f"study {study} is paused; {_count(n_running, 'running trial')} will go on to the end (or use --now)")


@app.command()
def resume(study: StudyArgument) -> None:
    """Let the trials of a paused study start again."""
    with connected() as client:
        client.resume(study)
    _say(f"study {study} goes on")


@app.command()
def retry(
    study: StudyArgument,
    trial: Annotated[int | None, typer.Argument(metavar="[TRIAL]", help="The failed trial's number.", min=0)] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All failed trials that can run again.")] = False,
) -> None:
    """Run failed trials again, where nothing has taken their place; a study that failed goes on."""
    if (trial is None) == (not failed):
        raise TangentError("name one trial, such as: tangent retry 3 12; or all of them: tangent retry 3 --failed")
    with connected() as client:
        before = client.show(study)["state"]
        answer = client.retry(study, trial)
    again = answer["retried"]
    if trial is None or len(again) > 1:
        _say(f"{_count(len(again), 'trial')} of study {study} will run again: {_listed(again)}")
    else:
        _say(f"trial {trial} of study {study} will run again")
    _say_reopened(study, before, answer["state"])


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:12])
    return f"{shown} and {len(numbers) - 12} more" if len(numbers) > 12 else shown


def _say_reopened(study: int, before: str, state: str) -> None:
    if before != state:
        _say(f"  study {study} was {before.lower()} and goes on; follow it with: tangent watch {study}")


@app.command()
def requeue(study: StudyArgument, trial: TrialArgument) -> None:
    """Take a running trial from its slot; it runs on elsewhere from its last checkpoint."""
    with connected() as client:
        client.requeue(study, trial)
    _say(f"trial {trial} of study {study} waits for another slot; it runs on from its last checkpoint, if it has one")


@app.command()
def replicates(
    study: StudyArgument,
    n: Annotated[int, typer.Argument(metavar="+N", help="How many to add to every arm.", min=1)],
) -> None:
    """Add replicates to a study; a finished one goes on."""
    with connected() as client:
        before = client.show(study)["state"]
        answer = client.add_replicates(study, n)
    total, amendment = answer["spec"]["replicates"], answer["amendments"][-1]
    _say(f"study {study} has {_count(total, 'replicate')} now, {n} of them new")
    if amendment["after_look"]:
        _say("  they are marked as added after results could be read: the data may have suggested them")
    _say_reopened(study, before, answer["state"])


@app.command()
def clone(
    study: StudyArgument,
    *,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the file, such as search.trials=20; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it and show the cost; submit nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit a new study made from another, by default with a seed that was not used yet."""
    document = _document(changes or [])
    with connected() as client:
        answer = client.clone(study, document, is_dry=dry_run)
    if as_json:
        print_json(answer)
    elif dry_run:
        _say(render.cost_text(answer))
    else:
        for warning in answer["warnings"]:
            errors.print(f"note: {warning}", style="yellow", markup=False)
        made = f"study {answer['id']} submitted, made from study {study} with seed {answer['spec']['seed']}"
        _say(f"{made}; follow it with: tangent watch {answer['id']}")


def _document(changes: list[str]) -> dict[str, Any]:
    """Nested objects from entries such as "search.trials=20"; values are YAML."""
    document: dict[str, Any] = {}
    for entry in changes:
        path, separator, value = entry.partition("=")
        *parents, last = path.split(".")
        if not separator or not all((*parents, last)):
            raise TangentError(f"--set takes KEY=VALUE, such as search.trials=20; got '{entry}'")
        place = document
        for name in parents:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise TangentError(f"--set sets {name} twice, as a value and as an object")
        place[last] = _value(entry, value)
    return document


def _value(entry: str, value: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise TangentError(f"--set '{entry}': the value is not YAML: {' '.join(str(error).split())}") from error


@app.command()
def file(
    study: StudyArgument,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; else standard output.")
    ] = None,
) -> None:
    """Print a study's file, as it was frozen."""
    with connected() as client:
        text = client.file(study)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
        _say(f"wrote {output}")


@app.command()
def delete(
    study: StudyArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the study's name.")] = False,
) -> None:
    """Delete a study that has ended, with its trials, report and checkpoints."""
    with connected() as client:
        view = client.show(study)
        if not yes:
            _confirm(view)
        client.delete(study, view["name"])
    _say(f"study {study} ({view['name']}) is deleted")


def _confirm(view: dict[str, Any]) -> None:
    """Have the user type the study's name; raises TangentError where it is another."""
    counts = view["counts"]
    n_trials = sum(counts[name] for name in ("n_waiting", "n_running", "n_complete", "n_pruned", "n_fail"))
    if not sys.stdin.isatty():
        raise TangentError("nothing was deleted: nobody can be asked here; use --yes")
    _say(f"This deletes study {view['id']}, {view['state'].lower()}, with {_count(n_trials, 'trial')}. It is for ever.")
    if typer.prompt(f"Type its name ({view['name']}) to go on", default="", show_default=False) != view["name"]:
        raise TangentError("nothing was deleted: that is not its name")


@app.command("set")
def change(
    study: StudyArgument,
    *,
    priority: Annotated[int | None, typer.Option(help="Studies of a higher one run first.")] = None,
    weight: Annotated[float | None, typer.Option(help="Share of the slots within one priority.")] = None,
    max_running: Annotated[str | None, typer.Option(help="Most trials at once, or none for no limit.")] = None,
) -> None:
    """Change when a study's trials run, while it runs."""
    changes: dict[str, Any] = {"priority": priority, "weight": weight}
    changes = {name: value for name, value in changes.items() if value is not None}
    if max_running is not None:
        changes["max_running"] = _limit(max_running)
    with connected() as client:
        spec = client.change_settings(study, changes)["spec"]
    most = spec["max_running"]
    limit = "any number of trials" if most is None else f"at most {_count(most, 'trial')}"
    _say(f"study {study}: priority {spec['priority']}, weight {spec['weight']:g}, {limit} at once")


def _limit(text: str) -> int | None:
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise TangentError(f"--max-running takes a whole number, or none for no limit; got '{text}'") from None


@app.command()
def drain(worker: WorkerArgument) -> None:
    """Let a worker take no new trials; it finishes those that it runs."""
    with connected() as client:
        row = client.drain(_worker_id(client, worker))
    n_running = len(row["trials"])
    rest = f"finishes {_count(n_running, 'trial')} and takes no more" if n_running else "takes no more trials"
    _say(f"worker {_name(row)} {rest}")


@app.command()
def undrain(worker: WorkerArgument) -> None:
    """Let a draining worker take trials again."""
    with connected() as client:
        row = client.undrain(_worker_id(client, worker))
    _say(f"worker {_name(row)} takes trials again")


def _name(row: dict[str, Any]) -> str:
    return f"{row['hostname']}:{row['pid']}"


def _worker_id(client: Client, text: str) -> str:
    """The id of the worker that is meant; raises TangentError where there is none, or more than one."""
    online = [row for row in client.workers() if row["state"] != "offline"]
    found = [row for row in online if text in (_name(row), row["hostname"]) or row["id"].startswith(text.lower())]
    if len(found) == 1:
        return str(found[0]["id"])
    listed = ", ".join(_name(row) for row in found or online) or "none"
    if found:
        raise TangentError(f"'{text}' may mean several workers: {listed}")
    raise TangentError(f"no worker '{text}' is online; there are: {listed}")


@app.command()
def catalog(*, as_json: JsonOption = False) -> None:
    """What a study file may name: optimizers, workloads, samplers, pruners."""
    with connected() as client:
        document = client.catalog()
    if as_json:
        print_json(document)
    else:
        console.print(catalog_view(document))
