"""From a submitted study file to a frozen study: every name known, every number in range, or all problems at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from service.domain.catalog import Catalog, Hyperparameter, Optimizer, Workload, conflicting_names, merged_space
from service.domain.problem import Problem, did_you_mean, unknown
from service.domain.samplers import PRUNERS, SAMPLERS, pruner_options, sampler_kind
from service.domain.search_validation import check_search
from service.domain.seeds import INDEX_LIMIT, REPLICATE_LIMIT, SPEC_SEED_LIMIT
from service.domain.space import Dimension, Scale, Value
from service.domain.study import OPERATIONAL, SCHEMA, Arm, Limits, SearchPlan, Sequential, Study

MAX_RUNS = 500_000
MAX_ARMS = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
_DEVICE = re.compile(r"cpu|cuda(:[A-Za-z0-9_.-]{1,32})?")


class InvalidStudyError(ValueError):
    """The file does not describe a study that can run; `problems` says why, all at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in self.problems))


def study_from_file(document: Mapping[str, Any], catalog: Catalog, samplers: Iterable[str] = tuple(SAMPLERS)) -> Study:
    """Read a study file whose shape (types, no unknown keys) was checked already.

    Args:
        document: The study file; absent keys take their defaults.
        catalog: Built-in optimizers and workloads and those that workers registered.
        samplers: Those that this service offers, "module:Class" names of the allow-list included.

    Raises:
        InvalidStudyError: With every problem that was found.
    """
    problems: list[Problem] = []
    arms = tuple(_read_arm(i, entry, catalog, problems) for i, entry in enumerate(document["arms"]))
    study = _assemble(document, arms, catalog)
    problems += [*_check_head(document, study, catalog), *_check_arms(study), *_check_compare(study)]
    problems += [*check_search(study, samplers), *_check_budget(study)]
    if problems:
        raise InvalidStudyError(problems)
    return study


def _assemble(document: Mapping[str, Any], arms: tuple[Arm, ...], catalog: Catalog) -> Study:
    workload = document["workload"]
    compare = document.get("compare")
    if compare is None:
        compare = [[arms[0].name, arm.name] for arm in arms[1:]] if arms else []
    select, confirm = document.get("select", {}), document.get("confirm", {})
    names = ("device", "replicates", "margin", "seed", "reuse", "priority", "weight", "max_running")
    simple = {name: document[name] for name in names if name in document}
    sequential = document.get("sequential")
    return Study(
        name=document["name"],
        workload=workload["name"],
        options=_options_with_defaults(workload, catalog.workloads.get(workload["name"])),
        arms=arms,
        compare=tuple((pair[0], pair[1]) for pair in compare),
        search=_search_plan(document.get("search", {})),
        select_top=select.get("top", Study.select_top),
        select_seeds=select.get("seeds", Study.select_seeds),
        confirm_seeds=confirm.get("seeds", Study.confirm_seeds),
        limits=Limits(**document.get("limits", {})),
        sequential=Sequential(**sequential) if sequential else None,
        **simple,
    )


def _options_with_defaults(workload: Mapping[str, Any], known: Workload | None) -> dict[str, Value]:
    given = workload.get("options", {})
    defaults = {o.name: o.default for o in known.options if o.default is not None} if known else {}
    return {**defaults, **_normalized(given, known.options if known else ())}


def _search_plan(search: Mapping[str, Any]) -> SearchPlan:
    kind = sampler_kind(search.get("sampler", SearchPlan.sampler))
    pruner, pruner_given = search.get("pruner", SearchPlan.pruner), search.get("pruner_options", {})
    pruner_known = pruner_options(pruner, pruner_given) if pruner in PRUNERS else ()
    budget = search.get("budget")
    normal = {
        "options": _normalized(search.get("options", {}), kind.options if kind else ()),
        "pruner_options": _normalized(pruner_given, pruner_known),
        "budget": budget and {unit: value for unit, value in budget.items() if value is not None},
    }
    return SearchPlan(**{**search, **normal})


def _normalized(given: Mapping[str, Value], known: Iterable[Hyperparameter]) -> dict[str, Value]:
    by_name = {entry.name: entry for entry in known}
    return {name: by_name[name].normalized(value) if name in by_name else value for name, value in given.items()}


def _read_arm(index: int, entry: Mapping[str, Any], catalog: Catalog, problems: list[Problem]) -> Arm:
    where = f"arms[{index}]"
    own: dict[str, Dimension | Value] = {}
    for name, value in entry.get("search", {}).items():
        try:
            own[name] = Dimension.from_dict(value) if isinstance(value, Mapping) else value
        except ValueError as error:
            problems.append(Problem(f"{where}.search.{name}", f"{error}"))
    optimizer = catalog.optimizers.get(entry["optimizer"])
    if optimizer is None:
        problems.append(Problem(f"{where}.optimizer", unknown("optimizer", entry["optimizer"], catalog.optimizers)))
        return Arm(entry["name"], entry["optimizer"], own)
    problems += _check_space(f"{where}.search", optimizer, own)
    space = merged_space(optimizer, own)
    problems += _check_nesterov(f"{where}.search.nesterov", space)
    return Arm(entry["name"], optimizer.name, space)


def _check_space(where: str, optimizer: Optimizer, space: Mapping[str, Dimension | Value]) -> Iterable[Problem]:
    for name, entry in space.items():
        hyperparameter = optimizer.hyperparameter(name)
        if hyperparameter is None:
            known = ", ".join(h.name for h in optimizer.hyperparameters)
            hint = did_you_mean(name, [h.name for h in optimizer.hyperparameters])
            yield Problem(f"{where}.{name}", f"{optimizer.name} has no hyperparameter '{name}'; it has {known}{hint}")
            continue
        for message in _entry_problems(hyperparameter, entry):
            yield Problem(f"{where}.{name}", message)
    for a, b in conflicting_names(space):
        yield Problem(f"{where}.{a}", f"{a} and {b} set the same argument; keep one")


def _entry_problems(hyperparameter: Hyperparameter, entry: Dimension | Value) -> list[str]:
    if not isinstance(entry, Dimension):
        message = hyperparameter.problem_with(entry)
        return [message] if message else []
    if problems := entry.problems():
        return [f"{hyperparameter.name}: {message}" for message in problems]
    if hyperparameter.kind == "int" and entry.scale in (Scale.LOG, Scale.UNIFORM):
        return [f"{hyperparameter.name} is a whole number; search it as {{int: [low, high]}} or as a choice"]
    ends: tuple[Value, ...] = entry.choices if entry.scale is Scale.CHOICE else (entry.low, entry.high)
    return [message for value in ends if (message := hyperparameter.problem_with(value))]


def _check_nesterov(where: str, space: Mapping[str, Dimension | Value]) -> Iterable[Problem]:
    """SGD's classes refuse Nesterov without momentum or with dampening: every trial of the arm would fail."""
    if True not in _listed(space.get("nesterov", False)):
        return
    if 0 in _listed(space.get("momentum", 1)) or 1 in _listed(space.get("one_minus_momentum", 0)):
        yield Problem(where, "nesterov needs a momentum above 0; set nesterov: false")
    dampening = space.get("dampening", 0)
    if isinstance(dampening, Dimension) or dampening != 0:
        yield Problem(where, "nesterov needs a dampening of 0; set nesterov: false")


def _listed(entry: Dimension | Value) -> tuple[Value, ...]:
    """The values that an entry names; those within a range are not named."""
    return entry.choices if isinstance(entry, Dimension) else (entry,)


def _check_head(document: Mapping[str, Any], study: Study, catalog: Catalog) -> Iterable[Problem]:
    if document.get("schema", SCHEMA) != SCHEMA:
        yield Problem("schema", f"this service reads study files of schema {SCHEMA}, got {document['schema']}")
    if not study.name.strip() or len(study.name) > 200:
        yield Problem("name", "a study needs a name of 1 to 200 characters")
    if not _DEVICE.fullmatch(study.device):
        yield Problem("device", f"must be cpu, cuda or cuda:MODEL (such as cuda:H200), got {study.device!r}")
    workload = catalog.workloads.get(study.workload)
    if workload is None:
        yield Problem("workload.name", unknown("workload", study.workload, catalog.workloads))
        return
    if _DEVICE.fullmatch(study.device) and study.device.split(":")[0] not in workload.device_classes:
        yield Problem("device", f"{workload.name} runs on {', '.join(workload.device_classes)}, not on {study.device}")
    for name, value in study.options.items():
        option = workload.option(name)
        if option is None:
            known = ", ".join(o.name for o in workload.options)
            yield Problem(f"workload.options.{name}", f"{workload.name} has no option '{name}'; it has {known}")
        elif message := option.problem_with(value):
            yield Problem(f"workload.options.{name}", message)


def _check_arms(study: Study) -> Iterable[Problem]:
    if not 1 <= len(study.arms) <= MAX_ARMS:
        yield Problem("arms", f"a study has 1 to {MAX_ARMS} arms, got {len(study.arms)}")
    for index, arm in enumerate(study.arms):
        if not _NAME.fullmatch(arm.name):
            rule = "letters, digits and _ . + -, at most 64, the first a letter or digit"
            yield Problem(f"arms[{index}].name", f"must consist of {rule}; got {arm.name!r}")
    for name, count in Counter(arm.name for arm in study.arms).items():
        if count > 1:
            yield Problem("arms", f"arm names must differ; '{name}' stands {count} times")


def _check_compare(study: Study) -> Iterable[Problem]:
    names = {arm.name: arm for arm in study.arms}
    for index, pair in enumerate(study.compare):
        for name in pair:
            if name not in names:
                yield Problem(f"compare[{index}]", unknown("arm", name, names))
        if pair[0] == pair[1]:
            yield Problem(f"compare[{index}]", f"an arm cannot be compared with itself ('{pair[0]}')")
    for pair, count in Counter(study.compare).items():
        if count > 1:
            yield Problem("compare", f"the pair {list(pair)} stands {count} times")


def _check_budget(study: Study) -> Iterable[Problem]:
    yield from _check_bounds(study)
    yield from _check_measures(study)


def operational_problems(study: Study) -> list[Problem]:
    """What is wrong with the settings of a study that may be changed while it runs."""
    return [problem for problem in _check_budget(study) if problem.field in OPERATIONAL]


def _check_bounds(study: Study) -> Iterable[Problem]:
    search = study.search
    bounds = [
        ("search.trials", search.trials, 1, 100_000),
        ("search.parallelism", search.parallelism, 1, 1000),
        ("select.top", study.select_top, 1, 1000),
        ("select.seeds", study.select_seeds, 1, 1000),
        ("confirm.seeds", study.confirm_seeds, 1, 1000),
        ("replicates", study.replicates, 1, REPLICATE_LIMIT - 1),
        ("seed", study.seed, 0, SPEC_SEED_LIMIT - 1),
        ("limits.attempts", study.limits.attempts, 1, 100),
        ("limits.failures", study.limits.failures, 0, INDEX_LIMIT // 2),
        ("priority", study.priority, -1000, 1000),
        *([] if study.max_running is None else [("max_running", study.max_running, 1, 100_000)]),
    ]
    for name, value, low, high in bounds:
        if not low <= value <= high:
            yield Problem(name, f"must be in [{low}, {high}], got {value}")


def _check_measures(study: Study) -> Iterable[Problem]:
    if not 0 < study.margin <= 1:
        yield Problem("margin", f"must be in (0, 1] on the log of the endpoint, got {study.margin}")
    if not 0 < study.limits.trial_s <= 30 * 86_400:
        yield Problem("limits.trial_s", f"must be in (0, 2592000] seconds, got {study.limits.trial_s}")
    if not 0 < study.weight <= 1e6:
        yield Problem("weight", f"must be in (0, 1e6], got {study.weight}")
    if study.select_top > study.search.trials:
        rule = f"at most search.trials ({study.search.trials})"
        yield Problem("select.top", f"must be {rule}, got {study.select_top}")
    if study.n_runs > MAX_RUNS:
        yield Problem("search.trials", f"the study would take {study.n_runs:,} trainings; the most is {MAX_RUNS:,}")
