"""Simulated studies with all that the report's tables need: steps, curves, arms that search delta and wd_ratio."""

import dataclasses
import json
import math

import numpy as np

from service.domain.report import build_report
from service.domain.report_input import ArmInput
from service.domain.trial import Outcome, Phase, ValidationCurve
from service.importance import importances
from tests.unit.domain.report_cases import CONFIRM, diverge
from tests.unit.domain.study_simulation import SPACE, SimulatedStudy

PROJECTING = {**SPACE, "delta": {"log": [1e-2, 1.0]}, "wd_ratio": {"log": [1e-2, 1.0]}}
ARMS = (
    ArmInput("adamw", "AdamW", "adam", SPACE),
    ArmInput("adamp", "AdamP", "adam", SPACE),
    ArmInput("tuned", "AdamP", "adam", PROJECTING),
)
EPOCHS = 6


def full_source(seed=0, *, shifts=(0.0, -0.2, -0.1), **changes):
    """A study of adamw, adamp and a tuned adamp, with curves, steps and importances."""
    plan = {key: changes.pop(key) for key in ("n_trials", "replicates", "confirm_seeds") if key in changes}
    names = [arm.name for arm in ARMS]
    study = SimulatedStudy(dict(zip(names, shifts, strict=True)), seed=seed, **plan)
    rng = np.random.default_rng(seed)
    trials = [with_projection(t, rng) for t in study.records]
    trials = diverge(trials, lambda t: t.phase is Phase.SEARCH and t.number % 11 == 3)
    constants = {"arms": ARMS, "is_finished": True, "curves": curves_of(trials, rng)}
    constants |= {"seed": seed, "spec_hash": f"{seed:064x}"}
    source = study.report_input(**{**constants, "trials": trials, **changes})
    return dataclasses.replace(source, importances=importances(source))


def with_projection(trial, rng):
    params = dict(trial.params)
    if trial.arm == "tuned":
        params |= {"delta": 10.0 ** rng.uniform(-2, 0), "wd_ratio": 10.0 ** rng.uniform(-2, 0)}
    return dataclasses.replace(trial, params=params, n_steps=96)


def curves_of(trials, rng):
    """Validation endpoints that fall from chance to the run's value, with noise."""
    return tuple(curve_of(t, rng) for t in trials if t.phase is CONFIRM and t.outcome is Outcome.FINISHED)


def curve_of(trial, rng):
    falling = np.geomspace(math.log(10), trial.value, EPOCHS + 1) * np.exp(rng.normal(0, 0.05, EPOCHS + 1))
    steps = tuple(16 * epoch for epoch in range(EPOCHS + 1))
    return ValidationCurve(trial.number, tuple(range(EPOCHS + 1)), steps, tuple(map(float, falling)))


def document(source):
    """The report as it is read from JSON; fails on NaN."""
    return json.loads(json.dumps(build_report(source).to_dict(), allow_nan=False))


def table(report, name):
    """The rows of one of the report's tables."""
    found = report["estimates"][name]
    return found.get("arms", found.get("pairs"))
