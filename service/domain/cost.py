"""What a study will cost and what it can show: known before it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.domain.catalog import Workload
from service.domain.planning import paired_t_power
from service.domain.study import Study
from service.domain.trial import Phase

EFFECTS = (0.05, 0.10, 0.20)


@dataclass(frozen=True)
class Spread:
    """Noise of a paired difference on the log scale.

    Attributes:
        within: Standard deviation of one pair of runs on a common seed, within a replicate.
        between: Standard deviation of the true replicate means: what more seeds cannot remove.
        n_pairs: Comparisons behind the two; 0 for the typical ones.
    """

    within: float
    between: float
    n_pairs: int = 0

    def sd(self, n_seeds: int) -> float:
        """Standard deviation of replicate means over so many confirm seeds."""
        return math.sqrt(self.between**2 + self.within**2 / n_seeds)


TYPICAL = Spread(within=0.15, between=0.10)
"""Measured on scikit-learn's digits: replicate means spread by 0.12 with S = 5 and T = 30."""


@dataclass(frozen=True)
class Calibration:
    """What earlier trainings of the same workload, options and device class tell.

    Attributes:
        run_s: Mean seconds of one training.
        n_runs: Trainings behind it.
        spread: From their reports; the typical one where there is none.
    """

    run_s: float
    n_runs: int
    spread: Spread = TYPICAL


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
        device_s: Seconds of one slot for all of them.
        run_s: Mean seconds of one.
        assumed_sd: Standard deviation of replicate means behind `power`, log scale.
        alpha: Level of the test behind `power`: 5 % over the number of declared pairs.
        n_measured: Earlier trainings behind `device_s`; 0 where it is a rough guess from the catalog.
        spread: Behind `assumed_sd`.
    """

    n_trainings: int
    device_s: float
    assumed_sd: float
    alpha: float
    power: tuple[Power, ...]
    run_s: float
    n_measured: int = 0
    spread: Spread = TYPICAL


def estimate_cost(study: Study, workload: Workload, calibration: Calibration | None = None) -> Cost:
    """What the study takes, and its power for three sizes of change.

    Args:
        study: The study.
        workload: Its entry in the catalog, whose rough time of a run is used where nothing was measured.
        calibration: From earlier trainings; None where there are none.
    """
    alpha = level(len(study.compare))
    spread = calibration.spread if calibration else TYPICAL
    sd = spread.sd(study.confirm_seeds)
    power = tuple(
        Power(-change, paired_t_power(math.log1p(-change), sd, study.replicates, alpha)) for change in EFFECTS
    )
    one, n_measured = (calibration.run_s, calibration.n_runs) if calibration else (run_s(study, workload), 0)
    return Cost(study.n_runs, total_s(study, one), sd, alpha, power, one, n_measured, spread)


def total_s(study: Study, run_s: float) -> float:
    """Seconds of one slot for the whole study, where one training takes `run_s`; a budget in seconds ends searches."""
    runs = study.runs_per_cell()
    search_s = runs[Phase.SEARCH] * run_s
    if study.search.budget is not None and "device_s" in study.search.budget:
        search_s = min(search_s, study.search.budget["device_s"] + run_s / 2)  # the last trial ends beyond it
    return study.n_cells * (search_s + (runs[Phase.SELECT] + runs[Phase.CONFIRM]) * run_s)


def level(n_pairs: int) -> float:
    """Level of Holm's first step over the declared pairs."""
    return 0.05 / max(1, n_pairs)


def run_s(study: Study, workload: Workload) -> float:
    """Rough seconds of one training: the catalog's for default options, scaled by the number of epochs."""
    epochs = workload.option("epochs")
    default = epochs.default if epochs else None
    if not isinstance(default, (int, float)):
        return workload.cpu_s_per_run
    return workload.cpu_s_per_run * float(study.options.get("epochs", default)) / default
