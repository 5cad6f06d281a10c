"""The study file as the API takes it: its shape and types. What names and numbers mean is the domain's to check."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from service.api.problems import field_path
from service.api.values import MAX_ENTRIES, MAX_TEXT, Number, PlainJson, Scalar, SpaceEntry, Text, Whole, shown
from service.domain.study import Limits as LimitsDefaults
from service.domain.study import SearchPlan, Study
from service.domain.validation import MAX_ARMS
from service.errors import InvalidInputError

EXAMPLE: dict[str, Any] = {
    "schema": 1,
    "name": "digits-cnn-adamp",
    "workload": {"name": "digits-cnn", "options": {"epochs": 15}},
    "device": "cpu",
    "arms": [
        {"name": "adamw", "optimizer": "AdamW"},
        {"name": "adamp", "optimizer": "AdamP"},
        {
            "name": "adamp-tuned",
            "optimizer": "AdamP",
            "search": {"delta": {"log": [0.01, 1]}, "wd_ratio": {"log": [0.01, 1]}},
        },
    ],
    "compare": [["adamw", "adamp"], ["adamp", "adamp-tuned"]],
    "search": {"sampler": "random", "trials": 12, "pruner": "none"},
    "select": {"top": 3, "seeds": 3},
    "confirm": {"seeds": 3},
    "replicates": 6,
    "margin": 0.05,
    "seed": 0,
    "limits": {"trial_s": 600, "attempts": 3},
    "priority": 0,
}


class _Strict(BaseModel):
    """No unknown keys, numbers are not text, truth values are not numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WorkloadChoice(_Strict):
    """What is trained."""

    name: Text = Field(description="A workload of the catalog.", examples=["digits-cnn"])
    options: dict[Text, Scalar] = Field({}, max_length=MAX_ENTRIES, description="Options of the workload.")


class ArmFile(_Strict):
    """One optimizer with its search space."""

    name: Text = Field(description="Unique in the study.", examples=["adamp"])
    optimizer: Text = Field(description="An optimizer of the catalog.", examples=["AdamP"])
    search: dict[Text, SpaceEntry] = Field(
        {},
        max_length=MAX_ENTRIES,
        description="Ranges and fixed values; what is not named has the catalog's default.",
        examples=[{"lr": {"log": [1e-4, 1e-1]}, "nesterov": True}],
    )


class BudgetFile(_Strict):
    """What a cell's search may use in all; one of the two."""

    steps: Whole | None = Field(None, description="Training steps; from 1.")
    device_s: Number | None = Field(None, description="Seconds of training; above 0.")


class SearchFile(_Strict):
    """How each cell is searched."""

    sampler: Text = Field(
        SearchPlan.sampler, description="random, tpe, gp, cmaes, qmc, grid, or an allowed module:Class."
    )
    trials: Whole = Field(SearchPlan.trials, description="T, the budget of a cell; from 1.")
    pruner: Text = Field(SearchPlan.pruner, description="none, median, percentile, asha, hyperband or patient.")
    parallelism: Whole = Field(
        SearchPlan.parallelism, description="Open trials of a cell; for adaptive samplers, pruners and budgets."
    )
    options: dict[Text, PlainJson] = Field({}, max_length=MAX_ENTRIES, description="Arguments of the sampler.")
    pruner_options: dict[Text, Scalar] = Field({}, max_length=MAX_ENTRIES, description="Arguments of the pruner.")
    budget: BudgetFile | None = Field(None, description="An end of each cell's search before T trials.")


class SequentialFile(_Strict):
    """Replicates added until every declared pair is decided."""

    first: Whole = Field(description="Replicates at the first look; from 3, below replicates.")
    step: Whole = Field(description="Replicates added for each further look; from 1.")


class SelectFile(_Strict):
    """The best configurations of a search, run again on fresh seeds."""

    top: Whole = Field(Study.select_top, description="Configurations; from 1, at most search.trials.")
    seeds: Whole = Field(Study.select_seeds, description="Fresh seeds of each; from 1.")


class ConfirmFile(_Strict):
    """The winner on held-out seeds."""

    seeds: Whole = Field(Study.confirm_seeds, description="S; from 1.")


class LimitsFile(_Strict):
    """What ends a trial, or a cell, that does not go well."""

    trial_s: Number = Field(LimitsDefaults.trial_s, description="Longest run of one trial in seconds; above 0.")
    attempts: Whole = Field(LimitsDefaults.attempts, description="Most attempts of one trial; from 1.")
    failures: Whole = Field(LimitsDefaults.failures, description="Most failed trials of one cell.")


Pair = Annotated[list[Text], Field(min_length=2, max_length=2)]


class StudyFile(_Strict):
    """A study file: one workload, several arms, one equal budget."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    schema_: Whole = Field(1, alias="schema", description="Version of the file's format: 1.")
    name: Text = Field(description="1 to 200 characters.")
    workload: WorkloadChoice
    device: Text = Field(Study.device, description="cpu, cuda, or cuda:MODEL such as cuda:H200.")
    arms: list[ArmFile] = Field(max_length=MAX_ARMS, description=f"1 to {MAX_ARMS} arms.")
    compare: list[Pair] | None = Field(
        None,
        max_length=MAX_ARMS * MAX_ARMS,
        description="Declared pairs, baseline first; by default every arm against the first.",
    )
    search: SearchFile = SearchFile()
    select: SelectFile = SelectFile()
    confirm: ConfirmFile = ConfirmFile()
    replicates: Whole = Field(Study.replicates, description="Independent repetitions of every arm's search; from 1.")
    margin: Number = Field(Study.margin, description="Of practical equivalence, log of the endpoint; in (0, 1].")
    seed: Whole = Field(Study.seed, description="All randomness follows from it; from 0, below 2**24.")
    limits: LimitsFile = LimitsFile()
    sequential: SequentialFile | None = Field(
        None, description="Look early and stop when decided; replicates is then the most."
    )
    reuse: bool = Field(Study.reuse, description="Take identical trainings of other studies from the ledger.")
    priority: Whole = Field(Study.priority, description="Higher runs first; -1000 to 1000.")
    weight: Number = Field(Study.weight, description="Share of the slots within one priority; above 0.")
    max_running: Whole | None = Field(Study.max_running, description="Most trials at once; no limit without it.")


class SettingsFile(_Strict):
    """What may be changed about a study while it runs."""

    priority: Whole = Field(Study.priority, description="Higher runs first; -1000 to 1000.")
    weight: Number = Field(Study.weight, description="Share of the slots within one priority; above 0.")
    max_running: Whole | None = Field(Study.max_running, description="Most trials at once; null for no limit.")


class ReplicatesFile(_Strict):
    """How much a study grows."""

    n: Whole = Field(description="Replicates to add; from 1.", examples=[4])


def check_study_file(document: object) -> dict[str, Any]:
    """The study file as plain data, with the keys that were given.

    Raises:
        InvalidInputError: With every wrong type and unknown key.
    """
    return check_shape(StudyFile, document, "study file")


def check_shape(model: type[BaseModel], document: object, name: str) -> dict[str, Any]:
    """A document as plain data, with the keys that were given.

    Args:
        name: Of such documents, such as "study file".

    Raises:
        InvalidInputError: With every wrong type and unknown key.
    """
    if not isinstance(document, Mapping):
        raise InvalidInputError(f"a {name} is an object with the keys {', '.join(_keys(model))}")
    try:
        checked = model.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [(_path(entry["loc"]), _message(model, entry)) for entry in found]
        raise InvalidInputError(f"the {name} has not the right shape", problems) from error
    return checked.model_dump(by_alias=True, exclude_unset=True)


def _path(location: Sequence[int | str]) -> str:
    return field_path([part for part in location if part != "[key]"])


def _message(model: type[BaseModel], entry: Mapping[str, Any]) -> str:
    kind, value = entry["type"], entry["input"]
    wanted = {
        "int_type": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "text",
        "list_type": "a list",
        "dict_type": "an object",
        "model_type": "an object",
        "greater_than_equal": "a number that fits into 64 bits",
        "less_than_equal": "a number that fits into 64 bits",
    }
    if kind in wanted:
        return f"must be {wanted[kind]}, got {shown(value)}"
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return _unknown_key(model, entry["loc"])
    return str(entry["msg"]).removeprefix("Value error, ")


def _unknown_key(model: Any, location: Sequence[int | str]) -> str:
    for part in location[:-1]:
        if isinstance(part, str):
            model = _model_of(model.model_fields[part].annotation)
    known = _keys(model)
    near = difflib.get_close_matches(str(location[-1])[:MAX_TEXT], known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"is not known here; known: {', '.join(known)}{hint}"


def _model_of(annotation: Any) -> Any:
    """The model behind an annotation such as `list[ArmFile]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return _model_of(get_args(annotation)[0])


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
