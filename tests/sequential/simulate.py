"""What looking while replicates come in costs and saves: simulated studies under the table of verdicts.

Replicate means are independent normal draws around the true log effect. The decision is the study's own: the first look
at which the table gives a verdict that needs no more replicates. It is computed here for all studies at once; a test
compares it with the service's, one study at a time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from service.domain.sequential import limits
from service.domain.study import Sequential

Array = NDArray[np.float64]
SD = 0.12
MARGIN = 0.05
N_STUDIES = 20_000
DESIGNS = (
    Sequential(3, 2).looks(10),
    Sequential(4, 4).looks(12),
    Sequential(5, 5).looks(20),
    Sequential(3, 3).looks(30),
)
EFFECTS = (0.0, -0.05, -0.10, -0.20)


def figures(n_studies: int = N_STUDIES) -> list[dict[str, Any]]:
    """A row for every design and true change."""
    return [
        row(looks, change, n_studies, seed=1000 * i + j)
        for i, looks in enumerate(DESIGNS)
        for j, change in enumerate(EFFECTS)
    ]


def row(looks: tuple[int, ...], change: float, n_studies: int, seed: int) -> dict[str, Any]:
    """Simulate one design at one true change.

    Returns:
        `replicates`: mean number that ran; `saved`: the planned ones less that; shares of studies that ended as
        `better`, `worse` (of whatever size), `equivalent` or `undecided`; `covered`: share in which the interval at
        the end holds the true effect; `covered_always`: in which all looks' intervals do; `fixed`: the same shares
        for the design that runs all replicates and looks once.
    """
    effect = math.log1p(change)
    draws = np.random.default_rng(seed).normal(effect, SD, (n_studies, looks[-1]))
    kinds = np.stack([kinds_at(draws[:, :n], looks, k) for k, n in enumerate(looks)], axis=1)
    inside = np.stack([covers(draws[:, :n], looks, k, effect) for k, n in enumerate(looks)], axis=1)
    last = len(looks) - 1
    at = np.where((kinds != "undecided").any(axis=1), (kinds != "undecided").argmax(axis=1), last)
    each = np.arange(n_studies)
    n_run = np.array(looks)[at]
    return {
        "looks": list(looks),
        "change": change,
        "n_studies": n_studies,
        "seed": seed,
        "replicates": float(n_run.mean()),
        "saved": float(looks[-1] - n_run.mean()),
        **shares(kinds[each, at]),
        "covered": float(inside[each, at].mean()),
        "covered_always": float(inside.all(axis=1).mean()),
        "fixed": shares(kinds_at(draws, (looks[-1],), 0)),
    }


def shares(kinds: NDArray[Any]) -> dict[str, float]:
    """Share of each outcome."""
    return {kind: float(np.mean(kinds == kind)) for kind in ("better", "worse", "equivalent", "undecided")}


def _moments(draws: Array) -> tuple[Array, Array]:
    return draws.mean(axis=1), draws.std(axis=1, ddof=1) / math.sqrt(draws.shape[1])


def kinds_at(draws: Array, looks: tuple[int, ...], k: int) -> NDArray[Any]:
    """The table's row at look `k` for each study: one declared pair, so that Holm changes nothing."""
    center, error = _moments(draws)
    half_95, half_90 = (limits(looks, alpha)[k] * error for alpha in (0.025, 0.05))
    found = np.full(len(draws), "undecided", dtype="<U10")
    found[(center - half_90 > -MARGIN) & (center + half_90 < MARGIN)] = "equivalent"
    found[center + half_95 < 0] = "better"
    found[center - half_95 > 0] = "worse"
    return found


def covers(draws: Array, looks: tuple[int, ...], k: int, effect: float) -> NDArray[Any]:
    """Where look `k`'s 95 % interval holds the effect."""
    center, error = _moments(draws)
    return np.abs(center - effect) <= limits(looks, 0.025)[k] * error


def monte_carlo_error(share: float, n: int) -> float:
    """Half-width of a 99 % interval of a simulated share."""
    return float(stats.norm.isf(0.005)) * math.sqrt(max(share * (1 - share), 1 / n) / n)
