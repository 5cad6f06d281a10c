"""Searches that model the results: Optuna's TPE and GP, seeded for each suggestion anew.

What these samplers suggest depends on finished trials and a seed only, so that no sampler state has to outlive the
process.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from service.domain.seeds import sampler_seed
from service.domain.space import Value, fixed
from service.domain.study import Arm, Study
from service.domain.trial import TrialRecord
from service.search.cell import Rungs, distributions_of, frozen_trial, is_told
from service.search.planned import RandomSearch


class ModelledSearch:
    """TPE or GP on the log of the validation endpoint, after random draws at the start.

    A pruned trial is PRUNED to TPE, which ranks it by its last rung; GP leaves it out, as Optuna's does.
    """

    def __init__(self, study: Study, arm: Arm, replicate: int, chance_level: float, options: Mapping[str, Any]) -> None:
        self._random = RandomSearch(study, arm, replicate)
        self._sampler, self._seed, self._replicate, self._arm = study.search.sampler, study.seed, replicate, arm
        self._chance_level = chance_level
        self._options = {name: value for name, value in options.items() if name != "n_startup_trials"}
        self._n_startup = int(options["n_startup_trials"])
        self._distributions = distributions_of(arm.dimensions)
        self._told: dict[int, FrozenTrial] = {}
        self._is_in_order = True
        self._study = optuna.create_study(direction="minimize")

    def tell(self, trial: TrialRecord, rungs: Rungs | None = None) -> None:
        """Add the trial; one that diverged counts as chance level."""
        if not is_told(trial) or trial.cell_number in self._told:
            return
        added = frozen_trial(trial, rungs, self._chance_level, self._distributions)
        self._is_in_order &= trial.cell_number > max(self._told, default=-1)
        self._told[trial.cell_number] = added
        self._study.add_trial(added)

    def _put_in_order(self) -> None:
        """A model's draws depend on the order of its trials; with `parallelism` above 1 they finish in any."""
        self._study = optuna.create_study(direction="minimize")
        self._told = dict(sorted(self._told.items()))
        self._study.add_trials(self._told.values())
        self._is_in_order = True

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """A random draw for the first trials, then the model's choice from what was told.

        The trial that Optuna opens for the question is closed at once as failed, which these samplers ignore: results
        come in through `tell` only, whether from a running slot or from the ledger after a restart.
        """
        if cell_number < self._n_startup or not self._distributions or not self._told:
            return self._random.suggest(cell_number)
        if not self._is_in_order:
            self._put_in_order()
        self._study.sampler = self._seeded(sampler_seed(self._seed, self._replicate, cell_number))
        trial = self._study.ask(fixed_distributions=self._distributions)
        self._study.tell(trial, state=OptunaState.FAIL)
        return {**fixed(self._arm.space), **trial.params}

    def _seeded(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():  # `group`, `deterministic_objective`: who sets them knows
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._sampler == "gp":
                return GPSampler(n_startup_trials=1, seed=seed, warn_independent_sampling=False, **self._options)
            return TPESampler(n_startup_trials=1, seed=seed, **self._options)
