"""`python -m workers.reproduce`: run one trial of the ledger again on this machine, and compare.

Reads one JSON document from standard input: the run (`workload`, `options`, `optimizer`, `params`, `seed`, `device`,
`reads_test_set`), the `device_class` of its study, what the ledger has of it (`stored`), the epoch that it was pruned
at (`pruned_at`, null where it was not) and the `tolerance`. Writes one to standard output: `result` (what was
measured), `reproduction` (the comparison). Needs neither ledger nor token.

Exit codes: 0 reproduced, 1 not reproduced, 4 the trial cannot run here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service.config import load_settings, names
from service.domain.reproduction import Repeated, judge_reproduction
from service.domain.trial import Outcome
from service.errors import TangentError
from workers.environment import content_key, environment
from workers.plugins import PluginError
from workers.run import Measurement, Run, Start
from workers.training import configure_torch, train

NOT_REPRODUCED, CANNOT_RUN = 1, 4


class _Recorder:
    """Keeps the validation endpoints; ends the run as pruned one epoch after `pruned_at`, as the slot did."""

    def __init__(self, pruned_at: int | None) -> None:
        self.epochs: dict[int, float | None] = {}
        self._pruned_at = pruned_at

    def started(self, start: Start) -> None:
        """Say on standard error how long it will be."""
        sys.stderr.write(f"  running {start.n_epochs} epochs, {start.n_steps} steps\n")

    def measured(self, measurement: Measurement) -> bool:
        """Keep the epoch's endpoint; True where the slot obeyed the pruner."""
        self.epochs[measurement.epoch] = measurement.value
        return self._pruned_at is not None and measurement.epoch > self._pruned_at

    def should_stop(self) -> bool:
        """Never."""
        return False

    def wants_checkpoint(self) -> bool:
        """Never."""
        return False


def repeat(run: Run, device_class: str, allowed: tuple[str, ...], pruned_at: int | None = None) -> Repeated:
    """Train a run to its end and note what is compared.

    Args:
        pruned_at: The epoch whose value made the pruner end the run, which is then the run's value; None without.

    Raises:
        PluginError: The workload or the optimizer cannot be used here.
        ValueError: Options or hyperparameters are wrong.
    """
    recorder = _Recorder(pruned_at)
    result = train(run, recorder, allowed=allowed)
    key = content_key(run, device_class, allowed=allowed)
    value = recorder.epochs[pruned_at] if result.outcome is Outcome.PRUNED and pruned_at is not None else result.value
    return Repeated(result.outcome.value, value, result.test_value, recorder.epochs, environment(), key)


def stored_run(document: Mapping[str, Any]) -> Repeated:
    """What the ledger has; JSON's keys are text."""
    epochs = {int(epoch): value for epoch, value in document["epochs"].items()}
    return Repeated(**{**document, "epochs": epochs})


def main() -> int:
    """Read, run, compare, write; returns the exit code."""
    document = json.load(sys.stdin)
    try:
        settings = load_settings()
        allowed = (*names(settings.allowed_workloads), *names(settings.allowed_optimizers))
        stored = stored_run(document["stored"])
        configure_torch(int(stored.environment.get("n_threads") or 1))
        again = repeat(Run(**document["run"]), document["device_class"], allowed, document.get("pruned_at"))
    except (PluginError, TangentError, ValueError, RuntimeError) as error:
        json.dump({"error": f"{type(error).__name__}: {error}"}, sys.stdout)
        return CANNOT_RUN
    found = judge_reproduction(stored, again, document["tolerance"])
    json.dump({"result": asdict(again), "reproduction": asdict(found)}, sys.stdout, allow_nan=False)
    return 0 if found.is_reproduced else NOT_REPRODUCED


if __name__ == "__main__":
    raise SystemExit(main())
