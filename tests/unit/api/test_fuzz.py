"""Whatever is sent, the answer is a problem of the 4xx kind: nothing else leaves the edge, and no 500."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.bodies import read_document
from service.api.problems import MalformedBodyError
from service.api.schemas import check_study_file
from service.domain.catalog import BUILT_IN
from service.domain.validation import InvalidStudyError, study_from_file
from service.errors import InvalidInputError
from tests.unit.api.support import study_file

FUZZ = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**63, 1e308, 5e-324, -0.0, math.nan])
texts = st.text(max_size=20) | st.sampled_from(["lr", "log", "SGD", "a" * 300, "\x00", "\ud800", "digits-cnn"])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(sorted(study_file()))
ranges = st.dictionaries(
    st.sampled_from(["log", "uniform", "int", "choice"]),
    st.lists(numbers | texts | st.booleans(), max_size=3),
    max_size=1,
)
spaces = st.dictionaries(
    st.sampled_from(["lr", "momentum", "one_minus_momentum", "nesterov", "weight_decay", "eps", "delta"]),
    ranges | numbers | texts | st.booleans(),
    max_size=4,
)


def read(document: Any) -> None:
    """What the route does before it writes; returns, or raises what the edge turns into a 4xx."""
    try:
        study = study_from_file(check_study_file(document), BUILT_IN)
    except (InvalidInputError, InvalidStudyError):
        return
    json.dumps(study.to_dict(), allow_nan=False).encode()
    assert len(study.spec_hash) == 64


@FUZZ
@given(values)
def test_any_document_is_read_or_refused(document: Any) -> None:
    read(document)


@FUZZ
@given(st.dictionaries(keys, values, min_size=1, max_size=3))
def test_any_value_in_the_place_of_another_is_read_or_refused(changes: dict[str, Any]) -> None:
    read({**study_file(), **changes})


@FUZZ
@given(spaces, st.sampled_from(sorted(BUILT_IN.optimizers)))
def test_any_search_space_is_read_or_refused(space: dict[str, Any], optimizer: str) -> None:
    read(study_file(arms=[{"name": "a", "optimizer": optimizer, "search": space}], compare=[]))


@FUZZ
@given(st.dictionaries(st.sampled_from(["sampler", "trials", "pruner", "parallelism", "options"]), values, max_size=3))
def test_any_search_plan_is_read_or_refused(search: dict[str, Any]) -> None:
    read(study_file(search=search))


@FUZZ
@given(st.dictionaries(texts, numbers | texts | st.booleans(), max_size=3), st.sampled_from(["random", "tpe"]))
def test_any_options_are_read_or_refused(options: dict[str, Any], sampler: str) -> None:
    read(
        study_file(search={"sampler": sampler, "options": options}, workload={"name": "digits-mlp", "options": options})
    )


@pytest.mark.parametrize("content_type", ["application/json", "application/yaml"])
@FUZZ
@given(st.binary(max_size=60) | st.text(alphabet="{}[]:,-&*!|>?%@`#'\"\\ \n\tab1.e~", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(content_type: str, body: bytes) -> None:
    with contextlib.suppress(MalformedBodyError):
        read(read_document(body, content_type))
