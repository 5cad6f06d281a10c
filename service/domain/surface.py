"""The validation endpoint over delta and wd_ratio, for arms that search both."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from service.domain.budget_curves import log_values
from service.domain.ranges import position
from service.domain.report_input import ArmInput, ReportInput

N_BINS = 4
FEW = 3


@dataclass(frozen=True)
class SurfaceCell:
    """One field of the surface.

    Attributes:
        column: Bin of delta, from 0.
        row: Bin of wd_ratio, from 0.
        n: Search trials in it.
        value: Median validation endpoint, a diverged trial counting as chance level; None where there is none.
        is_thin: True where fewer than 3 trials say little.
    """

    column: int
    row: int
    n: int
    value: float | None
    is_thin: bool


@dataclass(frozen=True)
class Surface:
    """One arm.

    Attributes:
        delta: Edges of the bins, 5 of them, evenly on the dimension's own scale.
        wd_ratio: Likewise.
        cells: 16, by row, then column.
    """

    arm: str
    delta: tuple[float, ...]
    wd_ratio: tuple[float, ...]
    cells: tuple[SurfaceCell, ...]


def surface(source: ReportInput, arm: ArmInput) -> Surface | None:
    """The arm's surface; None where it does not search both delta and wd_ratio.

    The other hyperparameters are averaged over as the search drew them: with random search that is a fair marginal,
    with other samplers the fields near the optimum saw better values of them.
    """
    found = arm.dimensions
    if "delta" not in found or "wd_ratio" not in found:
        return None
    fields: dict[tuple[int, int], list[float]] = {}
    for cell in source.cells_of(arm.name):
        trials = sorted(cell.searched, key=lambda trial: trial.cell_number)
        for trial, value in zip(trials, log_values(cell, source.chance_level), strict=True):
            places = [position(trial, name, found[name]) for name in ("delta", "wd_ratio")]
            column, row = (None if u is None else min(N_BINS - 1, max(0, int(u * N_BINS))) for u in places)
            if column is not None and row is not None:
                fields.setdefault((row, column), []).append(value)
    edges = [tuple(float(found[name].at(i / N_BINS)) for i in range(N_BINS + 1)) for name in ("delta", "wd_ratio")]
    cells = tuple(
        _cell(row, column, fields.get((row, column), [])) for row in range(N_BINS) for column in range(N_BINS)
    )
    return Surface(arm.name, edges[0], edges[1], cells)


def _cell(row: int, column: int, logs: list[float]) -> SurfaceCell:
    value = math.exp(statistics.median(logs)) if logs else None
    return SurfaceCell(column, row, len(logs), value, len(logs) < FEW)
