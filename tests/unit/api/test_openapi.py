"""The committed description of the API."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.api.openapi import render
from service.api.schemas import check_study_file
from service.domain.catalog import BUILT_IN
from service.domain.validation import study_from_file

FILE = Path(__file__).parents[3] / "docs" / "openapi.json"
DOCUMENT: dict[str, Any] = json.loads(render())
OPERATIONS = {
    f"{method} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def test_committed_file_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == render(), "run python -m service.api.openapi"


def test_every_route_of_the_interface_is_described() -> None:
    assert set(OPERATIONS) == {
        "post /api/v1/studies",
        "get /api/v1/studies",
        "get /api/v1/studies/{study_id}",
        "patch /api/v1/studies/{study_id}",
        "delete /api/v1/studies/{study_id}",
        "post /api/v1/studies/{study_id}/pause",
        "post /api/v1/studies/{study_id}/resume",
        "post /api/v1/studies/{study_id}/cancel",
        "post /api/v1/studies/{study_id}/retry",
        "post /api/v1/studies/{study_id}/replicates",
        "post /api/v1/studies/{study_id}/clone",
        "get /api/v1/studies/{study_id}/file",
        "post /api/v1/studies/{study_id}/trials/{number}/retry",
        "post /api/v1/studies/{study_id}/trials/{number}/requeue",
        "post /api/v1/workers/{worker_id}/drain",
        "post /api/v1/workers/{worker_id}/undrain",
        "get /api/v1/studies/{study_id}/report",
        "get /api/v1/studies/{study_id}/export",
        "get /api/v1/studies/{study_id}/events",
        "get /api/v1/studies/{study_id}/trials",
        "get /api/v1/studies/{study_id}/trials/{number}",
        "post /api/v1/checks",
        "get /api/v1/checks",
        "get /api/v1/checks/{check_id}",
        "get /api/v1/catalog",
        "get /api/v1/workers",
        "post /api/v1/login-links",
        "get /healthz",
        "get /readyz",
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_has_a_summary_and_problems(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert "422" not in operation["responses"]
    assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]


def test_examples_of_the_study_file_are_studies() -> None:
    examples = DOCUMENT["components"]["schemas"]["StudyFile"]["examples"]
    assert examples
    for example in examples:
        assert study_from_file(check_study_file(example), BUILT_IN).name == example["name"]


def test_every_reference_leads_somewhere() -> None:
    references = set(_strings(DOCUMENT, "$ref"))
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert references <= known


def _strings(node: Any, key: str) -> list[str]:
    children = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    own = [node[key]] if isinstance(node, dict) and isinstance(node.get(key), str) else []
    return own + [found for child in children for found in _strings(child, key)]
