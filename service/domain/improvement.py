"""Probability of improvement: how often the challenger wins on the same seed."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.bootstrap import cluster_interval
from service.domain.comparison import Measurement
from service.domain.statistics import SMALLEST_SD, Interval, mean


@dataclass(frozen=True)
class Improvement:
    """One pair.

    Attributes:
        probability: Mean over replicates of the share of seeds on which the challenger's endpoint is lower, ties
            counting half; None without replicates.
        interval_95: Cluster bootstrap; None for fewer than 5 replicates.
    """

    baseline: str
    challenger: str
    n_replicates: int
    probability: float | None
    interval_95: Interval | None


def probability_of_improvement(pair: Measurement) -> Improvement:
    """How probable it is that a run of the tuned challenger beats the tuned baseline's on the same seed.

    Source: Agarwal et al., NeurIPS 2021 (probability of improvement; theirs pairs all runs, here those on common
    seeds), with a cluster bootstrap over replicates, then seeds.
    """
    wins = [[_win(run.log_ratio) for run in replicate.runs] for replicate in pair.replicates]
    probability = mean([mean(cluster) for cluster in wins]) if wins else None
    return Improvement(pair.baseline, pair.challenger, len(wins), probability, cluster_interval(wins))


def _win(log_ratio: float) -> float:
    if abs(log_ratio) <= SMALLEST_SD:
        return 0.5
    return 1.0 if log_ratio < 0 else 0.0
