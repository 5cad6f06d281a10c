"""What a study will cost and what it can show: known before it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.domain.catalog import Workload
from service.domain.planning import paired_t_power
from service.domain.study import Study

TYPICAL_SD = 0.12
"""Spread of replicate means on the log scale, measured on scikit-learn's digits with S = 5 and T = 30."""
EFFECTS = (0.05, 0.10, 0.20)


@dataclass(frozen=True)
class Power:
    """Chance to see a true improvement.

    Attributes:
        change: Relative change of the endpoint, such as -0.1 for 10 % less.
        power: Probability that one declared pair is called different, at Holm's first step.
    """

    change: float
    power: float


@dataclass(frozen=True)
class Cost:
    """What a study takes.

    Attributes:
        n_trainings: Runs of all phases.
        device_s: Seconds of one slot for all of them; a rough guess from the catalog, before anything was measured.
        assumed_sd: Standard deviation of replicate means behind `power`, log scale.
        alpha: Level of the test behind `power`: 5 % over the number of declared pairs.
    """

    n_trainings: int
    device_s: float
    assumed_sd: float
    alpha: float
    power: tuple[Power, ...]


def estimate_cost(study: Study, workload: Workload) -> Cost:
    """What the study takes, and its power for three sizes of change."""
    alpha = 0.05 / max(1, len(study.compare))
    power = tuple(
        Power(-change, paired_t_power(math.log1p(-change), TYPICAL_SD, study.replicates, alpha)) for change in EFFECTS
    )
    return Cost(study.n_runs, study.n_runs * run_s(study, workload), TYPICAL_SD, alpha, power)


def run_s(study: Study, workload: Workload) -> float:
    """Rough seconds of one training: the catalog's for default options, scaled by the number of epochs."""
    epochs = workload.option("epochs")
    default = epochs.default if epochs else None
    if not isinstance(default, (int, float)):
        return workload.cpu_s_per_run
    return workload.cpu_s_per_run * float(study.options.get("epochs", default)) / default
