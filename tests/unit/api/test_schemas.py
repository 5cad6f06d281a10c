"""The study file's shape: what is accepted, and what is refused with which words."""

import math
from typing import Any

import pytest

from service.api.schemas import EXAMPLE, StudyFile, check_study_file
from service.domain.catalog import BUILT_IN
from service.domain.study import Study
from service.domain.validation import study_from_file
from service.errors import InvalidInputError
from tests.unit.api.support import study_file

MINIMAL = {"name": "a", "workload": {"name": "digits-cnn"}, "arms": [{"name": "sgd", "optimizer": "SGD"}]}


def arm(search: Any) -> dict[str, Any]:
    return study_file(arms=[{"name": "sgd", "optimizer": "SGD", "search": search}], compare=[])


VALID = {
    "the example": EXAMPLE,
    "defaults for all that has one": MINIMAL,
    "whole numbers for measures": study_file(margin=1, limits={"trial_s": 60}),
    "fixed values of every kind": arm({"lr": 0.1, "nesterov": False, "momentum": 0}),
    "no declared pairs": study_file(compare=[]),
    "compare left to its default": study_file(compare=None),
}
INVALID: dict[str, tuple[Any, str, str]] = {
    "unknown key": (study_file(armz=[]), "armz", "is not known here; known: schema, name, workload"),
    "unknown key, nested": (study_file(search={"trails": 3}), "search.trails", "did you mean trials?"),
    "unknown key of an arm": (
        study_file(arms=[{"name": "a", "optimizer": "SGD", "lr": 1}]),
        "arms[0].lr",
        "known: name, optimizer, search",
    ),
    "missing name": (study_file(name=None), "name", "is required"),
    "missing optimizer": (study_file(arms=[{"name": "a"}]), "arms[0].optimizer", "is required"),
    "text for a number": (study_file(seed="0"), "seed", "must be a whole number, got '0'"),
    "truth value for a number": (study_file(replicates=True), "replicates", "must be a whole number, got true"),
    "truth value for a measure": (study_file(margin=False), "margin", "must be a number, got false"),
    "fraction for a whole number": (study_file(replicates=2.5), "replicates", "must be a whole number, got 2.5"),
    "number for a text": (study_file(name=3), "name", "must be text, got 3"),
    "NaN": (study_file(margin=math.nan), "margin", "must be a finite number, got nan"),
    "infinity": (study_file(limits={"trial_s": math.inf}), "limits.trial_s", "must be a finite number, got inf"),
    "number beyond 64 bits": (study_file(seed=2**63), "seed", "must be a number that fits into 64 bits, got a huge"),
    "huge number": (study_file(priority=-(10**4000)), "priority", "fits into 64 bits, got a huge number"),
    "null": (study_file() | {"seed": None}, "seed", "must be a whole number, got null"),
    "list for an object": (study_file(workload=["digits-cnn"]), "workload", "must be an object, got a list"),
    "object for a list": (study_file(arms={"a": 1}), "arms", "must be a list, got an object"),
    "pair of three": (study_file(compare=[["a", "b", "c"]]), "compare[0]", "at most 2 items"),
    "too many arms": (study_file(arms=[{"name": "a", "optimizer": "SGD"}] * 33), "arms", "at most 32 items"),
    "control character": (study_file(name="a\x00b"), "name", "must not contain control characters"),
    "half of a surrogate pair": (study_file(name="a\ud800"), "name", "must not contain control characters or halves"),
    "long text": (study_file(name="a" * 201), "name", "must have at most 200 characters, got 201"),
    "NaN at the end of a range": (arm({"lr": {"log": [math.nan, 1]}}), "arms[0].search.lr", "must be finite, got nan"),
    "infinity as a value": (arm({"lr": math.inf}), "arms[0].search.lr", "must be finite, got inf"),
    "value beyond 64 bits": (arm({"lr": 10**400}), "arms[0].search.lr", "fits into 64 bits"),
    "null as a value": (arm({"lr": None}), "arms[0].search.lr", "must be a number, text, true or false, got null"),
    "list as a value": (arm({"lr": [1e-3, 1]}), "arms[0].search.lr", "true or false, got a list"),
    "unknown scale": (arm({"lr": {"logarithmic": [1, 2]}}), "arms[0].search.lr", "one scale of log, uniform, int"),
    "two scales": (arm({"lr": {"log": [1, 2], "int": [1, 2]}}), "arms[0].search.lr", "got 'log', 'int'"),
    "no scale": (arm({"lr": {}}), "arms[0].search.lr", "got nothing"),
    "range that is no list": (arm({"lr": {"log": 3}}), "arms[0].search.lr", "log takes a list, got 3"),
    "range in a range": (arm({"lr": {"log": [[1], 2]}}), "arms[0].search.lr", "got a list"),
    "key that is no text": (arm({3: 0.1}), "arms[0].search[3]", "must be text, got 3"),
    "option that is a list": (
        study_file(workload={"name": "digits-cnn", "options": {"epochs": [1]}}),
        "workload.options.epochs",
        "must be a number, text, true or false",
    ),
}
MEANINGLESS: dict[str, tuple[Any, str, str]] = {
    "unknown workload": (study_file(workload={"name": "digits-cn"}), "workload.name", "did you mean digits-cnn?"),
    "unknown optimizer": (
        arm({}) | {"arms": [{"name": "a", "optimizer": "AdamQ"}]},
        "arms[0].optimizer",
        "known: Adam",
    ),
    "unknown hyperparameter": (arm({"momentun": 0.9}), "arms[0].search.momentun", "SGD has no hyperparameter"),
    "inverted range": (arm({"lr": {"log": [1, 1e-3]}}), "arms[0].search.lr", "lower end must be below"),
    "empty range": (arm({"lr": {"log": [0.1, 0.1]}}), "arms[0].search.lr", "lower end must be below"),
    "non-positive log range": (arm({"lr": {"log": [0, 1]}}), "arms[0].search.lr", "needs ends above 0"),
    "no choice": (arm({"lr": {"choice": []}}), "arms[0].search.lr", "at least one value"),
    "range of one number": (arm({"lr": {"log": [1]}}), "arms[0].search.lr", "two numbers"),
    "budget of 0": (study_file(search={"trials": 0}), "search.trials", "must be in [1, 100000], got 0"),
    "absurd budget": (study_file(search={"trials": 10**9}), "search.trials", "must be in [1, 100000]"),
    "absurd number of runs": (study_file(replicates=4000, search={"trials": 99999}), "search.trials", "trainings"),
    "no replicates": (study_file(replicates=0), "replicates", "must be in [1, 4095], got 0"),
    "no select seeds": (study_file(select={"seeds": 0}), "select.seeds", "must be in [1, 1000], got 0"),
    "no confirm seeds": (study_file(confirm={"seeds": 0}), "confirm.seeds", "must be in [1, 1000], got 0"),
    "margin of 0": (study_file(margin=0.0), "margin", "must be in (0, 1]"),
    "negative seed": (study_file(seed=-1), "seed", "must be in [0, 16777215], got -1"),
    "no arms": (study_file(arms=[], compare=[]), "arms", "1 to 32 arms, got 0"),
    "blank name": (study_file(name=" "), "name", "1 to 200 characters"),
    "other schema": (study_file(schema=2), "schema", "schema 1, got 2"),
    "unknown arm in a pair": (study_file(compare=[["adamw", "adamx"]]), "compare[0]", "unknown arm 'adamx'"),
    "unknown device": (study_file(device="tpu"), "device", "must be cpu, cuda or cuda:MODEL"),
}


@pytest.mark.parametrize("name", VALID)
def test_valid_file_is_accepted(name: str) -> None:
    document = check_study_file(VALID[name])
    assert document == VALID[name], "the document passes through unchanged"
    assert isinstance(study_from_file(document, BUILT_IN), Study)


@pytest.mark.parametrize("name", INVALID)
def test_wrong_shape_is_refused_with_its_field(name: str) -> None:
    document, field, words = INVALID[name]
    with pytest.raises(InvalidInputError) as caught:
        check_study_file(document)
    messages = dict(caught.value.problems)
    assert field in messages, messages
    assert words in messages[field]


@pytest.mark.parametrize("document", [None, [], "text", 3, [{}]])
def test_file_that_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInputError, match="a study file is an object with the keys schema, name"):
        check_study_file(document)


@pytest.mark.parametrize("name", MEANINGLESS)
def test_shape_leaves_meaning_to_the_domain(name: str) -> None:
    assert check_study_file(MEANINGLESS[name][0]) == MEANINGLESS[name][0]


def test_defaults_of_the_schema_are_those_of_the_domain() -> None:
    by_schema = StudyFile.model_validate(MINIMAL).model_dump(by_alias=True, exclude_none=True)
    assert study_from_file(by_schema, BUILT_IN) == study_from_file(MINIMAL, BUILT_IN)
