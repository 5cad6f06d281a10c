"""The confirm runs as CSV: one line for each run, with the trial behind it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

_COLUMNS = ("study", "spec_hash", "workload", "arm", "optimizer", "replicate", "seed_index", "seed", "trial")


def confirm_csv(report: Mapping[str, Any]) -> str:
    """Raw values behind every endpoint; `value` is the test endpoint, chance level where the run diverged."""
    runs = [(arm, run) for arm in report["arms"] for run in arm["confirm_runs"]]
    metrics = sorted({name for _, run in runs for name in run["metrics"]})
    text = io.StringIO()
    columns = [*_COLUMNS, "value", "diverged", *(f"metrics.{name}" for name in metrics)]
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for arm, run in runs:
        place = {key: report[key] for key in ("study", "spec_hash", "workload")}
        place |= {"arm": arm["name"], "optimizer": arm["optimizer"]}
        values = {key: run[key] for key in ("replicate", "seed_index", "seed", "trial", "value", "diverged")}
        writer.writerow(place | values | {f"metrics.{name}": value for name, value in run["metrics"].items()})
    return text.getvalue()
