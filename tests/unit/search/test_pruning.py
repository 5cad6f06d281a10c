"""Every pruner against Optuna's own on the same history, decision by decision."""

import math
import random
import warnings

import optuna
import pytest
from optuna.pruners import (
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)

from service.domain.samplers import PRUNERS
from service.domain.trial import Outcome
from service.search import CellPruner
from tests.unit.search.support import running, study, told

EPOCHS = 9
PAIRS = {
    "none": ("none", {}, lambda: NopPruner()),
    "median": ("median", {}, lambda: MedianPruner()),
    "median, late": (
        "median",
        {"n_startup_trials": 2, "n_warmup_steps": 2, "interval_steps": 3, "n_min_trials": 2},
        lambda: MedianPruner(2, 2, 3, n_min_trials=2),
    ),
    "percentile": (
        "percentile",
        {"percentile": 60.0, "n_startup_trials": 1},
        lambda: PercentilePruner(60.0, n_startup_trials=1),
    ),
    "asha": ("asha", {}, lambda: SuccessiveHalvingPruner(min_resource=1)),
    "asha, early": (
        "asha",
        {"reduction_factor": 2, "min_early_stopping_rate": 1, "bootstrap_count": 1},
        lambda: SuccessiveHalvingPruner(1, 2, 1, bootstrap_count=1),
    ),
    "hyperband": (
        "hyperband",
        {"max_resource": EPOCHS, "reduction_factor": 2},
        lambda: HyperbandPruner(1, EPOCHS, 2),
    ),
    "hyperband, bootstrapped": (
        "hyperband",
        {"min_resource": 2, "max_resource": EPOCHS, "bootstrap_count": 1},
        lambda: HyperbandPruner(2, EPOCHS, 3, bootstrap_count=1),
    ),
    "patient": (
        "patient",
        {"patience": 1, "min_delta": 0.05},
        lambda: PatientPruner(None, 1, 0.05),
    ),
    "patient median": (
        "patient",
        {"patience": 0, "wrapped_pruner": "median", "n_startup_trials": 1},
        lambda: PatientPruner(MedianPruner(1), 0, 0.0),
    ),
}
ALWAYS_GOES_ON = {"none"}


def ours(name, replicate=0):
    pruner, options, _ = PAIRS[name]
    return CellPruner(study(pruner=pruner, pruner_options=options), replicate)


class History:
    """Optuna's own study and pruner, and ours, fed the same."""

    def __init__(self, name):
        self.pruner = ours(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study = optuna.create_study(study_name="0/0", pruner=PAIRS[name][2]())
        self.trials, self.values, self.decisions, self.told = [], [], [], []

    def open(self):
        self.trials.append(self.study.ask())
        self.values.append({})
        return len(self.trials) - 1

    def report(self, number, epoch, value):
        self.values[number][epoch] = value
        self.trials[number].report(math.nan if value is None else math.log(value), epoch)
        self.pruner.report(running(number), {epoch: value})
        self.told.append((running(number), {epoch: value}))
        decision = self.pruner.decide(number, epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert decision == self.trials[number].should_prune(), (number, epoch)
        self.decisions.append((number, epoch, decision))
        return decision

    def close(self, number, outcome):
        state = optuna.trial.TrialState.PRUNED if outcome is Outcome.PRUNED else None
        value = self.values[number].get(EPOCHS, 1.0) or 1.0
        self.study.tell(self.trials[number], None if state else math.log(value), state=state)
        record = told(number, {}, outcome, value)
        self.pruner.report(record, {})
        self.told.append((record, {}))


def curve(rng, epoch, speed):
    """A falling endpoint with noise; now and then no number."""
    return None if rng.random() < 0.02 else math.exp(-speed * epoch / EPOCHS) * rng.uniform(0.7, 1.3)


def play(name, *, n_open, seed=0, n_trials=40):
    """`n_open` trials side by side, each reporting one epoch at a time in a random order."""
    rng = random.Random(seed)
    history = History(name)
    open_now = {}
    while len(history.trials) < n_trials or open_now:
        while len(open_now) < n_open and len(history.trials) < n_trials:
            open_now[history.open()] = (1, rng.uniform(0, 2))
        number = rng.choice(sorted(open_now))
        epoch, speed = open_now.pop(number)
        if history.report(number, epoch, curve(rng, epoch, speed)):
            history.close(number, Outcome.PRUNED)
        elif epoch == EPOCHS:
            history.close(number, Outcome.FINISHED)
        else:
            open_now[number] = (epoch + 1, speed)
    return history


@pytest.mark.parametrize("n_open", [1, 4])
@pytest.mark.parametrize("name", PAIRS)
def test_decisions_are_optunas(name, n_open):
    decisions = {decision for _, _, decision in play(name, n_open=n_open).decisions}
    assert decisions == ({False} if name in ALWAYS_GOES_ON else {False, True})


def test_every_pruner_is_compared():
    assert {pruner for pruner, _, _ in PAIRS.values()} == set(PRUNERS)


@pytest.mark.parametrize("name", PAIRS)
def test_a_pruner_that_is_rebuilt_in_any_order_decides_the_same(name):
    history = play(name, n_open=3, seed=2, n_trials=25)
    number = history.open()
    values = dict.fromkeys(range(1, 6), 1.0)
    for epoch, value in values.items():
        history.pruner.report(running(number), {epoch: value})
    last_state = {record.number: record for record, _ in history.told}
    rebuilt = ours(name)
    reports = [(record, rungs) for record, rungs in history.told if rungs] * 2
    for record, rungs in random.Random(5).sample(reports, len(reports)):
        rebuilt.report(record, rungs)
    for record in last_state.values():
        rebuilt.report(record, {})
    rebuilt.report(running(number), values)
    decisions = [history.pruner.decide(number, epoch) for epoch in values]
    assert [rebuilt.decide(number, epoch) for epoch in values] == decisions
    assert [rebuilt.decide(number, epoch) for epoch in values] == decisions


def test_hyperband_without_a_maximum_waits_for_the_first_finished_trial():
    pruner = CellPruner(study(pruner="hyperband"), 0)
    for number in range(6):
        pruner.report(running(number), {1: 1.0 + number})
    assert not any(pruner.decide(number, 1) for number in range(6))
    pruner.report(told(0, {}, value=0.5), dict.fromkeys(range(1, 10), 0.5))
    assert any(pruner.decide(number, 1) for number in range(1, 6))


def test_trials_of_one_number_share_a_hyperband_bracket_in_all_arms():
    decisions = []
    for _arm in range(2):
        pruner = ours("hyperband")
        for number in range(12):
            pruner.report(running(number), {1: 2.0 - number / 10})
        decisions.append([pruner.decide(number, 1) for number in range(12)])
    assert decisions[0] == decisions[1]


def test_a_failed_trial_is_forgotten_and_a_retried_one_counts_once():
    pruner = ours("percentile")
    pruner.report(told(0, {}, value=0.1), {1: 0.1})
    pruner.report(running(1), {1: 0.5})
    assert pruner.decide(1, 1)
    pruner.report(told(0, {}, Outcome.LOST), {})
    assert not pruner.decide(1, 1)


def test_later_epochs_and_the_model_before_the_first_step_are_left_aside():
    pruner = ours("median, late")
    for number in range(3):
        pruner.report(told(number, {}, value=0.5), {0: 9.0, **dict.fromkeys(range(1, 10), 0.5)})
    pruner.report(running(3), {0: 0.01, 1: 1.0, 2: 1.0, 3: 1.0, 9: 0.001})
    assert pruner.decide(3, 2)


def test_an_epoch_that_was_not_reported_cannot_be_decided():
    pruner = ours("median")
    pruner.report(running(0), {1: 1.0})
    with pytest.raises(KeyError, match="trial 0 of the cell has not reported epoch 2"):
        pruner.decide(0, 2)
