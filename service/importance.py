"""Importance of hyperparameters by PED-ANOVA. Beside `service.search` the only importer of Optuna for a report."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.domain.budget_curves import log_values
from service.domain.report_input import ArmInput, ReportInput
from service.domain.trial import TrialRecord
from service.search import distribution_of

MIN_TRIALS = 10


def importances(source: ReportInput) -> dict[str, dict[str, float]]:
    """Share of each searched hyperparameter in reaching the best tenth of an arm's search trials, by arm.

    The replicates' search trials are pooled; values are log validation endpoints, a diverged trial counting as chance
    level. Arms with fewer than 10 such trials, or with nothing searched, have no entry.

    Source: Watanabe et al., IJCAI 2023 (PED-ANOVA), as Optuna implements it, with its defaults.
    """
    found = {arm.name: _of_arm(source, arm) for arm in source.arms}
    return {name: shares for name, shares in found.items() if shares}


def _of_arm(source: ReportInput, arm: ArmInput) -> dict[str, float]:
    distributions = {name: distribution_of(entry) for name, entry in arm.dimensions.items()}
    trials = []
    for cell in source.cells_of(arm.name):
        ordered = sorted(cell.searched, key=lambda trial: trial.cell_number)
        for trial, value in zip(ordered, log_values(cell, source.chance_level), strict=True):
            if all(name in trial.params for name in distributions):
                trials.append(_trial(trial, value, distributions))
    if len(trials) < MIN_TRIALS or not distributions:
        return {}
    study = optuna.create_study(direction="minimize")
    study.add_trials(trials)
    with warnings.catch_warnings():  # it warns where all values are equal; the shares are equal then, too
        warnings.simplefilter("ignore")
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: float(shares.get(name, 0.0)) for name in sorted(distributions)}


def _trial(trial: TrialRecord, value: float, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    params = {name: trial.params[name] for name in distributions}
    return create_trial(state=TrialState.COMPLETE, params=params, distributions=dict(distributions), values=[value])
