"""Suggestions: shared draws across arms, and a TPE that does not know whether the process was restarted."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.samplers import SAMPLERS
from service.domain.seeds import draw
from service.domain.space import Dimension, Scale, log
from service.domain.study import Arm, SearchPlan, Study
from service.domain.trial import Outcome, Phase, TrialRecord
from service.search import VERSION, sampler_record, start_search
from service.search.planned import RandomSearch

CHANCE = 2.3
MIXED = {
    "lr": log(1e-4, 1e-1),
    "eps": Dimension(Scale.UNIFORM, 0.0, 1.0),
    "depth": Dimension(Scale.INT, 1.0, 8.0),
    "nesterov": Dimension(Scale.CHOICE, choices=(True, False)),
    "mode": Dimension(Scale.CHOICE, choices=("a", "b", "c")),
    "weight_decay": 0.01,
}


def study(search, *arms, seed=0):
    return Study(name="s", workload="digits-cnn", arms=arms, compare=(), search=search, seed=seed)


def tpe(space=None, n_startup_trials=3, seed=0, replicate=0, **options):
    arm = Arm("a", "SGD", space or MIXED)
    plan = SearchPlan("tpe", options={"n_startup_trials": n_startup_trials, **options})
    return start_search(study(plan, arm, seed=seed), arm, replicate, CHANCE)


def told(number, params, outcome=Outcome.FINISHED, value=None):
    return TrialRecord(
        number=number,
        arm="a",
        replicate=0,
        phase=Phase.SEARCH,
        cell_number=number,
        config=number,
        seed_index=0,
        seed=0,
        state=outcome.state,
        params=params,
        outcome=outcome,
        value=value,
    )


def toy(params):
    return 0.1 + (math.log10(params["lr"]) + 2) ** 2 + 0.01 * params["depth"] + 0.2 * (params["mode"] == "b")


def course(search, n, *, rebuild=None, outcome=lambda _: Outcome.FINISHED):
    """n suggestions, each told before the next; `rebuild` gives a new search told everything at every step."""
    records = []
    for number in range(n):
        if rebuild:
            search = rebuild()
            for record in records:
                search.tell(record)
        params = search.suggest(number)
        end = outcome(number)
        records.append(told(number, params, end, toy(params) if end is Outcome.FINISHED else None))
        search.tell(records[-1])
    return records


def params_of(records):
    return [record.params for record in records]


@given(st.integers(0, 2**24 - 1), st.integers(0, 99), st.integers(0, 99))
def test_arms_share_the_draw_of_a_shared_dimension(seed, replicate, number):
    one, two = Arm("a", "SGD", {"lr": log(1e-4, 1e-1), "x": log(0.1, 1)}), Arm("b", "Adam", {"lr": log(1e-3, 1.0)})
    plan = study(SearchPlan(), one, two, seed=seed)
    first, second = (RandomSearch(plan, arm, replicate).suggest(number)["lr"] for arm in (one, two))
    u = draw(seed, replicate, number, "lr")
    assert math.log(first / 1e-4) / math.log(1e3) == pytest.approx(u, abs=1e-12)
    assert math.log(second / 1e-3) / math.log(1e3) == pytest.approx(u, abs=1e-12)


def test_random_suggestions_depend_on_seed_replicate_and_number_only():
    arm = Arm("a", "SGD", MIXED)
    search = RandomSearch(study(SearchPlan(), arm), arm, 0)
    forward = [search.suggest(n) for n in range(20)]
    search.tell(told(0, forward[0], value=1.0))
    assert [search.suggest(n) for n in reversed(range(20))] == forward[::-1]
    assert RandomSearch(study(SearchPlan(), arm, seed=1), arm, 0).suggest(0) != forward[0]
    assert RandomSearch(study(SearchPlan(), arm), arm, 1).suggest(0) != forward[0]


def test_tpe_starts_with_the_draws_of_random_search():
    arm = Arm("a", "SGD", MIXED)
    random_search = RandomSearch(study(SearchPlan(), arm), arm, 0)
    assert params_of(course(tpe(), 3)) == [random_search.suggest(n) for n in range(3)]


def test_tpe_that_is_rebuilt_before_every_question_suggests_the_same():
    assert params_of(course(tpe(), 25)) == params_of(course(None, 25, rebuild=tpe))


def test_tpe_with_failures_that_is_rebuilt_suggests_the_same():
    def outcome(number):
        return (Outcome.FINISHED, Outcome.LOST, Outcome.DIVERGED, Outcome.FINISHED)[number % 4]

    live = course(tpe(), 20, outcome=outcome)
    assert params_of(live) == params_of(course(None, 20, rebuild=tpe, outcome=outcome))


def test_order_of_telling_and_telling_twice_change_nothing():
    records = course(tpe(), 12)
    expected = tpe()
    for record in records:
        expected.tell(record)
    for seed in range(5):
        search = tpe()
        for record in random.Random(seed).sample(records * 2, 24):
            search.tell(record)
        assert search.suggest(12) == tpe_answer(records)
    assert expected.suggest(12) == tpe_answer(records)


def tpe_answer(records):
    search = tpe()
    for record in records:
        search.tell(record)
    return search.suggest(12)


def test_asking_twice_gives_the_same_answer():
    search = tpe()
    for record in course(tpe(), 8):
        search.tell(record)
    assert search.suggest(8) == search.suggest(8)
    assert search.suggest(9) != search.suggest(8)


def test_diverged_trial_counts_as_chance_level():
    records = course(tpe(), 8)
    diverged, at_chance = tpe(), tpe()
    for record in records[:-1]:
        diverged.tell(record)
        at_chance.tell(record)
    diverged.tell(told(7, records[7].params, Outcome.DIVERGED))
    at_chance.tell(told(7, records[7].params, value=CHANCE))
    assert [diverged.suggest(n) for n in range(8, 14)] == [at_chance.suggest(n) for n in range(8, 14)]


@pytest.mark.parametrize("outcome", [o for o in Outcome if not o.counts])
def test_failed_trial_is_never_told(outcome):
    records = course(tpe(), 8)
    with_failure, without = tpe(), tpe()
    for search in (with_failure, without):
        for record in records:
            search.tell(record)
    with_failure.tell(told(8, records[0].params, outcome, value=1e-9))
    assert with_failure.suggest(9) == without.suggest(9)


def test_suggestions_have_the_type_and_range_of_their_dimension():
    for search in (tpe(), RandomSearch(study(SearchPlan(), Arm("a", "SGD", MIXED)), Arm("a", "SGD", MIXED), 0)):
        for params in params_of(course(search, 25)):
            assert sorted(params) == sorted(MIXED)
            assert params["weight_decay"] == 0.01
            assert 1e-4 <= params["lr"] <= 1e-1
            assert type(params["depth"]) is int
            assert 1 <= params["depth"] <= 8
            assert type(params["nesterov"]) is bool
            assert params["mode"] in ("a", "b", "c")


def test_tpe_learns():
    values = [record.value for record in course(tpe(n_startup_trials=5), 40)]
    assert sum(values[20:]) / 20 < sum(values[:10]) / 10


def test_arm_that_searches_nothing_gets_its_fixed_values():
    assert tpe({"lr": 0.1}).suggest(20) == {"lr": 0.1}


def test_order_of_a_space_s_keys_changes_no_suggestion():
    """jsonb, from which a coordinator reads, has an order of its own."""
    reverse = dict(reversed(MIXED.items()))
    assert params_of(course(tpe(reverse), 15)) == params_of(course(tpe(), 15))


@pytest.mark.parametrize("options", [{}, {"multivariate": False}, {"group": True}, {"n_ei_candidates": 5}])
def test_options_are_given_to_optuna_without_a_warning(options):
    assert len(course(tpe(**options), 6)) == 6


def test_record_names_every_argument_and_the_version():
    plan = SearchPlan("tpe", options={"group": True})
    record = sampler_record(study(plan, Arm("a", "SGD", MIXED)))
    assert record["optuna"] == VERSION
    assert record["options"] == {"n_startup_trials": 10, "n_ei_candidates": 24, "multivariate": True, "group": True}
    assert set(record["options"]) == {option.name for option in SAMPLERS["tpe"].options}
