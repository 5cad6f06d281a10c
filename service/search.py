"""Suggestions, and the only importer of Optuna: one in-memory Optuna study for each cell, rebuilt from the ledger.

Random search does not use Optuna at all: every number is a counter-based draw (`service.domain.seeds`), so that the
suggestions of a file are known before it runs and arms share the draws of the dimensions that they share. Adaptive
samplers start with the same draws; later suggestions come from a sampler that is seeded for each suggestion anew, so
that they depend on the cell's results only and no sampler state has to outlive the process.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from service.domain.seeds import draw, sampler_seed
from service.domain.space import Dimension, Scale, Value, fixed
from service.domain.study import SAMPLERS, Arm, Study
from service.domain.trial import Outcome, Phase, TrialRecord

VERSION = optuna.__version__
optuna.logging.set_verbosity(optuna.logging.WARNING)


class CellSearch(Protocol):
    """The search of one cell: told of finished search trials, asked for parameters.

    A suggestion follows from the set of trials that were told, not from their order, nor from how often one was told,
    nor from earlier questions: a search that is rebuilt from the ledger goes on as if nothing had happened.
    """

    def tell(self, trial: TrialRecord) -> None:
        """Take a finished search trial into account; those that failed are ignored."""
        ...

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """Parameters of the cell's trial of that number, fixed hyperparameters included."""
        ...


def start_search(study: Study, arm: Arm, replicate: int, chance_level: float) -> CellSearch:
    """The search of a cell that has no trials yet; tell it the cell's finished trials to bring it up to date."""
    if study.search.sampler == "random":
        return RandomSearch(study, arm, replicate)
    return TPESearch(study, arm, replicate, chance_level)


def sampler_record(study: Study) -> dict[str, Any]:
    """What a study's environment records of the sampler: Optuna's version and every argument, defaults included."""
    defaults = {option.name: option.default for option in SAMPLERS[study.search.sampler]}
    options = {**defaults, **study.search.options}
    return {"sampler": study.search.sampler, "options": options, "optuna": VERSION}


class RandomSearch:
    """Independent draws, the same for every arm that has the dimension."""

    def __init__(self, study: Study, arm: Arm, replicate: int) -> None:
        self._seed, self._arm, self._replicate = study.seed, arm, replicate

    def tell(self, trial: TrialRecord) -> None:
        """Results change nothing."""

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """One draw for each dimension."""
        drawn = {
            name: dimension.at(draw(self._seed, self._replicate, cell_number, name))
            for name, dimension in self._arm.dimensions.items()
        }
        return {**fixed(self._arm.space), **drawn}


class TPESearch:
    """Optuna's TPE on the log of the validation endpoint, after random draws at the start."""

    def __init__(self, study: Study, arm: Arm, replicate: int, chance_level: float) -> None:
        self._random = RandomSearch(study, arm, replicate)
        self._seed, self._replicate, self._arm = study.seed, replicate, arm
        self._chance = math.log(chance_level)
        self._options: dict[str, Any] = sampler_record(study)["options"]
        self._n_startup = int(self._options.pop("n_startup_trials"))
        self._distributions = {name: distribution_of(entry) for name, entry in sorted(arm.dimensions.items())}
        self._told: dict[int, optuna.trial.FrozenTrial] = {}
        self._is_in_order = True
        self._study = optuna.create_study(direction="minimize")

    def tell(self, trial: TrialRecord) -> None:
        """Add the trial; one that diverged counts as chance level."""
        if trial.phase is not Phase.SEARCH or trial.outcome is None or not trial.outcome.counts:
            return
        if trial.cell_number in self._told:
            return
        is_diverged = trial.outcome is Outcome.DIVERGED or trial.value is None
        added = create_trial(
            state=OptunaState.COMPLETE,
            params=_known(trial.params, self._distributions),
            distributions=self._distributions,
            values=[self._chance if is_diverged else math.log(trial.value or 1.0)],
        )
        self._is_in_order &= trial.cell_number > max(self._told, default=-1)
        self._told[trial.cell_number] = added
        self._study.add_trial(added)

    def _put_in_order(self) -> None:
        """TPE's draws depend on the order of its trials; with `parallelism` above 1 they finish in any."""
        self._study = optuna.create_study(direction="minimize")
        self._told = dict(sorted(self._told.items()))
        self._study.add_trials(self._told.values())
        self._is_in_order = True

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """A random draw for the first trials, then TPE on what was told.

        The trial that Optuna opens for the question is closed at once as failed, which TPE ignores: results come in
        through `tell` only, whether from a running slot or from the ledger after a restart.
        """
        if cell_number < self._n_startup or not self._distributions:
            return self._random.suggest(cell_number)
        if not self._is_in_order:
            self._put_in_order()
        seed = sampler_seed(self._seed, self._replicate, cell_number)
        with warnings.catch_warnings():  # `group`: who sets it knows
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = TPESampler(n_startup_trials=1, seed=seed, **self._options)
        trial = self._study.ask(fixed_distributions=self._distributions)
        self._study.tell(trial, state=OptunaState.FAIL)
        return {**fixed(self._arm.space), **trial.params}


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Optuna's distribution of a dimension."""
    if dimension.scale is Scale.CHOICE:
        return CategoricalDistribution(dimension.choices)
    if dimension.scale is Scale.INT:
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.scale is Scale.LOG)


def _known(params: Mapping[str, Value], distributions: Mapping[str, BaseDistribution]) -> dict[str, Value]:
    return {name: params[name] for name in distributions}
