"""`python -m workers.calibrate`: how long a training takes on this machine, from a few short ones.

Reads one JSON document from standard input: `runs`, one for each arm (`arm`, `workload`, `options`, `optimizer`,
`params`, `seed`, `device`), and `most_s`, the seconds that each may take. A training that would take longer is stopped
there, and its time follows from its steps so far. Writes one document to standard output: `runs`, each with `arm`,
`run_s` and `is_whole`. Needs neither ledger nor token.

Exit codes: 0 measured, 4 the trainings cannot run here.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from service.config import load_settings, names
from service.errors import TangentError
from workers.plugins import PluginError
from workers.run import Interrupted, Measurement, Run, Start
from workers.training import configure_torch, train

CANNOT_RUN = 4
_WARM_UP_S = 2.0


class Stopwatch:
    """Times a training and stops it when its time is over, at the earliest after its first epoch's evaluation."""

    def __init__(self, most_s: float) -> None:
        self.n_steps = 0
        self._most_s, self._n_done, self._elapsed_s = most_s, 0, 0.0
        self._began = time.perf_counter()

    def started(self, start: Start) -> None:
        """The clock begins with the model: loading data is part of a training."""
        self.n_steps = start.n_steps

    def measured(self, measurement: Measurement) -> None:
        """Note how far the training is, evaluations included."""
        self._n_done, self._elapsed_s = measurement.step, time.perf_counter() - self._began

    def should_stop(self) -> bool:
        """True when the time is over and an epoch with its evaluation was timed."""
        return self._n_done > 0 and time.perf_counter() - self._began > self._most_s

    def wants_checkpoint(self) -> bool:
        """Never."""
        return False

    def run_s(self) -> float:
        """Seconds of the whole training: those of the epochs so far, for each of its steps."""
        return self._elapsed_s * self.n_steps / max(1, self._n_done)


def measure(run: Run, most_s: float, allowed: Sequence[str]) -> tuple[float, bool]:
    """Seconds of one training, and whether all of it ran; one that diverges at once is timed by its steps.

    Raises:
        PluginError: The workload or the optimizer cannot be used here.
        ValueError: Options or hyperparameters are wrong.
    """
    watch, began = Stopwatch(most_s), time.perf_counter()
    try:
        result = train(run, watch, allowed=allowed)
    except Interrupted:
        return watch.run_s(), False
    elapsed_s = time.perf_counter() - began
    if 0 < result.n_steps < watch.n_steps:
        return elapsed_s * watch.n_steps / result.n_steps, False
    return elapsed_s, True


def calibrate(document: Mapping[str, Any], allowed: Sequence[str]) -> list[dict[str, Any]]:
    """Time every arm's training, after a warm-up that does not count; raises as `measure`."""
    runs = [(str(entry["arm"]), Run(**{k: v for k, v in entry.items() if k != "arm"})) for entry in document["runs"]]
    measure(runs[0][1], _WARM_UP_S, allowed)
    found = []
    for arm, run in runs:
        run_s, is_whole = measure(run, float(document["most_s"]), allowed)
        found.append({"arm": arm, "run_s": run_s, "is_whole": is_whole})
    return found


def main() -> int:
    """Read, train, write; returns the exit code."""
    document = json.load(sys.stdin)
    try:
        settings = load_settings()
        configure_torch(settings.slot_threads)
        found = calibrate(document, (*names(settings.allowed_workloads), *names(settings.allowed_optimizers)))
    except (PluginError, TangentError, ValueError, RuntimeError) as error:
        json.dump({"error": f"{type(error).__name__}: {error}"}, sys.stdout)
        return CANNOT_RUN
    json.dump({"runs": found}, sys.stdout, allow_nan=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
