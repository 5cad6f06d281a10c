"""What the tests of the report share: exports, and ways to damage a study's trials."""

import dataclasses
import json
import math

import numpy as np

from service.domain.plain import to_plain
from service.domain.report import build_report
from service.domain.report_registration import AS_SUBMITTED, Registration
from service.domain.trial import Outcome, Phase, TrialState
from tests.unit.domain.study_simulation import SimulatedStudy

CONFIRM = Phase.CONFIRM
EXTENDED = Registration(amendments=({"replicates": 1, "after_look": True, "at": "2026-01-02T03:04:05+00:00"},))


def export(source):
    """The study's exported JSON, read back."""
    spec = {
        "margin": source.margin,
        "compare": source.compare,
        "confirm": {"seeds": source.confirm_seeds},
        "search": {"trials": source.trials_per_cell, "budget": source.search_budget},
        "replicates": source.replicates,
        "arms": source.arms,
    }
    state = "FINISHED" if source.is_finished else "RUNNING"
    study = {"spec": spec, "state": state, "was_extended_after_look": source.was_extended_after_look}
    workload = {"endpoint": "NLL", "chance_level": source.chance_level}
    document = {"schema": 1, "study": study, "workload": workload, "trials": source.trials}
    return json.loads(json.dumps(to_plain(document), allow_nan=False))


def change(trials, where, **changes):
    """The trials with those replaced for which `where` holds."""
    return tuple(dataclasses.replace(t, **changes) if where(t) else t for t in trials)


def diverge(trials, where):
    return change(trials, where, outcome=Outcome.DIVERGED, value=None, test_value=None, metrics={})


def lose(trials, where):
    gone = {"outcome": Outcome.LOST, "state": TrialState.FAIL, "value": None, "test_value": None}
    return change(trials, where, **gone)


def confirms(arm, replicate=None, seeds=range(99)):
    def where(trial):
        place = trial.phase is CONFIRM and trial.arm == arm and trial.seed_index in seeds
        return place and replicate in (None, trial.replicate)

    return where


def example_study():
    """A finished study of three arms; adamp is clearly better."""
    return SimulatedStudy({"adamw": 0.0, "adamp": -0.2, "sgd": 0.02}, seed=1, tuning_sd=0.03)


def only(source):
    """The single comparison of a report that must also survive strict JSON."""
    report = build_report(source)
    json.dumps(report.to_dict(), allow_nan=False)
    return report.comparisons[0]


def damaged_study(seed):
    """A simulated study with random effects, divergence, losses, missing cells and winners at edges."""
    rng = np.random.default_rng(seed)
    shifts = {"a": 0.0, "b": float(rng.choice([0, -0.02, -0.2, 0.2])), "c": float(rng.choice([0, 0.02, -0.1]))}
    study = SimulatedStudy(
        shifts,
        seed=seed,
        curvature=0.02,
        tuning_sd=float(rng.choice([0.002, 0.002, 0.03, 0.2])),
        seed_sd=float(rng.choice([0.002, 0.05])),
        n_trials=int(rng.integers(2, 9)),
        replicates=int(rng.choice([1, 2, 3, 4, 5, 6, 6, 7, 8])),
        confirm_seeds=int(rng.integers(1, 4)),
    )
    trials = put_winners_at_edge(study.records, str(rng.choice(["a", "b", "none", "none"])))
    share_diverged, share_lost = rng.choice([0, 0, 0.05, 0.3]), rng.choice([0, 0, 0.03])
    unlucky = {t.number for t in trials if rng.random() < share_diverged}
    trials = diverge(trials, lambda t: t.number in unlucky and t.phase is CONFIRM and t.arm != "c")
    lost = {t.number for t in trials if rng.random() < share_lost}
    trials = lose(trials, lambda t: t.number in lost and t.phase is not Phase.SELECT)
    if rng.random() < 0.1:
        trials = trials[: int(rng.integers(0, len(trials)))]
    compare = (("a", "b"), ("b", "c"), ("a", "c"))[: int(rng.integers(1, 4))]
    flags = {"is_finished": bool(rng.random() < 0.8), "registration": EXTENDED if rng.random() < 0.2 else AS_SUBMITTED}
    # A chance level as good as a usual run lets an arm that diverges look better, which it may not be called.
    chance_level = float(rng.choice([math.log(10), 0.35]))
    return study.report_input(trials=trials, compare=compare, chance_level=chance_level, **flags)


def put_winners_at_edge(trials, arm):
    """Give the confirmed configurations of one arm a learning rate just inside the upper edge."""
    places = {(t.replicate, t.config) for t in trials if t.phase is CONFIRM and t.arm == arm}
    return tuple(
        dataclasses.replace(t, params={**t.params, "lr": 0.0999})
        if t.arm == arm and (t.replicate, t.config) in places
        else t
        for t in trials
    )
