"""Mutants of adamp that numerics of the check catch alone: `python -m tests.mutation.check_alone [S] [FILE ...]`.

FILE is one of adamp's modules; S is the number of seconds after which no further mutant is begun. What was found is
kept in build/check-mutants.txt, and the next run goes on, but for functions that have changed since.

Writes docs/check-mutation.json and .md. mutmut makes the mutants and must be importable, with libcst; it is no
dependency of the tests. Every mutant runs in a fork of this process, which has loaded torch and adamp and has not
stepped; a mutant is chosen where its function is called.
"""

import hashlib
import importlib
import importlib.metadata
import json
import math
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tests.mutation import check_page
from tests.mutation.changes import change_of, sides_of
from tests.mutation.check_reasons import unseen
from tests.mutation.forks import Checks, load_mutants, load_torch, stop_early
from tests.mutation.make import function_of
from tests.mutation.reasons import EQUAL_LENGTHS, PRESERVED, UNDECIDED, reason_of

ROOT = Path(__file__).resolve().parents[2]
FILES = ("adam", "sgd", "base", "checkpoints", "checks", "diagnostics", "functional", "projection", "eager")
KEPT = ROOT / "build" / "check-mutants.txt"

UNREACHED = r"sgdw|functional\.\w*(sgdp|momentum)"
"""What no step of a checked optimizer runs on a CPU: no table of tool.tangent.check names SGDW."""


def main() -> None:
    """Mutate, check each mutant, judge the survivors, write."""
    torch.set_num_threads(1)
    load_torch()
    stop_early()
    numbers = [float(word) for word in sys.argv[1:] if word not in FILES]
    end = time.monotonic() + (numbers[0] if numbers else math.inf)
    chosen = [word for word in sys.argv[1:] if word in FILES] or FILES
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        original, mutated = Path(name, "original"), Path(name, "mutated")
        names, sources = make_mutants(original, mutated)
        load_mutants(mutated)
        names = {file: [name for name in names[file] if not re.search(UNREACHED, name, re.I)] for file in FILES}
        every = [describe(mutant, sources[file]) for file in FILES for mutant in names[file]]
        alike = {entry["name"]: "survived" for entry in every if entry["reason"] in (EQUAL_LENGTHS, PRESERVED)}
        codes = {mutant: code_of(mutant, sources[file]) for file in FILES for mutant in names[file]}
        known = {**kept_verdicts(codes), **alike}
        wanted = [entry for entry in every if entry["name"] not in known and entry["name"].split(".")[1] in chosen]
        # In no order, so that those for which there is time are a fair sample; what nothing can tell apart comes last.
        random.Random(0).shuffle(wanted)
        wanted.sort(key=lambda entry: bool(entry["is_equivalent"]))
        due = {entry["name"]: codes[entry["name"]] for entry in wanted}
        known |= verdicts_of(due, Checks(original, mutated, stack), end)
        write(names, known, every)


def kept_verdicts(codes: dict[str, str]) -> dict[str, str]:
    """Verdicts of earlier runs on mutants of functions that are what they were."""
    lines = (line.split() for line in KEPT.read_text().splitlines()) if KEPT.exists() else ()
    return {name: verdict for name, verdict, code in lines if codes.get(name) == code}


def code_of(name: str, source: str) -> str:
    """A hash of a function and of its mutant."""
    return hashlib.sha256("\0".join(sides_of(name, source)).encode()).hexdigest()[:12]


def make_mutants(original: Path, mutated: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Two copies of adamp, one with all mutants in it; their names and the generated sources by file."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    names, sources = {}, {}
    mutated.mkdir(parents=True)
    (mutated / "pyproject.toml").write_text('[tool.mutmut]\nsource_paths = ["adamp"]\n')
    os.chdir(mutated)  # mutmut reads its configuration there
    for folder in (original, mutated):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "adamp", folder / "adamp", ignore=ignored)
    for file in FILES:
        path = mutated / "adamp" / f"{file}.py"
        result = mutate_file_contents(str(path), path.read_text())
        path.write_text(result.code)
        sources[file] = result.code
        names[file] = [f"adamp.{file}.{mutant}" for mutant in result.mutant_names]
    return names, sources


def verdicts_of(codes: dict[str, str], checks: Checks, end: float) -> dict[str, str]:
    """Verdicts of the mutants in `codes`, each kept when it is there, until the time is up."""
    found: dict[str, str] = {}
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        for n, (mutant, code) in enumerate(codes.items()):
            if time.monotonic() > end:
                break
            found[mutant] = "caught" if checks.catch(mutant) else "survived"
            file.write(f"{mutant} {found[mutant]} {code}\n")
            file.flush()
            print(f"{n + 1}/{len(codes)} {mutant} {found[mutant]}", flush=True)  # noqa: T201
    return found


def write(names: dict[str, list[str]], verdicts: dict[str, str], every: list[dict[str, Any]]) -> None:
    """The data and the page, of the mutants that have a verdict."""
    n_run = {file: sum(mutant in verdicts for mutant in mutants) for file, mutants in names.items()}
    from workers.environment import cpu_model  # which imports adamp: not before the copy that has the mutants

    git = ["git", "rev-parse", "--short", "HEAD"]
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "mutmut": importlib.metadata.version("mutmut"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{os.cpu_count()} x {cpu_model()}",
        "code": subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip(),
        "n_mutants": n_run,
        "not_run": {file: len(names[file]) - n for file, n in n_run.items() if n < len(names[file])},
        "survivors": [entry for entry in every if verdicts.get(entry["name"]) == "survived"],
    }
    check_page.DATA.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    check_page.PAGE.write_text(check_page.render(document))


def describe(name: str, source: str) -> dict[str, Any]:
    """The function, the lines before and after, and why it survives."""
    change = change_of(name, source)
    function = function_of(name)
    reason = reason_of(function, change)
    reason = unseen(function, change) if reason == UNDECIDED else reason
    return {
        "name": name,
        "function": function,
        "change": change,
        "reason": reason,
        "is_equivalent": reason.startswith("Equivalent"),
    }


if __name__ == "__main__":
    main()
