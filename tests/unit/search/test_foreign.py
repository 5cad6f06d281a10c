"""Optuna's own samplers by name, against Optuna's own loop with the same seed."""

import math
import sys
import types

import optuna
import pytest
from optuna.samplers import NSGAIISampler, RandomSampler

from service.domain.seeds import sampler_seed
from service.domain.trial import Outcome
from service.search.cell import distributions_of
from tests.unit.search.support import MIXED, RANGES, course, params_of, search, tell, toy

NSGA = "optuna.samplers:NSGAIISampler"
DISTRIBUTIONS = distributions_of({name: d for name, d in MIXED.items() if name != "weight_decay"})


def test_suggestions_are_those_of_optunas_own_loop_with_that_seed():
    study = optuna.create_study(sampler=NSGAIISampler(seed=sampler_seed(0, 0, 0), population_size=4))
    expected = []
    for _ in range(25):
        trial = study.ask(fixed_distributions=DISTRIBUTIONS)
        expected.append({"weight_decay": 0.01, **trial.params})
        study.tell(trial, math.log(toy(trial.params)))
    assert params_of(course(search(NSGA, MIXED, population_size=4), 25)) == expected


def test_it_is_told_of_failed_and_pruned_trials_as_optuna_tells_them():
    cell = search(NSGA, MIXED, population_size=4)
    ends = (Outcome.FINISHED, Outcome.PRUNED, Outcome.LOST, Outcome.DIVERGED)
    course(cell, 9, outcome=lambda number: ends[number % 4])
    states = [trial.state.name for trial in cell._study.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"] * 2 + ["RUNNING"]
    assert cell._study.trials[5].intermediate_values == {1: math.log(2.0), 2: math.log(1.55)}
    assert cell._study.trials[5].value == math.log(1.55)


def test_a_trial_that_finishes_out_of_turn_is_told_at_its_place():
    records = course(search(NSGA, MIXED, population_size=3), 12)
    expected, late = (search(NSGA, MIXED, population_size=3) for _ in range(2))
    for record in records:
        tell(expected, record)
    for record in records[:4] + records[5:]:
        tell(late, record)
    late.suggest(12)
    tell(late, records[4])
    assert late.suggest(12) == expected.suggest(12)


def test_parameters_that_were_run_count_and_not_those_that_a_replay_would_suggest():
    cell = search(NSGA, RANGES, population_size=3)
    records = course(search("random", RANGES), 6)
    for record in records:
        tell(cell, record)
    cell.suggest(6)
    assert [trial.params for trial in cell._study.trials[:6]] == params_of(records)


def test_start_up_draws_are_shared_where_the_sampler_takes_an_independent_sampler():
    drawn = search("random", RANGES).suggest(0)
    assert search("optuna.samplers:CmaEsSampler", RANGES).suggest(0) == drawn
    assert search("optuna.samplers:GPSampler", RANGES).suggest(0) == drawn


class Angry(RandomSampler):
    def sample_independent(self, *_):
        raise KeyError("no idea")


class Demanding(RandomSampler):
    def __init__(self, *, temper):
        raise ValueError(f"temper {temper}")


def here(name, monkeypatch):
    module = types.ModuleType("angry_samplers")
    module.Angry, module.Demanding, module.number = Angry, Demanding, 1
    monkeypatch.setitem(sys.modules, "angry_samplers", module)
    return f"angry_samplers:{name}"


def test_an_error_of_the_sampler_is_named_with_its_trial(monkeypatch):
    name = here("Angry", monkeypatch)
    with pytest.raises(RuntimeError, match="the sampler angry_samplers:Angry failed at trial 0: KeyError: 'no idea'"):
        search(name, RANGES).suggest(0)


BAD = [
    ("no.such.module:Sampler", {}, "cannot be imported where the coordinator runs: No module named 'no'"),
    ("optuna.samplers:NoSuch", {}, "cannot be imported where the coordinator runs"),
    ("optuna.pruners:MedianPruner", {}, "is no sampler: it must be a class derived from optuna.samplers.BaseSampler"),
    ("math:pi", {}, "is no sampler"),
    (NSGA, {"population": 3}, r"does not take the options \{'population': 3\}: .*unexpected keyword"),
    (NSGA, {"population_size": 1}, "does not take the options"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD)
def test_a_sampler_that_cannot_be_made_is_refused_with_the_reason(name, options, message):
    with pytest.raises(ValueError, match=message):
        search(name, RANGES, **options)


def test_a_constructor_that_refuses_its_options_is_quoted(monkeypatch):
    name = here("Demanding", monkeypatch)
    with pytest.raises(ValueError, match="temper 3"):
        search(name, RANGES, temper=3)
