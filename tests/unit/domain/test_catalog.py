"""The catalog: sound data that API, coordinator and workers share."""

import inspect
import json
from importlib import import_module

import pytest
import torch

from service.domain.catalog import (
    BUILT_IN,
    Hyperparameter,
    Optimizer,
    Workload,
    conflicting_names,
    constructor_arguments,
    merged_space,
)
from service.domain.space import Dimension, Scale, fixed, log, searched
from service.domain.validation import study_from_file

OPTIMIZERS = list(BUILT_IN.optimizers.values())
WORKLOADS = list(BUILT_IN.workloads.values())
by_name = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)


def class_of(optimizer):
    module, _, name = optimizer.import_name.partition(":")
    return getattr(import_module(module), name)


@by_name
def test_optimizer_round_trips_through_json(optimizer):
    assert Optimizer.from_dict(json.loads(json.dumps(optimizer.to_dict(), allow_nan=False))) == optimizer


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_workload_round_trips_through_json(workload):
    assert Workload.from_dict(json.loads(json.dumps(workload.to_dict(), allow_nan=False))) == workload
    assert workload.chance_level > 0
    assert all(option.problem_with(option.default) is None for option in workload.options)


@by_name
def test_default_space_names_hyperparameters_and_is_in_range(optimizer):
    for name, entry in optimizer.default_space.items():
        known = optimizer.hyperparameter(name)
        assert known is not None
        ends = (entry.low, entry.high) if isinstance(entry, Dimension) else (entry,)
        assert [known.problem_with(end) for end in ends] == [None] * len(ends)
    assert conflicting_names(optimizer.default_space) == []
    assert "lr" in searched(optimizer.default_space)


@by_name
@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2**-53])
def test_class_takes_every_corner_of_the_default_space(optimizer, u):
    drawn = {name: entry.at(u) for name, entry in searched(optimizer.default_space).items()}
    arguments = constructor_arguments({**fixed(optimizer.default_space), **drawn})
    built = class_of(optimizer)([torch.nn.Parameter(torch.zeros(2, 2))], **arguments)
    assert built.defaults["lr"] == arguments["lr"]


@by_name
def test_every_hyperparameter_is_an_argument_of_the_class_with_the_same_default(optimizer):
    parameters = inspect.signature(class_of(optimizer)).parameters
    for entry in optimizer.hyperparameters:
        given = constructor_arguments({entry.name: 0.5 if entry.default is None else entry.default})
        (argument,) = given
        assert argument in parameters


@by_name
def test_projection_is_said_of_those_that_project(optimizer):
    assert optimizer.has_projection == (optimizer.hyperparameter("delta") is not None)


@pytest.mark.parametrize(
    ("params", "arguments"),
    [
        ({"lr": 0.1}, {"lr": 0.1}),
        ({"one_minus_momentum": 0.25}, {"momentum": 0.75}),
        ({"one_minus_beta1": 0.25}, {"betas": (0.75, 0.999)}),
        ({"one_minus_beta2": 0.25}, {"betas": (0.9, 0.75)}),
        ({"beta1": 0.5, "one_minus_beta2": 0.5}, {"betas": (0.5, 0.5)}),
        ({"nesterov": False, "eps": 1e-8}, {"nesterov": False, "eps": 1e-8}),
    ],
)
def test_parameters_become_constructor_arguments(params, arguments):
    assert constructor_arguments(params) == arguments


def test_own_entry_replaces_the_default_and_its_complement():
    sgd = BUILT_IN.optimizers["SGD"]
    assert merged_space(sgd, {"momentum": 0.5})["momentum"] == 0.5
    assert "one_minus_momentum" not in merged_space(sgd, {"momentum": 0.5})
    assert merged_space(sgd, {"lr": log(0.1, 1)})["lr"] == log(0.1, 1)
    assert merged_space(sgd, {}) == sgd.default_space


@pytest.mark.parametrize(
    ("entry", "value", "problem"),
    [
        (Hyperparameter("x", low=0, is_low_open=True), 0, "x must be in (0, inf), got 0"),
        (Hyperparameter("x", low=0, high=1, is_high_open=True), 1, "x must be in [0, 1), got 1"),
        (Hyperparameter("x", low=0, high=1), 1.5, "x must be in [0, 1], got 1.5"),
        (Hyperparameter("x"), float("nan"), "x must be a finite number, got nan"),
        (Hyperparameter("x"), float("inf"), "x must be a finite number, got inf"),
        (Hyperparameter("x"), "1", "x must be a finite number, got '1'"),
        (Hyperparameter("x"), True, "x must be a finite number, got True"),
        (Hyperparameter("x", kind="int"), 1.5, "x must be a whole number, got 1.5"),
        (Hyperparameter("x", kind="bool"), 1, "x must be true or false, got 1"),
        (Hyperparameter("x", kind="str"), 1, "x must be text, got 1"),
        (Hyperparameter("x", low=0, high=1), 1, None),
        (Hyperparameter("x", kind="int"), 3.0, None),
    ],
)
def test_value_is_judged_by_kind_and_range(entry, value, problem):
    assert entry.problem_with(value) == problem


def test_registered_entries_do_not_replace_built_in_ones():
    sgd = BUILT_IN.optimizers["SGD"]
    fake = Optimizer("SGD", "other", "unknown", False, (), {}, "x:Y")
    lion = Optimizer("Lion", "other", "unknown", False, sgd.hyperparameters, sgd.default_space, "lion:Lion")
    catalog = BUILT_IN.extended({"SGD": fake, "Lion": lion}, {})
    assert catalog.optimizers["SGD"] is sgd
    document = {"name": "s", "workload": {"name": "digits-mlp"}, "arms": [{"name": "l", "optimizer": "Lion"}]}
    assert study_from_file(document, catalog).arm("l").space["lr"] == Dimension(Scale.LOG, 1e-3, 1.0)
