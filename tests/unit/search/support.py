"""Cells to search: spaces, told trials, and a course of suggestions each of which is told before the next."""

import math

from service.domain.space import Dimension, Scale, log
from service.domain.study import Arm, SearchPlan, Study
from service.domain.trial import Outcome, Phase, TrialRecord, TrialState
from service.search import start_search

CHANCE = 2.3
MIXED = {
    "lr": log(1e-4, 1e-1),
    "eps": Dimension(Scale.UNIFORM, 0.0, 1.0),
    "depth": Dimension(Scale.INT, 1.0, 8.0),
    "nesterov": Dimension(Scale.CHOICE, choices=(True, False)),
    "mode": Dimension(Scale.CHOICE, choices=("a", "b", "c")),
    "weight_decay": 0.01,
}
RANGES = {name: MIXED[name] for name in ("lr", "eps", "depth")}


def study(sampler="random", *arms, seed=0, trials=30, options=None, **search):
    plan = SearchPlan(sampler, trials=trials, options=options or {}, **search)
    arms = arms or (Arm("a", "SGD", MIXED),)
    return Study(name="s", workload="digits-cnn", arms=arms, compare=(), search=plan, seed=seed)


def search(sampler, space=None, *, replicate=0, seed=0, **options):
    """The search of a cell with one arm."""
    arm = Arm("a", "SGD", space or MIXED)
    return start_search(study(sampler, arm, seed=seed, options=options), arm, replicate, CHANCE)


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


def running(number):
    return TrialRecord(number, "a", 0, Phase.SEARCH, number, number, 0, 0, TrialState.RUNNING, {})


def toy(params):
    """A positive endpoint with its best at lr 1e-2."""
    return (
        0.1
        + (math.log10(params["lr"]) + 2) ** 2
        + 0.1 * params.get("eps", 0.0)
        + 0.01 * params.get("depth", 0)
        + 0.2 * (params.get("mode") == "b")
    )


def rungs_of(number, outcome):
    """What a pruned trial of `course` had reported."""
    return {1: 2.0, 2: 1.5 + 0.01 * number} if outcome is Outcome.PRUNED else None


def tell(cell, record):
    cell.tell(record, rungs_of(record.cell_number, record.outcome))


def course(cell, n, *, rebuild=None, outcome=lambda _: Outcome.FINISHED):
    """n suggestions, each told before the next; `rebuild` gives a new search that is told everything at every step."""
    records = []
    for number in range(n):
        if rebuild:
            cell = rebuild()
            for record in records:
                tell(cell, record)
        params = cell.suggest(number)
        end = outcome(number)
        value = toy(params) if end in (Outcome.FINISHED, Outcome.PRUNED) else None
        records.append(told(number, params, end, value))
        tell(cell, records[-1])
    return records


def params_of(records):
    return [record.params for record in records]
