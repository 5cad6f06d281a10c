"""How much an arm depends on being tuned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from service.domain.budget_curves import budgets, log_values, replicate_curves
from service.domain.report_input import ReportInput
from service.domain.statistics import mean

NEAR_BEST = 1.10
FEW = 3


@dataclass(frozen=True)
class Tunability:
    """One arm over its complete replicates.

    Attributes:
        n_replicates: Replicates whose search is over; T is the fewest trials of any of them where a budget in steps
            or seconds ended it.
        weighted_incumbent: Geometric mean of the expected best over budgets t = 1 .. T with weights T - t + 1: low
            for an arm that is good early. None without such a replicate.
        share_near_best: Share of the arm's search trials within 10 % of its best one; None likewise.
        few_over_all: E[best of 3] / E[best of T], at least 1: what is lost by trying three; None where T < 3, too.
    """

    arm: str
    n_replicates: int
    weighted_incumbent: float | None
    share_near_best: float | None
    few_over_all: float | None


def tunability(source: ReportInput, arm: str) -> Tunability:
    """Describe how the arm's result depends on the search budget.

    Source: Sivaprasad et al., ICML 2020 (weighted incumbent, "CPL"), on the log and over the expected-best curve.
    """
    n_trials, (curves,) = replicate_curves(source, arm)
    if not curves:
        return Tunability(arm, 0, None, None, None)
    places = budgets(n_trials)
    curve = np.array([curves[replicate] for replicate in sorted(curves)]).mean(axis=0)
    every = np.arange(1, n_trials + 1)
    full = np.interp(every, places, curve)
    weights = n_trials - every + 1.0
    few = math.exp(float(full[FEW - 1] - full[-1])) if n_trials >= FEW else None
    return Tunability(
        arm=arm,
        n_replicates=len(curves),
        weighted_incumbent=math.exp(float(np.dot(weights, full) / weights.sum())),
        share_near_best=_share_near_best(source, arm, sorted(curves)),
        few_over_all=few,
    )


def _share_near_best(source: ReportInput, arm: str, replicates: list[int]) -> float:
    logs = [log_values(source.cells[arm, replicate], source.chance_level) for replicate in replicates]
    limit = min(map(min, logs)) + math.log(NEAR_BEST)
    return mean([mean([float(value <= limit) for value in values]) for values in logs])
