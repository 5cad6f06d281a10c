"""What the service costs beside the training: a study's wall time over (sum of its training CPU time / slots).

`python -m tests.bench.overhead` starts an instance of its own, finds the epochs with which a training of digits-cnn
takes about a second of CPU time, runs a study of such trainings and writes docs/benchmarks/overhead.json. The ratio to
CPU time contains what other programs take from the cores meanwhile; the one to the trainings' own wall time does not,
nor does `ratio_of_cpu`: all that the instance computed over what its trainings did.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from service.client import Client
from service.engines import remove_engines
from tests.e2e.support import REPOSITORY, client_of, family, recorded, succeed, tangent

TARGET_FILE = REPOSITORY / "docs" / "benchmarks" / "overhead.json"
SLOTS, TRAINING_S = 2, 1.0
_PACKAGES = ("torch", "celery", "sqlalchemy", "psycopg", "optuna")
_SETTINGS = {"TANGENT_LEASE": "30", "TANGENT_SWEEP": "10", "TANGENT_POLL": "5"}
"""The service's defaults, not the tests' short ones."""


def study(name: str, epochs: int, **plan: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": name,
        "workload": {"name": "digits-cnn", "options": {"epochs": epochs}},
        "arms": [{"name": "adamw", "optimizer": "AdamW"}, {"name": "adamp", "optimizer": "AdamP"}],
        "compare": [["adamw", "adamp"]],
        "replicates": 4,
        "search": {"sampler": "random", "trials": 6},
        "select": {"top": 2, "seeds": 1},
        "confirm": {"seeds": 2},
        **plan,
    }


def measure(home: Path) -> dict[str, Any]:
    succeed(tangent(home, "up", "--port", "0", "--slots", SLOTS, **_SETTINGS))
    try:
        with client_of(home) as client:
            # The slots' start is not the study's: this one is over when both have imported torch.
            warm = finish(client, study("warm-up", 4, replicates=3, search={"trials": 3}))
            epochs = max(2, round(TRAINING_S / (mean_cpu_s(warm) / 4)))
            load = os.getloadavg()[0]
            before = cpu_s_of(home)
            export = finish(client, study("bench", epochs))
            everything = cpu_s_of(home) - before
            return {"epochs": epochs, "load_average_before": load, **figures(export, everything)}
    finally:
        tangent(home, "down")
        remove_engines(home)


def finish(client: Client, document: dict[str, Any]) -> dict[str, Any]:
    study_id = int(client.submit(document)["id"])
    while client.show(study_id)["state"] != "FINISHED":
        time.sleep(1.0)  # as `tangent watch` looks
    export: dict[str, Any] = json.loads(client.export(study_id, "json"))
    return export


def cpu_s_of(home: Path) -> float:
    """CPU time so far of the whole instance, engines and slots included, and of those of its processes that ended."""
    times = [one.cpu_times() for one in family(recorded(home)["supervisor"])]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def mean_cpu_s(export: dict[str, Any]) -> float:
    return sum(trial["cpu_s"] for trial in export["trials"]) / len(export["trials"])


def figures(export: dict[str, Any], everything_cpu_s: float) -> dict[str, Any]:
    created, finished = (datetime.fromisoformat(export["study"][key]) for key in ("created_at", "finished_at"))
    wall_s = (finished - created).total_seconds()
    cpu_s, duration_s = (sum(trial[key] for trial in export["trials"]) for key in ("cpu_s", "duration_s"))
    return {
        "n_trainings": len(export["trials"]),
        "slots": SLOTS,
        "wall_s": round(wall_s, 3),
        "training_cpu_s": round(cpu_s, 3),
        "instance_cpu_s": round(everything_cpu_s, 3),
        "training_wall_s": round(duration_s, 3),
        "mean_training_cpu_s": round(cpu_s / len(export["trials"]), 3),
        "ratio_of_cpu": round(everything_cpu_s / cpu_s, 3),
        "ratio_to_cpu": round(wall_s / (cpu_s / SLOTS), 3),
        "ratio_to_training_wall": round(wall_s / (duration_s / SLOTS), 3),
    }


def machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_model(),
        "n_cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
    }


def cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        document = {**machine(), **measure(Path(folder) / "home")}
    TARGET_FILE.parent.mkdir(parents=True, exist_ok=True)
    TARGET_FILE.write_text(json.dumps(document, indent=2) + "\n")
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
