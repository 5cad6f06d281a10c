"""The commands of `tangent` for people who use Optuna: optuna-dashboard, import-optuna.

Both are programs of their own, because they open the ledger and import Optuna; the command line does neither.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from service import interrupts
from service.terminal import JsonOption, StudyArgument, console, print_json

app = typer.Typer()
_STOP_S = 10.0


@app.command("optuna-dashboard")
def optuna_dashboard(
    study: StudyArgument,
    *,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 8080,
) -> None:
    """Look at a study in the real optuna-dashboard, read-only, until Ctrl-C."""
    child = _start(["service.optuna_dashboard", str(study), "--port", str(port)])
    try:
        address = child.stdout.readline().strip() if child.stdout else ""
        if address:
            console.print(f"optuna-dashboard shows study {study} at\n  {address}", markup=False)
            console.print("  read-only; stop with Ctrl-C", markup=False, style="dim")
        code = child.wait()
    except BaseException:
        with interrupts.deferred():
            _stop(child)
        raise
    raise typer.Exit(code)


@app.command("import-optuna")
def import_optuna(
    where: Annotated[str, typer.Argument(metavar="STORAGE", help="A file, sqlite:///FILE or postgresql://…")],
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The Optuna study's name.")],
    *,
    name: Annotated[str | None, typer.Option(help="Name of the new study; else Optuna's.")] = None,
    workload: Annotated[str | None, typer.Option(help="The workload whose endpoint the values are.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="The optimizer that the parameters belong to.")] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="What a value means: 'value', '1 - value' (a score), 'exp(value)' or 'exp(-value)'."),
    ] = None,
    floor: Annotated[float, typer.Option(help="Smallest endpoint, for a perfect score; 0 refuses one.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Take an existing Optuna study into the ledger as search trials, marked as not preregistered."""
    options = {"--name": name, "--workload": workload, "--optimizer": optimizer, "--endpoint": endpoint}
    # With "=", for a value may begin with a dash.
    words = [f"{option}={value}" for option, value in options.items() if value is not None]
    child = _start(["service.importing", *words, f"--floor={floor}", "--", where, study])
    said = child.communicate()[0]
    if child.returncode:
        raise typer.Exit(child.returncode)
    answer = json.loads(said)
    if as_json:
        print_json(answer)
        return
    console.print(f"study {answer['id']}: {answer['n_trials']} trials, imported, not preregistered", markup=False)
    for note in answer["notes"]:
        console.print(f"  {note}", markup=False)


def _start(words: Sequence[str]) -> subprocess.Popen[str]:
    """A child whose sentences go to standard error; a folder `service` here must not be taken for ours."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    return subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True, env=environment)


def _stop(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
