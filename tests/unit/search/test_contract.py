"""What every search of a cell promises, held for each sampler."""

import random

import pytest

from service.domain.samplers import PRUNERS, SAMPLERS
from service.domain.space import Dimension, Scale, log
from service.domain.study import Arm
from service.domain.trial import Outcome
from service.search import sampler_record, start_search
from service.search.planned import RandomSearch
from tests.unit.search.support import (
    CHANCE,
    MIXED,
    RANGES,
    course,
    params_of,
    search,
    study,
    tell,
    told,
    toy,
)

NSGA = "optuna.samplers:NSGAIISampler"
CASES = {
    "random": ("random", MIXED, {}),
    "qmc": ("qmc", MIXED, {}),
    "halton": ("qmc", MIXED, {"qmc_type": "halton"}),
    "grid": ("grid", MIXED, {"points": 2}),
    "tpe": ("tpe", MIXED, {"n_startup_trials": 3}),
    "gp": ("gp", MIXED, {"n_startup_trials": 3}),
    "cmaes": ("cmaes", MIXED, {"popsize": 4}),
    "separable": ("cmaes", RANGES, {"use_separable_cma": True, "n_startup_trials": 3}),
    "learning": ("cmaes", RANGES, {"lr_adapt": True, "consider_pruned_trials": True}),
    "nsga": (NSGA, MIXED, {"population_size": 4}),
    "bare tpe": ("optuna.samplers:TPESampler", MIXED, {"n_startup_trials": 3}),
}
LENGTHS = {"gp": 7}
each_case = pytest.mark.parametrize("case", CASES)


def start(case, **changes):
    sampler, space, options = CASES[case]
    return search(sampler, space, **options, **changes)


def length(case):
    return LENGTHS.get(case, 18)


def mostly_fine(number):
    ends = (Outcome.FINISHED, Outcome.PRUNED, Outcome.LOST, Outcome.FINISHED, Outcome.DIVERGED)
    return ends[number % len(ends)]


def test_every_built_in_sampler_is_among_the_cases():
    assert {sampler for sampler, _, _ in CASES.values()} >= set(SAMPLERS)


@each_case
def test_a_search_that_is_rebuilt_before_every_question_suggests_the_same(case):
    n = length(case)
    assert params_of(course(start(case), n)) == params_of(course(None, n, rebuild=lambda: start(case)))


@each_case
def test_failed_pruned_and_diverged_trials_leave_it_reproducible(case):
    n = length(case)
    live = course(start(case), n, outcome=mostly_fine)
    assert params_of(live) == params_of(course(None, n, rebuild=lambda: start(case), outcome=mostly_fine))


@each_case
def test_order_of_telling_telling_twice_and_earlier_questions_change_nothing(case):
    n = length(case) - 1
    records = course(start(case), n)
    straight, shuffled = start(case), start(case)
    for record in records:
        tell(straight, record)
    for place, record in enumerate(random.Random(1).sample(records * 2, 2 * n)):
        tell(shuffled, record)
        if place in (n // 2, n):
            shuffled.suggest(place)
    expected = straight.suggest(n)
    assert [shuffled.suggest(n) for _ in range(2)] == [expected, expected]


@each_case
def test_suggestions_have_the_type_and_range_of_their_dimension(case):
    _, space, _ = CASES[case]
    for params in params_of(course(start(case), length(case))):
        assert sorted(params) == sorted(space)
        assert params.get("weight_decay", 0.01) == 0.01
        assert 1e-4 <= params["lr"] <= 1e-1
        assert type(params["lr"]) is float
        assert 0 <= params["eps"] <= 1
        assert type(params["depth"]) is int
        assert 1 <= params["depth"] <= 8
        assert type(params.get("nesterov", True)) is bool
        assert params.get("mode", "a") in ("a", "b", "c")


@each_case
def test_seed_and_replicate_change_the_suggestions(case):
    n = length(case)
    base = params_of(course(start(case), n))
    assert params_of(course(start(case, seed=1), n)) != base
    assert params_of(course(start(case, replicate=1), n)) != base


@each_case
def test_an_arm_that_searches_nothing_gets_its_fixed_values(case):
    sampler, _, options = CASES[case]
    assert search(sampler, {"lr": 0.1}, **options).suggest(20) == {"lr": 0.1}


@each_case
def test_the_order_of_a_space_s_keys_changes_no_suggestion(case):
    """jsonb, from which a coordinator reads, has an order of its own."""
    sampler, space, options = CASES[case]
    n = length(case)
    reverse = search(sampler, dict(reversed(space.items())), **options)
    assert params_of(course(reverse, n)) == params_of(course(start(case), n))


@pytest.mark.parametrize("case", ["tpe", "gp", "cmaes", "separable"])
def test_start_up_trials_are_the_draws_of_random_search(case):
    sampler, space, options = CASES[case]
    arm = Arm("a", "SGD", space)
    drawn = RandomSearch(study(sampler, arm), arm, 0)
    n = options.get("n_startup_trials", 1)
    assert params_of(course(start(case), n)) == [drawn.suggest(number) for number in range(n)]


@pytest.mark.parametrize("case", ["tpe", "gp", "cmaes", "separable", "nsga", "bare tpe"])
def test_a_diverged_trial_counts_as_chance_level(case):
    n = length(case)
    records = course(start(case), n - 2)
    diverged, at_chance = start(case), start(case)
    for record in records[:-1]:
        tell(diverged, record)
        tell(at_chance, record)
    last = records[-1]
    tell(diverged, told(last.number, last.params, Outcome.DIVERGED))
    tell(at_chance, told(last.number, last.params, value=CHANCE))
    assert diverged.suggest(n - 2) == at_chance.suggest(n - 2)


@pytest.mark.parametrize("case", ["tpe", "gp", "cmaes", "separable", "learning"])
def test_an_adaptive_sampler_finds_better_values_than_its_start_up(case):
    n = 12 if case == "gp" else 60
    values = [toy(params) for params in params_of(course(start(case), n))]
    assert sum(values[-4:]) / 4 < sum(values[:4]) / 4


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_arms_share_the_draws_of_the_dimensions_that_they_share(sampler):
    one = Arm("one", "SGD", {"lr": log(1e-4, 1e-1), "x": log(0.1, 1)})
    two = Arm("two", "Adam", {"beta": Dimension(Scale.UNIFORM), "lr": log(1e-4, 1e-1)})
    plan = study(sampler, one, two)
    first, second = (start_search(plan, arm, 0, CHANCE) for arm in (one, two))
    assert [first.suggest(n)["lr"] for n in range(300)] == [second.suggest(n)["lr"] for n in range(300)]


def test_another_arm_at_the_end_leaves_quasi_random_points_as_they_are():
    one, two = Arm("one", "SGD", MIXED), Arm("two", "SGD", {"delta": log(1e-3, 1)})
    alone, beside = study("qmc", one), study("qmc", one, two)
    searches = [start_search(plan, one, 0, CHANCE) for plan in (alone, beside)]
    assert searches[0].suggest(5) == searches[1].suggest(5)


def test_sobol_points_fill_every_sixteenth_of_every_dimension_evenly():
    cell = search("qmc", {"x": Dimension(Scale.UNIFORM), "y": Dimension(Scale.UNIFORM)})
    points = [cell.suggest(n) for n in range(512)]
    boxes = [(int(p["x"] * 16), int(p["y"] * 16)) for p in points[:256]]
    assert len(set(boxes)) == 256
    assert all([int(p[name] * 512) for p in points].count(k) == 1 for name in "xy" for k in range(512))


def test_a_grid_search_visits_every_point_once_and_the_replicates_in_orders_of_their_own():
    cell = search("grid", RANGES, points=3)
    points = [tuple(cell.suggest(n).values()) for n in range(27)]
    assert len(set(points)) == 27
    assert sorted(points)[0] == (1, 0.0, 1e-4)
    assert sorted(points)[-1] == (8, 1.0, 1e-1)
    assert cell.suggest(27) == cell.suggest(0)
    other = search("grid", RANGES, points=3, replicate=1)
    assert sorted(points) == sorted(tuple(other.suggest(n).values()) for n in range(27))


@each_case
def test_the_record_names_every_argument_and_the_versions(case):
    sampler, _, options = CASES[case]
    record = sampler_record(study(sampler, options=options))
    kind = SAMPLERS.get(sampler)
    assert record["options"] == {**({o.name: o.default for o in kind.options} if kind else {}), **options}
    assert record["sampler"] == sampler
    assert record["optuna"].startswith("5.")
    assert {"gp": "torch", "cmaes": "cmaes", "qmc": "scipy"}.get(sampler, "optuna") in record


@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_record_names_the_pruner_and_its_arguments(pruner):
    record = sampler_record(study(pruner=pruner))
    assert record["pruner"] == pruner
    assert set(record["pruner_options"]) == {option.name for option in PRUNERS[pruner]}
