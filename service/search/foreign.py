"""Any Optuna sampler by `module:Class`: Optuna's own ask-and-tell loop, replayed from the ledger.

Whether the class may be imported is not decided here; nothing imports this code but for a study whose sampler an
allow-list names.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState

from service.domain.seeds import draw, sampler_seed
from service.domain.space import Dimension, Value, fixed
from service.domain.study import Arm, Study
from service.domain.trial import TrialRecord
from service.search.cell import Rungs, distributions_of, frozen_trial, is_told


class ForeignSearch:
    """A sampler of somebody else's, on the log of the validation endpoint.

    The cell's trials are asked and told one after another, numbered as in the ledger, by one sampler object from the
    first on; a number that was not told is asked and closed as failed. Rebuilding repeats every question: a coordinator
    that restarts, or a trial that finishes out of turn (with `parallelism` above 1), costs as many as there are trials.
    The sampler gets `seed` and `independent_sampler` where its constructor takes them and the options do not give them.
    """

    def __init__(self, study: Study, arm: Arm, replicate: int, chance_level: float) -> None:
        self._name, self._options = study.search.sampler, study.search.options
        self._place = (study.seed, replicate)
        self._arm, self._chance_level = arm, chance_level
        self._distributions = distributions_of(arm.dimensions)
        self._told: dict[int, FrozenTrial] = {}
        self._begin()

    def _begin(self) -> None:
        self._storage = InMemoryStorage()
        given = {
            "seed": sampler_seed(*self._place, 0),
            "independent_sampler": SharedDraws(*self._place, self._arm.dimensions),
        }
        sampler = make_sampler(self._name, self._options, given)
        self._study = optuna.create_study(direction="minimize", storage=self._storage, sampler=sampler)
        self._open: Trial | None = None
        self._n_asked = 0
        self._is_stale = False

    def tell(self, trial: TrialRecord, rungs: Rungs | None = None) -> None:
        """Keep the trial for its turn; one that diverged counts as chance level."""
        if not is_told(trial) or trial.cell_number in self._told:
            return
        self._told[trial.cell_number] = frozen_trial(trial, rungs, self._chance_level, self._distributions)
        self._is_stale |= trial.cell_number < self._n_asked - 1

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """What the sampler answers to the question of that number.

        Raises:
            RuntimeError: The sampler raised; its error is named and chained.
            ValueError: It is no sampler that can be made with these options.
        """
        if not self._distributions:
            return fixed(self._arm.space)
        if self._is_stale or cell_number < self._n_asked - 1:
            self._begin()
        try:
            while self._n_asked <= cell_number:
                self._close()
                self._open = self._study.ask(fixed_distributions=self._distributions)
                self._n_asked += 1
        except Exception as error:  # somebody else's code may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise RuntimeError(f"the sampler {self._name} failed at trial {self._n_asked}: {reason}") from error
        assert self._open is not None  # noqa: S101 (asked above, now or earlier)
        return {**fixed(self._arm.space), **self._open.params}

    def _close(self) -> None:
        """Tell the sampler how the open trial ended; as failed where nobody said."""
        if self._open is None:
            return
        told = self._told.get(self._n_asked - 1)
        if told is None:
            self._study.tell(self._open, state=OptunaState.FAIL)
            return
        for name, distribution in self._distributions.items():  # run with what an earlier order of things suggested
            internal = distribution.to_internal_repr(told.params[name])
            self._storage.set_trial_param(self._open._trial_id, name, internal, distribution)
        for epoch, value in told.intermediate_values.items():
            self._storage.set_trial_intermediate_value(self._open._trial_id, epoch, value)
        is_pruned = told.state is OptunaState.PRUNED
        self._study.tell(self._open, None if is_pruned else told.values, state=told.state)


class SharedDraws(BaseSampler):
    """Draws what random search would, so that arms share the start-up values of the dimensions that they share."""

    def __init__(self, seed: int, replicate: int, dimensions: Mapping[str, Dimension]) -> None:
        self._seed, self._replicate, self._dimensions = seed, replicate, dimensions

    def infer_relative_search_space(self, study: Any, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every dimension is drawn by itself."""
        return {}

    def sample_relative(self, study: Any, trial: FrozenTrial, search_space: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}

    def sample_independent(self, study: Any, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Value:
        """The draw of the trial's number and the dimension's name."""
        return self._dimensions[param_name].at(draw(self._seed, self._replicate, trial.number, param_name))


def make_sampler(name: str, options: Mapping[str, Any], given: Mapping[str, Any]) -> BaseSampler:
    """The sampler that "module:Class" names.

    Args:
        options: Arguments of the study file.
        given: Arguments of ours, for those that the constructor takes and the file leaves out.

    Raises:
        ValueError: There is no such class, it is no sampler, or it does not take the options.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the sampler {name} cannot be imported where the coordinator runs: {error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseSampler)):
        raise ValueError(f"{name} is no sampler: it must be a class derived from optuna.samplers.BaseSampler")
    taken = inspect.signature(found).parameters
    ours = {key: value for key, value in given.items() if key in taken and key not in options}
    try:
        with warnings.catch_warnings():  # who names an experimental sampler knows
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return found(**ours, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the sampler {name} does not take the options {dict(options)}: {error}") from error
