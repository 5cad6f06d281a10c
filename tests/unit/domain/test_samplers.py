import math

import pytest

from service.domain.catalog import Hyperparameter
from service.domain.grids import MAX_POINTS, grid_axes, grid_order, grid_point, n_grid_points
from service.domain.samplers import (
    PRUNERS,
    SAMPLERS,
    check_options,
    check_pruner_options,
    check_space,
    is_import_name,
    sampler_kind,
)
from service.domain.space import Dimension, Scale, log

LR = log(1e-4, 1e-1)
LAYERS = Dimension(Scale.INT, 1, 4)
SCHEDULE = Dimension(Scale.CHOICE, choices=("cosine", "step"))


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_defaults_of_a_sampler_are_allowed_options(name):
    defaults = {o.name: o.default for o in SAMPLERS[name].options if o.default is not None}
    assert check_options(name, defaults) == []


@pytest.mark.parametrize("name", PRUNERS)
def test_the_defaults_of_a_pruner_are_allowed_options(name):
    defaults = {o.name: o.default for o in PRUNERS[name] if o.default is not None}
    assert check_pruner_options(name, defaults) == []


SAMPLER_ERRORS = [
    ("random", {"n": 1}, "n", "random has no option 'n'; it has none"),
    ("tpe", {"n_startup_trials": 0}, "n_startup_trials", "n_startup_trials must be in [1, inf), got 0"),
    ("tpe", {"group": True, "multivariate": False}, "group", "group needs multivariate; leave that at true"),
    ("cmaes", {"popsize": 1}, "popsize", "popsize must be in [4, inf), got 1"),
    (
        "cmaes",
        {"lr_adapt": True, "use_separable_cma": True},
        "lr_adapt",
        "lr_adapt and use_separable_cma exclude each other; keep one",
    ),
    ("qmc", {"qmc_type": "lattice"}, "qmc_type", "qmc_type must be sobol or halton, got 'lattice'"),
    ("grid", {"n": 3}, "n", "grid has no option 'n'; it has points, grid"),
    ("grid", {"points": 2.5}, "points", "points must be a whole number, got 2.5"),
    ("grid", {"grid": [1]}, "grid", "grid must map dimensions to lists of values, such as {lr: [0.1, 0.01]}; got [1]"),
    ("grid", {"grid": {"lr": []}}, "grid.lr", "must be a list of values, got []"),
    ("grid", {"grid": {"lr": [0.1, 0.1]}}, "grid.lr", "must not name a value twice, got [0.1, 0.1]"),
]


@pytest.mark.parametrize(("name", "options", "field", "message"), SAMPLER_ERRORS)
def test_a_wrong_option_of_a_sampler_is_named_with_its_rule(name, options, field, message):
    assert check_options(name, options) == [(field, message)]


PRUNER_ERRORS = [
    ("none", {"patience": 1}, "patience", "none has no option 'patience'; it has none"),
    ("percentile", {"percentile": 101}, "percentile", "percentile must be in [0, 100], got 101"),
    ("asha", {"reduction_factor": 1}, "reduction_factor", "reduction_factor must be in [2, inf), got 1"),
    (
        "hyperband",
        {"min_resource": 4, "max_resource": 3},
        "max_resource",
        "max_resource must be at least min_resource (4), got 3",
    ),
    (
        "hyperband",
        {"bootstrap_count": 2},
        "bootstrap_count",
        "bootstrap_count needs a max_resource; give the epochs of a full trial",
    ),
    (
        "patient",
        {"wrapped_pruner": "asha"},
        "wrapped_pruner",
        "wrapped_pruner must be one of none, median, percentile; got 'asha'",
    ),
]


@pytest.mark.parametrize(("name", "options", "field", "message"), PRUNER_ERRORS)
def test_a_wrong_option_of_a_pruner_is_named_with_its_rule(name, options, field, message):
    assert check_pruner_options(name, options) == [(field, message)]


def test_patient_takes_the_options_of_the_pruner_that_it_wraps():
    assert check_pruner_options("patient", {"wrapped_pruner": "median", "n_warmup_steps": 2}) == []
    assert [field for field, _ in check_pruner_options("patient", {"n_warmup_steps": 2})] == ["n_warmup_steps"]


def test_any_class_may_be_named_and_takes_any_option():
    kind = sampler_kind("my.package:Sampler")
    assert kind is not None
    assert kind.is_adaptive
    assert check_options("my.package:Sampler", {"anything": [1]}) == []


@pytest.mark.parametrize("name", ["annealing", "my.package:", ":Sampler", "my package:Sampler", "a:b:c"])
def test_what_is_neither_a_name_nor_a_class_is_unknown(name):
    assert not is_import_name(name)
    assert sampler_kind(name) is None


def test_samplers_whose_suggestions_follow_from_results_are_adaptive():
    assert [name for name, kind in SAMPLERS.items() if not kind.is_adaptive] == ["random", "qmc", "grid"]
    assert [name for name, kind in SAMPLERS.items() if kind.needs_torch] == ["gp"]


def test_options_are_scalars_but_for_the_grid_itself():
    assert all(isinstance(option, Hyperparameter) for kind in SAMPLERS.values() for option in kind.options)


def test_a_grid_spaces_its_points_evenly_on_each_dimensions_own_scale():
    axes = grid_axes(
        {"points": 4}, {"lr": LR, "layers": LAYERS, "schedule": SCHEDULE, "decay": Dimension(Scale.UNIFORM)}
    )
    assert axes["lr"] == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1))
    assert axes["decay"] == pytest.approx((0, 1 / 3, 2 / 3, 1))
    assert axes["layers"] == (1, 2, 3, 4)
    assert axes["schedule"] == ("cosine", "step")
    assert n_grid_points(axes) == 4 * 4 * 4 * 2


def test_a_grid_of_one_point_stands_in_the_middle_and_int_axes_have_no_doubles():
    assert grid_axes({"points": 1}, {"lr": LR})["lr"] == pytest.approx((math.sqrt(1e-5),))
    assert grid_axes({"points": 9}, {"layers": LAYERS})["layers"] == (1, 2, 3, 4)


def test_listed_values_win_over_points_and_take_the_dimensions_kind():
    axes = grid_axes({"grid": {"x": [1, 0]}, "points": 3}, {"x": Dimension(Scale.UNIFORM), "layers": LAYERS})
    assert axes == {"layers": (1, 3, 4), "x": (1.0, 0.0)}
    assert all(isinstance(value, float) for value in axes["x"])


def test_the_order_of_a_grid_visits_each_point_once_and_differs_between_replicates():
    axes = grid_axes({"points": 3}, {"lr": LR, "layers": LAYERS})
    order = grid_order(7, 0, n_grid_points(axes))
    points = {tuple(grid_point(axes, index).values()) for index in order}
    assert len(points) == 9
    assert order != grid_order(7, 1, 9)


SPACE_ERRORS = [
    (
        {"grid": {"lr": [0.1, 0.01]}},
        "grid",
        "arm a: the grid has no values for layers; list them in grid, or give points",
    ),
    ({"points": 2, "grid": {"momentum": [0]}}, "grid.momentum", "no arm searches momentum; the arms search layers, lr"),
    ({"points": 2, "grid": {"lr": [1.0]}}, "grid.lr", "1.0 is outside arm a's range {'log': [0.0001, 0.1]}"),
    (
        {"points": 2},
        "points",
        "arm a's grid has 4 points, fewer than search.trials (6); set search.trials to at most 4, or give more points",
    ),
]


@pytest.mark.parametrize(("options", "field", "message"), SPACE_ERRORS)
def test_a_grid_that_cannot_fill_the_search_is_refused_with_its_reason(options, field, message):
    n_trials = 6 if field == "points" else 1
    assert check_space("grid", options, {"a": {"lr": LR, "layers": LAYERS}}, n_trials) == [(field, message)]


def test_a_grid_of_more_points_than_any_search_is_refused():
    many = {f"x{i}": Dimension(Scale.UNIFORM) for i in range(6)}
    [(field, message)] = check_space("grid", {"points": 10}, {"a": many}, 10)
    assert field == "points"
    assert f"has 1,000,000 points; the most is {MAX_POINTS:,}" in message


def test_cmaes_refuses_an_arm_that_searches_only_choices():
    assert check_space("cmaes", {}, {"a": {"s": SCHEDULE, "lr": LR}, "fixed": {}}, 5) == []
    [(_, message)] = check_space("cmaes", {}, {"b": {"s": SCHEDULE}}, 5)
    assert message == "arm b searches only choices, which cmaes cannot; use tpe, gp, qmc or random"
