"""The frozen study: its document round-trips, its hash names its content and nothing else."""

import dataclasses
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.space import Dimension, Scale
from service.domain.study import OPERATIONAL, Arm, Limits, SearchPlan, Sequential, Study
from service.domain.trial import Phase
from tests.unit.domain.test_space import dimensions

names = st.text("abcdefgh-", min_size=1, max_size=6)
values = st.one_of(st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.text(max_size=4))


@st.composite
def studies(draw):
    spaces = st.dictionaries(names, st.one_of(dimensions(), values), max_size=3)
    arm_names = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    return Study(
        name=draw(names),
        workload=draw(names),
        arms=tuple(Arm(name, draw(names), draw(spaces)) for name in arm_names),
        compare=tuple((arm_names[0], name) for name in arm_names[1:]),
        options=draw(st.dictionaries(names, values, max_size=2)),
        device=draw(st.sampled_from(["cpu", "cuda", "cuda:H200"])),
        search=SearchPlan(draw(st.sampled_from(["random", "tpe"])), draw(st.integers(1, 99)), options={"a": 1}),
        select_top=draw(st.integers(1, 9)),
        margin=draw(st.floats(0.001, 1)),
        seed=draw(st.integers(0, 2**24 - 1)),
        limits=Limits(draw(st.floats(1, 1e5)), draw(st.integers(1, 9)), draw(st.integers(0, 9))),
        priority=draw(st.integers(-9, 9)),
    )


def example(**changes):
    space = {"lr": Dimension(Scale.LOG, 1e-4, 1e-1), "nesterov": True, "eps": 1e-8}
    fields = {
        "name": "s",
        "workload": "digits-cnn",
        "arms": (Arm("a", "SGD", space), Arm("b", "SGDP", {**space, "eps": Dimension(Scale.LOG, 1e-9, 1e-7)})),
        "compare": (("a", "b"),),
        "options": {"epochs": 3, "width": 8},
        **changes,
    }
    return Study(**fields)


@settings(max_examples=50)
@given(studies())
def test_document_round_trips_through_json(study):
    document = json.loads(json.dumps(study.to_dict(), allow_nan=False))
    back = Study.from_dict(document)
    assert back == study
    assert back.spec_hash == study.spec_hash
    assert back.to_dict() == document


@settings(max_examples=50)
@given(studies(), st.randoms(use_true_random=False))
def test_hash_does_not_depend_on_the_order_of_keys(study, rng):
    assert Study.from_dict(shuffled(study.to_dict(), rng)).spec_hash == study.spec_hash


def shuffled(value, rng: random.Random):
    if isinstance(value, dict):
        items = [(key, shuffled(entry, rng)) for key, entry in value.items()]
        rng.shuffle(items)
        return dict(items)
    return [shuffled(entry, rng) for entry in value] if isinstance(value, list) else value


def test_hash_is_the_same_in_every_process():
    assert example().spec_hash == "2c8ede9b2272ba78067610baa3b49e4f00fff3a4f148319b80d303ba1417907f"


@pytest.mark.parametrize("when", [{"priority": 7}, {"weight": 2.0}, {"max_running": 3}])
def test_what_says_only_when_trials_run_does_not_change_the_hash(when):
    assert example(**when).spec_hash == example().spec_hash


CHANGES = {
    "name": "t",
    "workload": "digits-mlp",
    "arms": (Arm("a", "SGD", {}), Arm("b", "SGDP", {})),
    "compare": (("b", "a"),),
    "options": {"epochs": 3, "width": 9},
    "device": "cuda",
    "search": SearchPlan(trials=31),
    "select_top": 6,
    "select_seeds": 6,
    "confirm_seeds": 6,
    "replicates": 6,
    "margin": 0.06,
    "seed": 1,
    "limits": Limits(trial_s=601),
    "sequential": Sequential(3, 1),
    "reuse": True,
}


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Study) if f.name not in OPERATIONAL])
def test_every_other_field_changes_the_hash(field):
    assert example(**{field: CHANGES[field]}).spec_hash != example().spec_hash


@pytest.mark.parametrize(
    "search",
    [
        SearchPlan("tpe"),
        SearchPlan(pruner="x"),
        SearchPlan(parallelism=2),
        SearchPlan(options={"a": 1}),
        SearchPlan(pruner_options={"a": 1}),
        SearchPlan(budget={"steps": 5}),
    ],
)
def test_every_part_of_the_search_changes_the_hash(search):
    assert example(search=search).spec_hash != example().spec_hash


@pytest.mark.parametrize("limits", [Limits(trial_s=1), Limits(attempts=2), Limits(failures=11)])
def test_every_limit_changes_the_hash(limits):
    assert example(limits=limits).spec_hash != example().spec_hash


def test_order_of_arms_and_of_choices_changes_the_hash():
    study = example()
    assert example(arms=study.arms[::-1]).spec_hash != study.spec_hash
    one, two = (Arm("a", "SGD", {"x": Dimension(Scale.CHOICE, choices=c)}) for c in (("a", "b"), ("b", "a")))
    assert example(arms=(one,), compare=()).spec_hash != example(arms=(two,), compare=()).spec_hash


def test_runs_add_up():
    study = example(search=SearchPlan(trials=12), select_top=3, select_seeds=3, confirm_seeds=3, replicates=7)
    assert study.runs_per_cell() == {Phase.SEARCH: 12, Phase.SELECT: 9, Phase.CONFIRM: 3}
    assert (study.n_cells, study.n_runs) == (14, 14 * 24)


def test_device_class_decides_the_queue():
    assert [example(device=d).queue for d in ("cpu", "cuda", "cuda:H200")] == ["cpu", "gpu", "gpu"]


def test_arm_is_found_by_name_and_searches_what_is_a_range():
    arm = example().arm("b")
    assert sorted(arm.dimensions) == ["eps", "lr"]
    with pytest.raises(KeyError):
        example().arm("c")
