"""Is an arm's search range too narrow? Winners at an edge suggest that better values lie beyond it.

A plain count of winners near an edge would downgrade most sound studies, because a dimension that does not matter
has winners everywhere. So an edge counts only where at least 2 replicates and at least half of them have their
winner within 5 % of the same edge, and, for every dimension but lr, where the search values themselves get better
towards that edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from service.domain.report_input import ArmInput, Cell
from service.domain.space import Dimension, Scale
from service.domain.trial import TrialRecord

EDGE_SHARE = 0.05
TOP_SHARE = 0.25
TREND_LEVEL = 0.05
# lr decides the outcome of every optimizer, so that its winners are never where they are by accident.
ALWAYS_MATTERS = "lr"


@dataclass(frozen=True)
class EdgeFinding:
    """Winners that sit at one edge of one dimension.

    Attributes:
        dimension: The hyperparameter.
        side: "lower" or "upper".
        bound: The edge's value.
        n_at_edge: Replicates whose winner is within 5 % of the edge, on the dimension's own scale.
        n_replicates: Replicates that have a winner.
        trend_p: One-sided Mann-Whitney p that the best quarter of the search trials lies closer to the edge than the
            rest, each cell ranked by itself; None where there are too few trials.
        is_narrow: True where the range is too narrow by the rule; otherwise the finding is only a note.
    """

    dimension: str
    side: str
    bound: float
    n_at_edge: int
    n_replicates: int
    trend_p: float | None
    is_narrow: bool

    @property
    def text(self) -> str:
        """Such as "lr at its upper edge (0.1) in 4 of 5 replicates"."""
        edge = f"{self.side} edge ({self.bound:.3g})"
        return f"{self.dimension} at its {edge} in {self.n_at_edge} of {self.n_replicates} replicates"


def find_edges(arm: ArmInput, cells: Sequence[Cell]) -> tuple[EdgeFinding, ...]:
    """All edges of the arm's searched ranges at which at least 2 winners sit."""
    findings = []
    for name, dimension in sorted(arm.dimensions.items()):
        if dimension.scale is Scale.CHOICE:
            continue
        winners = [u for cell in cells if (u := _winner_position(cell, name, dimension)) is not None]
        for side in ("lower", "upper"):
            n_at_edge = sum(_distance(u, side) <= EDGE_SHARE for u in winners)
            if n_at_edge >= 2:
                findings.append(_finding(name, dimension, side, n_at_edge, len(winners), cells))
    return tuple(findings)


def _finding(
    name: str, dimension: Dimension, side: str, n_at_edge: int, n_replicates: int, cells: Sequence[Cell]
) -> EdgeFinding:
    trend_p = edge_trend(name, dimension, side, cells)
    matters = name == ALWAYS_MATTERS or (trend_p is not None and trend_p < TREND_LEVEL)
    bound = dimension.low if side == "lower" else dimension.high
    is_narrow = matters and 2 * n_at_edge >= n_replicates
    return EdgeFinding(name, side, bound, n_at_edge, n_replicates, trend_p, is_narrow)


def edge_trend(name: str, dimension: Dimension, side: str, cells: Sequence[Cell]) -> float | None:
    """P-value that the best quarter of the search trials lies closer to the edge than the rest."""
    top: list[float] = []
    rest: list[float] = []
    for cell in cells:
        ranked = sorted(cell.searched, key=lambda t: (_value(t), t.cell_number))
        distances = [_distance(u, side) for t in ranked if (u := position(t, name, dimension)) is not None]
        n_top = math.ceil(TOP_SHARE * len(distances))
        top += distances[:n_top]
        rest += distances[n_top:]
    if len(top) < 2 or len(rest) < 2 or np.ptp(top + rest) == 0:
        return None
    return float(stats.mannwhitneyu(top, rest, alternative="less", method="asymptotic").pvalue)


def position(trial: TrialRecord, name: str, dimension: Dimension) -> float | None:
    """Where the trial's value lies in the range, 0 to 1 on the dimension's own scale; None where it has none."""
    value = trial.params.get(name)
    if isinstance(value, (bool, str)) or value is None or not dimension.low < dimension.high:
        return None
    if dimension.scale is Scale.LOG:
        if value <= 0:
            return None
        low, high = math.log(dimension.low), math.log(dimension.high)
        return (math.log(value) - low) / (high - low)
    return (value - dimension.low) / (dimension.high - dimension.low)


def _winner_position(cell: Cell, name: str, dimension: Dimension) -> float | None:
    trial = cell.winning_trial
    return None if trial is None else position(trial, name, dimension)


def _distance(u: float, side: str) -> float:
    return u if side == "lower" else 1 - u


def _value(trial: TrialRecord) -> float:
    """The validation endpoint for ranking; a diverged trial ranks last."""
    return math.inf if trial.value is None or not math.isfinite(trial.value) else trial.value
