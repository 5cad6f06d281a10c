"""What every search of a cell promises, and how a finished trial looks to Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from service.domain.space import Dimension, Scale, Value
from service.domain.trial import Outcome, Phase, TrialRecord

Rungs = Mapping[int, float | None]
"""Validation endpoint by epoch, counted in completed epochs; None where it was no number."""


class CellSearch(Protocol):
    """The search of one cell: told of finished search trials, asked for parameters.

    A suggestion follows from the set of trials that were told, not from their order, nor from how often one was told,
    nor from earlier questions: a search that is rebuilt from the ledger goes on as if nothing had happened.
    """

    def tell(self, trial: TrialRecord, rungs: Rungs | None = None) -> None:
        """Take a finished search trial into account; those that failed are ignored.

        Args:
            rungs: What a PRUNED trial had reported; not used for others.
        """
        ...

    def suggest(self, cell_number: int) -> dict[str, Value]:
        """Parameters of the cell's trial of that number, fixed hyperparameters included."""
        ...


def is_told(trial: TrialRecord) -> bool:
    """True for a search trial whose end says something about its parameters."""
    return trial.phase is Phase.SEARCH and trial.outcome is not None and trial.outcome.counts


def log_value(trial: TrialRecord, chance_level: float) -> float:
    """Log of the validation endpoint; of chance level where the trial diverged or has none."""
    is_chance = trial.outcome is Outcome.DIVERGED or trial.value is None
    return math.log(chance_level if is_chance else trial.value or chance_level)


def log_rungs(rungs: Rungs | None) -> dict[int, float]:
    """Rungs on the log scale, by rising epoch; NaN for what was no number. Epoch 0, before the first step, is none."""
    known = rungs or {}
    return {epoch: math.nan if (v := known[epoch]) is None else math.log(v) for epoch in sorted(known) if epoch > 0}


def frozen_trial(
    trial: TrialRecord,
    rungs: Rungs | None,
    chance_level: float,
    distributions: Mapping[str, BaseDistribution],
) -> FrozenTrial:
    """A told trial as Optuna's, COMPLETE or PRUNED, on the log of the endpoint."""
    is_pruned = trial.outcome is Outcome.PRUNED
    return create_trial(
        state=OptunaState.PRUNED if is_pruned else OptunaState.COMPLETE,
        params={name: trial.params[name] for name in distributions},
        distributions=dict(distributions),
        values=[log_value(trial, chance_level)],
        intermediate_values=log_rungs(rungs) if is_pruned else {},
    )


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Optuna's distribution of a dimension."""
    if dimension.scale is Scale.CHOICE:
        return CategoricalDistribution(dimension.choices)
    if dimension.scale is Scale.INT:
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.scale is Scale.LOG)


def distributions_of(dimensions: Mapping[str, Dimension]) -> dict[str, BaseDistribution]:
    """Optuna's distributions, by name in sorted order: jsonb, from which a coordinator reads, has its own."""
    return {name: distribution_of(dimension) for name, dimension in sorted(dimensions.items())}
