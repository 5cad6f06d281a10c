"""What the self-test has found so far, kept in a file that git ignores, so that an interrupted run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from workers.check.errors import InfrastructureError
from workers.check.plants import read_plants
from workers.check.selftest import ROOT, self_test
from workers.check.selftest_noops import noop_runs, planned_runs
from workers.environment import cpu_model

KEPT = ROOT / "build" / "check-selftest.jsonl"
COST = "cost"
TRAINING = ROOT / "docs" / "check" / "training.json"

Progress = Callable[[str], None]
Entry = dict[str, Any]


def collect(n_noops: int, budget_s: float, progress: Progress, kept: Path = KEPT) -> int:
    """Run what is missing; each result is written when it is there.

    Args:
        n_noops: Runs of refactors.
        budget_s: Nothing new is begun after it.

    Returns:
        How many results are still missing.
    """
    end = time.monotonic() + budget_s
    kept.parent.mkdir(exist_ok=True)
    with kept.open("a", encoding="utf-8") as file, contextlib.closing(_missing(n_noops, kept, progress)) as missing:
        for entry in missing:
            file.write(json.dumps({**entry, "code": revision(), "date": today()}) + "\n")
            file.flush()
            if time.monotonic() > end:
                break
    return len(_plants_to_run(kept)) + len(_noops_to_run(n_noops, kept))


def make_document(n_noops: int, kept: Path = KEPT) -> dict[str, Any]:
    """What docs/check.json holds: everything that was kept, of each run the last."""
    found = _found(kept)
    plants = [found[key] for plant in read_plants() if (key := _plant_key(plant.name)) in found]
    noops = [found[key] for run in planned_runs(n_noops) if (key := _noop_key(*run)) in found]
    training = json.loads(TRAINING.read_text(encoding="utf-8"))
    return {
        "date": max(entry["date"] for entry in (*plants, *noops)),
        "code": sorted({entry["code"] for entry in (*plants, *noops)}),
        "machine": f"{os.cpu_count()} x {cpu_model()}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "plants": [_without(plant) for plant in plants],
        "noops": [_without(noop) for noop in noops],
        "cost": {name: value for name, value in found.get(COST, {}).items() if name != "key"},
        "simulated": {name: measured["same"] for name, measured in training["workloads"].items()},
    }


def measure_cost(kept: Path = KEPT) -> Entry:
    """Run `tangent check` here against the last commit, all layers of all optimizers, and keep what it took.

    Returns:
        "wall_s", "cpu_s" (of all its processes), "load_1min" before, "verdicts" by optimizer, "code", "date".

    Raises:
        InfrastructureError: It has no verdict, or fails.
    """
    load, before, began = os.getloadavg()[0], os.times(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "check.json"
        command = [sys.executable, "-m", "workers.check", "--baseline", "HEAD", "--json", str(report)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stdout.strip() or done.stderr.strip() or "it said nothing").splitlines()[-1]
            raise InfrastructureError(f"the check ended with code {done.returncode}: {last}", done.stderr)
        checks = json.loads(report.read_text(encoding="utf-8"))["checks"]
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    taken = {
        "wall_s": round(time.monotonic() - began, 1),
        "cpu_s": round(cpu_s, 1),
        "load_1min": round(load, 2),
        "verdicts": {check["name"]: check["verdict"] for check in checks},
        "code": revision(),
        "date": today(),
    }
    kept.parent.mkdir(exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": COST, **taken}) + "\n")
    return taken


def revision() -> str:
    """The commit, shortened; "-dirty" where files of the optimizers or of the check differ from it."""
    commit = _git("rev-parse", "--short", "HEAD")
    return f"{commit}-dirty" if _git("status", "--porcelain", "--", "adamp", "workers/check") else commit


def today() -> str:
    """The date in UTC, ISO 8601."""
    return datetime.now(UTC).date().isoformat()


def _missing(n_noops: int, kept: Path, progress: Progress) -> Generator[Entry]:
    if names := _plants_to_run(kept):
        for outcome in self_test(names, [0], progress):
            entry = {**asdict(outcome), "n_script_lines": len(outcome.script.splitlines())}
            del entry["script"]  # each is short, all together are long
            yield {"key": _plant_key(outcome.name), **entry}
    if runs := _noops_to_run(n_noops, kept):
        for run in noop_runs(runs, progress):
            yield {"key": _noop_key(run.name, run.seed), **asdict(run)}


def _plants_to_run(kept: Path) -> list[str]:
    found = _found(kept)
    return [plant.name for plant in read_plants() if _plant_key(plant.name) not in found]


def _noops_to_run(n_noops: int, kept: Path) -> list[tuple[str, int]]:
    found = _found(kept)
    return [run for run in planned_runs(n_noops) if _noop_key(*run) not in found]


def _plant_key(name: str) -> str:
    return f"plant: {name}"


def _noop_key(name: str, seed: int) -> str:
    return f"refactor: {name}, seed {seed}"


def _found(kept: Path) -> dict[str, Entry]:
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def _without(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name not in ("key", "code", "date")}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
