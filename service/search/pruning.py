"""Pruning: Optuna's pruners over one cell's rungs, which come from the ledger."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Container, Mapping
from typing import Any

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from service.domain.samplers import PRUNERS
from service.domain.study import Study
from service.domain.trial import Phase, TrialRecord
from service.domain.trial import TrialState as State
from service.search.cell import Rungs, log_rungs
from service.search.reading import ReadOnlyStorage

_STUDY_ID = 0


class CellPruner:
    """Decides for the search trials of one cell whether they stop at an epoch.

    A decision follows from the set of rungs and states that were reported, not from their order, nor from how often
    one was reported, nor from earlier decisions: a pruner that is rebuilt from the ledger decides the same. It compares
    with what the cell's other trials have reported *so far*; with one trial open at a time it therefore follows from
    the study file, with more it also follows from who was faster.

    Successive halving's rungs are read off the values: a trial stands in rung k with its first value at or after epoch
    min_resource * reduction_factor**(k + min_early_stopping_rate). Optuna notes them on the trials instead; the same
    where every epoch is reported. `test_pruning.py` holds every pruner against Optuna's own, decision by decision.
    """

    def __init__(self, study: Study, replicate: int) -> None:
        """A pruner that has been told nothing.

        Args:
            study: Its `search.pruner` and `search.pruner_options` say which pruner; they passed `check_pruner_options`.
            replicate: Together with the seed it decides a trial's Hyperband bracket: the same in all arms.
        """
        self._name = study.search.pruner
        given = dict(study.search.pruner_options)
        self._wrapped = str(given.pop("wrapped_pruner", "none"))
        self._given = given
        self._cell = _Cell(f"{study.seed}/{replicate}")
        self._study = optuna.load_study(study_name=self._cell.name, storage=self._cell)
        self._noted: dict[int, dict[int, dict[str, float]]] = {}

    def report(self, trial: TrialRecord, rungs: Rungs) -> None:
        """Take a trial's measurements into account, and its state.

        Args:
            trial: As the ledger has it now. Only search trials are used; one that failed is forgotten.
            rungs: Validation endpoint by epoch: all, or those that are new or changed since the last report.
        """
        if trial.phase is not Phase.SEARCH:
            return
        if trial.state is State.FAIL:
            self._cell.trials.pop(trial.cell_number, None)
            return
        self._noted.pop(trial.cell_number, None)
        known = self._cell.trials.get(trial.cell_number)
        values = {**(known.intermediate_values if known else {}), **log_rungs(rungs)}
        self._cell.trials[trial.cell_number] = _frozen(trial.cell_number, OptunaState[trial.state.value], values)

    def decide(self, cell_number: int, step: int) -> bool:
        """Whether the trial of that number stops after epoch `step`, which it has reported.

        Values that it reported for later epochs are left aside. Nothing is changed.

        Raises:
            KeyError: That trial has not reported that epoch.
        """
        reported = self._cell.trials[cell_number].intermediate_values
        values = {epoch: value for epoch, value in sorted(reported.items()) if epoch <= step}
        if step not in values:
            raise KeyError(f"trial {cell_number} of the cell has not reported epoch {step}")
        pruner = self._pruner()
        rate_of = self._rates(pruner)
        others = [trial for n, trial in sorted(self._cell.trials.items()) if n != cell_number]
        deciding = _frozen(cell_number, OptunaState.RUNNING, values)
        if rate_of is not None:
            for trial in others:
                trial.system_attrs = self._noted_on(trial, rate_of(trial))
            before = {epoch: value for epoch, value in values.items() if epoch < step}
            deciding.system_attrs = self._halving_rungs(before, rate_of(deciding))
        self._cell.shown = others
        with warnings.catch_warnings():  # numpy's, about a trial whose values are no numbers so far
            warnings.simplefilter("ignore", RuntimeWarning)
            return bool(pruner.prune(self._study, deciding))

    def _pruner(self) -> BasePruner:
        """A new one, since some keep what they estimated from the trials that they saw first."""
        own: dict[str, Any] = {
            option.name: self._given.get(option.name, option.default) for option in PRUNERS[self._name]
        }
        if self._name == "patient":
            with warnings.catch_warnings():  # experimental since version 2.8
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return PatientPruner(self._percentile(self._wrapped), own["patience"], own["min_delta"])
        if self._name == "asha":
            return SuccessiveHalvingPruner(**own)
        if self._name == "hyperband":
            resource = own.pop("max_resource") or self._cell.longest
            return HyperbandPruner(max_resource=resource, **own) if resource else NopPruner()
        return self._percentile(self._name) or NopPruner()

    def _percentile(self, name: str) -> BasePruner | None:
        own: dict[str, Any] = {option.name: self._given.get(option.name, option.default) for option in PRUNERS[name]}
        if name == "median":
            return MedianPruner(**own)
        return PercentilePruner(**own) if name == "percentile" else None

    def _rates(self, pruner: BasePruner) -> Callable[[FrozenTrial], int] | None:
        """A trial's `min_early_stopping_rate` under successive halving; None for a pruner that knows no rungs."""
        if isinstance(pruner, SuccessiveHalvingPruner):
            rate = int(self._option("min_early_stopping_rate"))
            return lambda _: rate
        if isinstance(pruner, HyperbandPruner):
            self._cell.shown = []
            pruner.prune(self._study, _frozen(0, OptunaState.RUNNING, {}))  # lays out the brackets
            return lambda trial: pruner._get_bracket_id(self._study, trial)
        return None

    def _noted_on(self, trial: FrozenTrial, rate: int) -> dict[str, float]:
        by_rate = self._noted.setdefault(trial.number, {})
        if rate not in by_rate:
            by_rate[rate] = self._halving_rungs(trial.intermediate_values, rate)
        return by_rate[rate]

    def _halving_rungs(self, values: Mapping[int, float], rate: int) -> dict[str, float]:
        """What successive halving notes on a trial that reported these values, by rising epoch, and went on."""
        lowest, factor = int(self._option("min_resource")), int(self._option("reduction_factor"))
        noted: dict[str, float] = {}
        for epoch, value in sorted(values.items()):
            while not math.isnan(value) and epoch >= lowest * factor ** (rate + len(noted)):
                noted[f"completed_rung_{len(noted)}"] = value
        return noted

    def _option(self, name: str) -> Any:
        default = next(option.default for option in PRUNERS[self._name] if option.name == name)
        return self._given.get(name, default)


class _Cell(ReadOnlyStorage):
    """What Optuna's pruners read of a study: the trials that are shown, in the order of their numbers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.trials: dict[int, FrozenTrial] = {}
        self.shown: list[FrozenTrial] = []

    @property
    def longest(self) -> int:
        """Epochs of the longest finished trial, 0 where none has finished."""
        finished = [trial for trial in self.trials.values() if trial.state is OptunaState.COMPLETE]
        return max((trial.last_step or 0 for trial in finished), default=0)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Not kept: rungs are read off the values."""

    def get_study_id_from_name(self, study_name: str) -> int:
        return _STUDY_ID

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [StudyDirection.MINIMIZE]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_all_studies(self) -> list[FrozenStudy]:
        return [FrozenStudy(self.name, StudyDirection.MINIMIZE, {}, {}, _STUDY_ID)]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return next(trial for trial in self.shown if trial._trial_id == trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self.shown if states is None or trial.state in states]


def _frozen(number: int, state: OptunaState, values: Mapping[int, float]) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(values),
    )
