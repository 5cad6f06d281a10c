"""What a study file may not say about its search: sampler, pruner, budget, looks."""

from __future__ import annotations

from collections.abc import Iterable

from service.domain.problem import Problem, unknown
from service.domain.samplers import (
    PRUNERS,
    SAMPLERS,
    check_options,
    check_pruner_options,
    check_space,
    is_import_name,
)
from service.domain.study import Study


def check_search(study: Study, samplers: Iterable[str]) -> Iterable[Problem]:
    """What keeps the study's sampler and pruner from searching its arms, its budget or its looks from ending it."""
    search = study.search
    offered = sorted(samplers)
    if search.sampler not in offered:
        yield Problem("search.sampler", _not_offered(search.sampler, offered))
        return
    for name, message in check_options(search.sampler, search.options):
        yield Problem(f"search.options.{name}", message)
    dimensions = {arm.name: arm.dimensions for arm in study.arms}
    if not check_options(search.sampler, search.options):
        for name, message in check_space(search.sampler, search.options, dimensions, search.trials):
            yield Problem(f"search.options.{name}" if name else "search.sampler", message)
    if search.pruner not in PRUNERS:
        yield Problem("search.pruner", unknown("pruner", search.pruner, PRUNERS))
    for name, message in check_pruner_options(search.pruner, search.pruner_options):
        yield Problem(f"search.pruner_options.{name}", message)
    yield from _check_end_of_search(study)
    yield from _check_sequential(study)


def _not_offered(name: str, offered: Iterable[str]) -> str:
    if is_import_name(name):
        return f"{name} is not on the list of allowed samplers; name it in TANGENT_ALLOWED_SAMPLERS"
    if name in SAMPLERS:
        return f"{name} needs PyTorch where the coordinator runs; see docs/operations.md"
    return unknown("sampler", name, offered)


def _check_end_of_search(study: Study) -> Iterable[Problem]:
    budget = study.search.budget
    if budget is None:
        return
    if set(budget) not in ({"steps"}, {"device_s"}):
        yield Problem("search.budget", "takes either steps or device_s")
    for unit, value in budget.items():
        if not 0 < value < 1e15:
            yield Problem(f"search.budget.{unit}", f"must be above 0, got {value}")


def _check_sequential(study: Study) -> Iterable[Problem]:
    if study.sequential is None:
        return
    first, step = study.sequential.first, study.sequential.step
    if not 3 <= first < study.replicates:
        rule = f"at least 3, the fewest that allow a verdict, and below replicates ({study.replicates})"
        yield Problem("sequential.first", f"must be {rule}, got {first}")
    if not 1 <= step <= study.replicates:
        yield Problem("sequential.step", f"must be in [1, {study.replicates}], got {step}")
    if not study.compare:
        yield Problem("sequential", "a study without declared pairs has nothing to decide; name them in compare")
