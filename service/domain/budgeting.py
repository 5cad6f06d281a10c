"""Budget first: given hours of device time, the best plan and the smallest change that it detects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from service.domain.cost import Spread, level
from service.domain.planning import paired_t_power
from service.domain.ruling import MIN_REPLICATES
from service.domain.wording import count, duration

POWER = 0.8
MOST_REPLICATES = 200
MOST_SEEDS = 10
FEWEST_TRIALS = 4


@dataclass(frozen=True)
class Shape:
    """What of a study a plan keeps.

    Attributes:
        n_arms: Arms, each with its own search in every replicate.
        n_pairs: Declared pairs, which share the level.
        trials: T of the study file.
        select_runs: Runs of one cell's select phase.
    """

    n_arms: int
    n_pairs: int
    trials: int
    select_runs: int

    def n_runs(self, replicates: int, trials: int, seeds: int) -> int:
        """Trainings of a study of this shape."""
        return self.n_arms * replicates * (trials + self.select_runs + seeds)


@dataclass(frozen=True)
class BudgetPlan:
    """The plan that detects the smallest change.

    Attributes:
        replicates: R.
        trials: T, the study file's unless that left fewer than 3 replicates.
        seeds: S.
        n_runs: Trainings.
        device_s: Seconds of one slot for all of them.
        detectable: Smallest improvement that is found with probability 0.8 at Holm's first step, as a relative
            change such as -0.12.
    """

    replicates: int
    trials: int
    seeds: int
    n_runs: int
    device_s: float
    detectable: float


def plan_budget(shape: Shape, spread: Spread, run_s: float, device_s: float) -> BudgetPlan | None:
    """The best (R, T, S) for a budget.

    T is part of the question ("tuned with T trials") and stays the study file's while 3 replicates fit; else it is the
    largest that leaves 3. Among the (R, S) that fit, the smallest detectable change wins, then the fewest trainings.

    Args:
        shape: What stays.
        spread: Noise of a paired difference.
        run_s: Seconds of one training, > 0.
        device_s: The budget in seconds of one slot, over all slots together.

    Returns:
        None where not even 3 replicates of 4 trials and one seed fit.
    """
    affordable = int(device_s / run_s + 1e-9)
    trials = _trials(shape, affordable)
    if trials is None:
        return None
    alpha = level(shape.n_pairs)
    best: tuple[float, int, int, int] | None = None
    for replicates, seeds in _candidates(shape, trials, affordable):
        found = smallest_detectable(spread.sd(seeds), replicates, alpha)
        entry = (round(found, 4), shape.n_runs(replicates, trials, seeds), replicates, seeds)
        best = entry if best is None or entry < best else best
    if best is None:
        return None
    detectable, n_runs, replicates, seeds = best
    return BudgetPlan(replicates, trials, seeds, n_runs, n_runs * run_s, math.expm1(-detectable))


def _trials(shape: Shape, affordable: int) -> int | None:
    per_cell = affordable // (shape.n_arms * MIN_REPLICATES)
    most = min(shape.trials, per_cell - shape.select_runs - 1)
    return most if most >= min(FEWEST_TRIALS, shape.trials) else None


def _candidates(shape: Shape, trials: int, affordable: int) -> Iterator[tuple[int, int]]:
    """For every S the most replicates that fit: more of them never detect less."""
    for seeds in range(1, MOST_SEEDS + 1):
        replicates = min(MOST_REPLICATES, affordable // shape.n_runs(1, trials, seeds))
        if replicates >= MIN_REPLICATES:
            yield replicates, seeds


def smallest_detectable(sd: float, replicates: int, alpha: float) -> float:
    """Smallest effect, on the log scale and above 0, that the paired t-test finds with probability 0.8."""
    low, high = 0.0, 0.01
    while paired_t_power(high, sd, replicates, alpha) < POWER and high < 100:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if paired_t_power(middle, sd, replicates, alpha) < POWER else (low, middle)
    return high


def plan_sentences(plan: BudgetPlan, shape: Shape, n_slots: int) -> list[str]:
    """The plan for a reader: what to run, what it takes, what it can and cannot show."""
    wall = f", {duration(plan.device_s / n_slots)} on {count(n_slots, 'slot')}" if n_slots > 1 else ""
    sentences = [
        f"Best plan: R = {plan.replicates} replicates, T = {plan.trials} search trials per cell, "
        f"S = {plan.seeds} confirm seeds: {count(plan.n_runs, 'training')}, {duration(plan.device_s)} of one slot"
        f"{wall}.",
        f"The smallest improvement that it detects with probability {POWER:g} is {-100 * plan.detectable:.3g} %; "
        "a smaller one will more often than that come out as inconclusive.",
    ]
    if plan.trials < shape.trials:
        sentences.append(
            f"T is {plan.trials} instead of {shape.trials}, because {MIN_REPLICATES} replicates are the least for a "
            "verdict: the answer is then about optimizers tuned with that few trials."
        )
    return sentences
