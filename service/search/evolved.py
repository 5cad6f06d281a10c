"""CMA-ES: one distribution for each cell, rebuilt by telling it the cell's populations again.

Optuna's CmaEsSampler keeps a pickle of that distribution on a trial. The ledger holds no pickles, and the trials are
enough: the same trials in the same order give the same distribution.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping
from typing import Any

import numpy as np
from cmaes import CMA, SepCMA
from numpy.typing import NDArray

from service.domain.seeds import sampler_seed
from service.domain.space import Dimension, Scale, Value
from service.domain.study import Arm, Study
from service.domain.trial import Outcome, TrialRecord
from service.search.cell import Rungs, is_told, log_value
from service.search.planned import RandomSearch

_Solution = tuple[NDArray[np.float64], float]
_BELOW_ONE = math.nextafter(1.0, 0.0)


class CMASearch:
    """CMA-ES on the log of the validation endpoint, over the cell's ranges scaled to [0, 1]; choices are random draws.

    After the random start-up trials, every `popsize` told trials in the order of their numbers are one generation.
    Failed trials are in none; pruned ones only where the options say so.

    Source: Hansen and Ostermeier, Evolutionary Computation 2001, in the `cmaes` package, started in the middle with a
    sixth of the range as Optuna's CmaEsSampler is. Differences from that: the seed of each suggestion follows from its
    number, and with several trials open a generation consists of trials that finished, not of those it was asked for.
    """

    def __init__(self, study: Study, arm: Arm, replicate: int, chance_level: float, options: Mapping[str, Any]) -> None:
        self._random = RandomSearch(study, arm, replicate)
        self._seed, self._replicate, self._chance_level = study.seed, replicate, chance_level
        self._ranges = {n: d for n, d in sorted(arm.dimensions.items()) if d.scale is not Scale.CHOICE}
        self._options = options
        self._told: dict[int, _Solution] = {}
        self._begin()

    def _begin(self) -> None:
        self._optimizer = _optimizer(len(self._ranges), self._options) if self._ranges else None
        self._last_used = -1
        self._waiting = sorted(self._told)

    def tell(self, trial: TrialRecord, rungs: Rungs | None = None) -> None:
        """Add the trial to its generation; one that diverged counts as chance level."""
        number = trial.cell_number
        is_left_out = trial.outcome is Outcome.PRUNED and not self._options["consider_pruned_trials"]
        if not is_told(trial) or is_left_out or number < self._options["n_startup_trials"] or number in self._told:
            return
        place = [_share(dimension, trial.params[name]) for name, dimension in self._ranges.items()]
        self._told[number] = (np.array(place), log_value(trial, self._chance_level))
        if number < self._last_used:  # belongs into a generation that was told without it
            self._begin()
        else:
            insort(self._waiting, number)

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """A random draw for the first trials, then one from the distribution as what was told has left it."""
        params = self._random.suggest(cell_number)
        if cell_number < self._options["n_startup_trials"] or self._optimizer is None:
            return params
        size = self._optimizer.population_size
        while len(self._waiting) >= size:
            generation, self._waiting = self._waiting[:size], self._waiting[size:]
            self._optimizer.tell([self._told[number] for number in generation])
            self._last_used = generation[-1]
        self._optimizer.reseed_rng(sampler_seed(self._seed, self._replicate, cell_number))
        shares = np.minimum(self._optimizer.ask(), _BELOW_ONE)
        asked = zip(self._ranges.items(), shares, strict=True)
        return {**params, **{name: dimension.at(float(share)) for (name, dimension), share in asked}}


def _optimizer(n_dimensions: int, options: Mapping[str, Any]) -> CMA | SepCMA:
    """In the middle of the unit cube; the separable variant means nothing in one dimension."""
    common: dict[str, Any] = {
        "mean": np.full(n_dimensions, 0.5),
        "sigma": 1 / 6,
        "bounds": np.array([[0.0, 1.0]] * n_dimensions),
        "seed": 1,  # set anew for each suggestion
        "n_max_resampling": 10 * n_dimensions,
        "population_size": options.get("popsize"),
    }
    if options["use_separable_cma"] and n_dimensions > 1:
        return SepCMA(**common)
    return CMA(**common, lr_adapt=options["lr_adapt"])


def _share(dimension: Dimension, value: Value) -> float:
    """Where a value lies in its range, 0 to 1; the inverse of `Dimension.at`, whole numbers in the middle of theirs."""
    number = float(value)
    if dimension.scale is Scale.INT:
        return (number - dimension.low + 0.5) / (dimension.high - dimension.low + 1)
    if dimension.scale is Scale.LOG:
        return math.log(number / dimension.low) / math.log(dimension.high / dimension.low)
    return (number - dimension.low) / (dimension.high - dimension.low)
