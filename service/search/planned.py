"""Searches whose suggestions are known before the first trial: random, quasi-random and grid.

Random draws and quasi-random points depend on a dimension's name, so that arms share those of the dimensions that they
share.
"""

from __future__ import annotations

from typing import Any

from service.domain.grids import grid_axes, grid_order, grid_point, n_grid_points
from service.domain.seeds import draw, stream_seed
from service.domain.space import Value, fixed
from service.domain.study import Arm, Study
from service.domain.trial import TrialRecord
from service.search.cell import Rungs

_WIDTH = 64
_BLOCK = 256


class PlannedSearch:
    """A search to which results mean nothing."""

    def tell(self, trial: TrialRecord, rungs: Rungs | None = None) -> None:
        """Results change nothing."""


class RandomSearch(PlannedSearch):
    """Independent draws, the same for every arm that has the dimension."""

    def __init__(self, study: Study, arm: Arm, replicate: int) -> None:
        self._seed, self._arm, self._replicate = study.seed, arm, replicate

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """One draw for each dimension."""
        drawn = {
            name: dimension.at(draw(self._seed, self._replicate, cell_number, name))
            for name, dimension in self._arm.dimensions.items()
        }
        return {**fixed(self._arm.space), **drawn}


class QMCSearch(PlannedSearch):
    """A scrambled Sobol or Halton sequence for each replicate; a dimension has the same coordinate in all arms.

    Coordinates are given out in the order in which the study's arms first name a dimension. The sequence is always 64
    wide (or the next power of 2 above the number of dimensions), because a scramble depends on the width: another arm
    at the end of a file leaves the points of the others as they are.

    Source: scipy.stats.qmc, as Optuna's QMCSampler uses it. Differences: scrambled without being asked, since
    replicates would otherwise be equal; the coordinate belongs to the name, not to the arm's space.
    """

    def __init__(self, study: Study, arm: Arm, replicate: int) -> None:
        names = dict.fromkeys(name for a in study.arms for name in sorted(a.dimensions))
        self._coordinates = {name: i for i, name in enumerate(names) if name in arm.dimensions}
        self._width = max(_WIDTH, 1 << (len(names) - 1).bit_length()) if names else _WIDTH
        self._arm = arm
        self._type = study.search.options.get("qmc_type", "sobol")
        self._stream = stream_seed(study.seed, f"qmc/{self._type}/{replicate}")
        self._block: tuple[int, Any] = (-1, None)

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """The point of that number."""
        index, row = divmod(cell_number, _BLOCK)
        if self._block[0] != index:
            self._block = (index, self._points(index))
        point = self._block[1][row]
        drawn = {name: self._arm.dimensions[name].at(float(point[i])) for name, i in self._coordinates.items()}
        return {**fixed(self._arm.space), **drawn}

    def _points(self, index: int) -> Any:
        """Points index * 256 to index * 256 + 255, shape (256, width); a power of 2, which keeps Sobol's balance."""
        from scipy.stats import qmc  # half a second that only this sampler pays

        engine = {"sobol": qmc.Sobol, "halton": qmc.Halton}[self._type](self._width, scramble=True, rng=self._stream)
        if index:
            engine.fast_forward(index * _BLOCK)
        return engine.random(_BLOCK)


class GridSearch(PlannedSearch):
    """The points of a grid in an order that the seed decides, each once; one more than there are starts anew.

    That happens only where the whole grid is searched and a trial failed: the cell runs another in its place.
    """

    def __init__(self, study: Study, arm: Arm, replicate: int) -> None:
        self._space = arm.space
        self._axes = grid_axes(study.search.options, arm.dimensions)
        self._order = grid_order(study.seed, replicate, n_grid_points(self._axes))

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """The grid point whose turn it is."""
        return {**fixed(self._space), **grid_point(self._axes, self._order[cell_number % len(self._order)])}
