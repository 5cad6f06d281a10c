"""CMA-ES against Optuna's own sampler, which drives the same package."""

import math
import pickle

import numpy as np
import optuna
import pytest
from optuna.samplers import CmaEsSampler

from service.domain.trial import Outcome
from service.search.cell import distributions_of
from tests.unit.search.support import RANGES, course, search, tell, told, toy


def optunas_trials(n, popsize, **options):
    """Trials of Optuna's own loop on the log of the toy endpoint."""
    sampler = CmaEsSampler(seed=3, popsize=popsize, **options)
    study = optuna.create_study(sampler=sampler)
    distributions = distributions_of(RANGES)
    for _ in range(n):
        trial = study.ask(fixed_distributions=distributions)
        study.tell(trial, math.log(toy(trial.params)))
    return study.trials


def last_optimizer(trials, prefix):
    """Optuna's distribution after the last generation, from the pickle that it keeps on a trial."""
    for trial in reversed(trials):
        key = f"{prefix}optimizer:"
        pieces = {name: value for name, value in trial.system_attrs.items() if name.startswith(key)}
        if pieces:
            return pickle.loads(bytes.fromhex("".join(pieces[f"{key}{i}"] for i in range(len(pieces)))))
    raise AssertionError("no generation was told")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    ("options", "prefix"), [({}, "cma:"), ({"lr_adapt": True}, "cma:"), ({"use_separable_cma": True}, "sepcma:")]
)
def test_the_same_trials_leave_the_distribution_that_optunas_sampler_has(options, prefix):
    trials = optunas_trials(26, 5, **options)
    cell = search("cmaes", RANGES, popsize=5, **options)
    for trial in trials[:-1]:
        cell.tell(told(trial.number, trial.params, value=toy(trial.params)))
    cell.suggest(25)
    theirs, ours = last_optimizer(trials, prefix), cell._optimizer
    assert ours.generation == theirs.generation == 4
    np.testing.assert_allclose(ours._mean, theirs._mean, rtol=1e-9)
    assert ours._sigma == pytest.approx(theirs._sigma, rel=1e-9)
    np.testing.assert_allclose(ours._C, theirs._C, rtol=1e-9, atol=1e-12)


def test_a_trial_that_finishes_out_of_turn_joins_the_generation_of_its_number():
    records = course(search("cmaes", RANGES, popsize=4), 14)
    expected, late = (search("cmaes", RANGES, popsize=4) for _ in range(2))
    for record in records:
        tell(expected, record)
    for record in [r for r in records if r.number != 2]:
        tell(late, record)
    without = late.suggest(14)
    tell(late, records[2])
    assert late.suggest(14) == expected.suggest(14) != without


def test_pruned_trials_belong_to_a_generation_only_where_the_options_say_so():
    ends = {True: 2, False: 1}
    for is_considered, generation in ends.items():
        cell = search("cmaes", RANGES, popsize=4, consider_pruned_trials=is_considered)
        records = course(cell, 9, outcome=lambda n: Outcome.PRUNED if n % 2 else Outcome.FINISHED)
        assert len(records) == 9
        cell.suggest(9)
        assert cell._optimizer.generation == generation


def test_one_dimension_and_the_smallest_population_work():
    options = {"popsize": 4, "use_separable_cma": True}
    records = course(search("cmaes", {"lr": RANGES["lr"]}, **options), 40)
    assert all(1e-4 <= record.params["lr"] <= 1e-1 for record in records)
    assert min(record.value for record in records[-4:]) < min(record.value for record in records[:4])
