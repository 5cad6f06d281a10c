"""Run the published studies: `python -m tests.results.make` writes docs/results/*.json, docs/results.md, its picture.

The studies in docs/results/studies/ run one after the other on a local instance of their own, equal-arms.yaml as often
as `--pairs` says, twice each with seeds of its own. Each report is written when its study has ended. Called again, the
command goes on where it stopped: a study is known by the hash of its file. The code must be the same then, since a
study never mixes revisions.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from service import launch, watching
from service.client import Client
from service.config import load_settings
from service.errors import TangentError
from service.output import results
from service.output.equal_arms import equal_arms_document
from service.output.forms import json_lines
from service.studyfile import read_study_file

Study = dict[str, Any]
Check = Callable[[], None]
DOCS = Path(__file__).parents[2] / "docs"
MAIN = ("digits-cnn", "digits-mlp", "controls")
LONGER = ("digits-cnn-longer", "digits-mlp-longer")
EQUAL = "equal-arms"
PAIRS = 40
_PERIOD_S = 10.0
_TINY = {"search": {"trials": 3}, "select": {"top": 1, "seeds": 1}, "confirm": {"seeds": 1}, "replicates": 3}


def study_file(name: str, *, seed: int | None = None, is_tiny: bool = False) -> Study:
    """One of the study files; `is_tiny` leaves its shape and takes seconds, to try the command."""
    document = read_study_file(DOCS / "results" / "studies" / f"{name}.yaml")
    if is_tiny:
        document |= _TINY
        document["workload"] = {**document["workload"], "options": {"epochs": 1}}
    return document if seed is None else {**document, "seed": seed}


def equal_files(n_pairs: int, *, is_tiny: bool = False) -> list[Study]:
    """The equal studies: two for each pair, seeds counting up from the file's."""
    first = study_file(EQUAL)["seed"]
    return [study_file(EQUAL, seed=first + index, is_tiny=is_tiny) for index in range(2 * n_pairs)]


def say(text: str) -> None:
    """One line, with the time of day."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stdout.flush()


def submit(client: Client, document: Study) -> int:
    """The newest study of that file that has not failed, else a new one."""
    wanted = client.validate(document)["spec_hash"]
    known = [s for s in client.list_studies() if s["spec_hash"] == wanted and s["state"] in ("RUNNING", "FINISHED")]
    return int(known[0]["id"] if known else client.submit(document)["id"])


def wait(client: Client, ids: Sequence[int], check: Check) -> None:
    """Return when all have finished.

    Raises:
        TangentError: One failed or was cancelled, or was begun with other code than the workers have.
    """
    told = 0.0
    while True:
        found = {s["id"]: s for s in watching.ask(client.list_studies, check) if s["id"] in ids}
        for study in found.values():
            _refuse(client, study)
        n_done = sum(s["counts"]["n_complete"] for s in found.values())
        if all(study["state"] == "FINISHED" for study in found.values()):
            return
        if time.monotonic() - told > 6 * _PERIOD_S:
            say(f"{n_done:,} of {sum(s['n_planned'] for s in found.values()):,} trainings")
            told = time.monotonic()
        time.sleep(_PERIOD_S if n_done else 1)


def _refuse(client: Client, study: Mapping[str, Any]) -> None:
    if study["state"] in ("FAILED", "CANCELLED"):
        raise TangentError(f"study {study['id']} ({study['name']}) is {study['state']}: {study['reason']}")
    online = {worker["code_revision"] for worker in client.workers() if worker["state"] == "online"}
    begun = study["code_revision"]
    if study["state"] == "RUNNING" and begun and online and begun not in online:
        raise TangentError(
            f"study {study['id']} ({study['name']}) began with training code {begun[:12]}, and the workers have other "
            "code: go on with that code, or begin in a new --home"
        )


def run(client: Client, folder: Path, n_pairs: int, *, is_tiny: bool, check: Check) -> None:
    """Run everything and write each result when it is there."""
    for name in MAIN:
        _run_one(client, folder, name, is_tiny=is_tiny, check=check)
    _run_equal(client, folder, n_pairs, is_tiny=is_tiny, check=check)
    for name in LONGER:
        _run_one(client, folder, name, is_tiny=is_tiny, check=check)


def _run_one(client: Client, folder: Path, name: str, *, is_tiny: bool, check: Check) -> None:
    study_id = submit(client, study_file(name, is_tiny=is_tiny))
    say(f"{name} is study {study_id}")
    wait(client, [study_id], check)
    write(folder / f"{name}.json", watching.ask(partial(client.report, study_id), check))


def _run_equal(client: Client, folder: Path, n_pairs: int, *, is_tiny: bool, check: Check) -> None:
    ids = [submit(client, document) for document in equal_files(n_pairs, is_tiny=is_tiny)]
    say(f"{len(ids)} equal studies are studies {ids[0]} to {ids[-1]}")
    wait(client, ids, check)
    write(
        folder / results.EQUAL_ARMS,
        equal_arms_document([watching.ask(partial(client.report, study_id), check) for study_id in ids]),
    )


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write one result."""
    path.write_text(json_lines(document), encoding="utf-8")
    say(f"wrote {path}")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.results.make", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".tangent") / "results", help="folder of the local instance")
    parser.add_argument("--slots", type=int, default=0, help="trainings at once; 0 is one for each core")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of equal studies")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where results/ and results.md are written")
    parser.add_argument("--tiny", action="store_true", help="seconds instead of minutes: to try the command itself")
    given = parser.parse_args()
    folder = given.docs / "results"
    folder.mkdir(parents=True, exist_ok=True)
    settings = load_settings().model_copy(update={"home": given.home.absolute()})
    started = time.monotonic()
    try:
        with launch.instance_for(settings, say, slots=given.slots) as (client, own):
            check = own.check if own else lambda: None
            run(client, folder, given.pairs, is_tiny=given.tiny, check=check)
    except TangentError as error:
        raise SystemExit(str(error)) from error
    results.write_files(given.docs)
    say(f"done after {(time.monotonic() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
