"""Submitting studies: accepted whole, or refused with nothing written."""

import copy
import json
import math
from typing import Any

import pytest

from service.api.schemas import EXAMPLE
from service.domain.catalog import BUILT_IN, Optimizer
from service.domain.study import Study
from service.domain.trial import StudyId
from service.domain.validation import study_from_file
from service.store.database import Database
from service.store.studies import get_study
from tests.asgi import Caller
from tests.integration.api.support import SMALL, STUDIES, register, row_counts, submit
from tests.unit.api.support import problem_of
from tests.unit.api.test_schemas import INVALID, MEANINGLESS

YAML = """
schema: 1
name: by hand
workload: {name: digits-cnn, options: {epochs: 2}}
arms:
  - {name: sgd, optimizer: SGD, search: {lr: {log: [1e-2, 1]}, nesterov: false}}
search: {trials: 2}
select: {top: 1, seeds: 1}
confirm: {seeds: 1}
replicates: 1
"""


def test_accepted_study_is_in_the_ledger_with_its_cells(api: Caller, ledger: Database, database_url: str) -> None:
    response = api.post(STUDIES, json=EXAMPLE)
    assert response.status_code == 202
    answer = response.json()
    assert response.headers["location"] == f"{STUDIES}/{answer['id']}"
    counts = row_counts(database_url)
    assert (counts["studies"], counts["arms"], counts["cells"], counts["events"]) == (1, 3, 18, 1)
    with ledger.transaction() as connection:
        row = get_study(connection, StudyId(answer["id"]))
    assert row is not None
    assert row.study == study_from_file(EXAMPLE, BUILT_IN)
    assert answer["spec"] == row.study.to_dict()
    assert answer["spec_hash"] == row.spec_hash == row.study.spec_hash
    assert (answer["state"], answer["revision"]) == ("RUNNING", 1)


def test_submission_records_the_catalog_entries_that_it_uses(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    with ledger.transaction() as connection:
        row = get_study(connection, study_id)
    assert row is not None
    recorded = row.environment["catalog"]
    assert set(recorded["optimizers"]) == {"AdamW", "AdamP"}
    assert set(recorded["workloads"]) == {"digits-mlp"}
    assert {"tangent", "python"} <= set(row.environment)


def test_yaml_is_accepted_with_floats_of_version_1_2(api: Caller) -> None:
    response = api.post(STUDIES, content=YAML.encode(), headers={"Content-Type": "application/yaml"})
    assert response.status_code == 202, response.text
    space = response.json()["spec"]["arms"][0]["search"]
    assert space["lr"] == {"log": [0.01, 1.0]}
    assert space["nesterov"] is False


def test_validation_says_the_cost_and_writes_nothing(api: Caller, ledger: Database, database_url: str) -> None:
    register(ledger, n_slots=4)
    before = row_counts(database_url)
    response = api.post(f"{STUDIES}?validate_only=true", json=SMALL)
    assert response.status_code == 200
    answer = response.json()
    cost = answer["cost"]
    assert cost["n_trainings"] == 54
    assert cost["device_s"] == pytest.approx(54 * 0.2 * 3 / 15)
    assert (cost["n_slots"], cost["wall_s"]) == (4, pytest.approx(cost["device_s"] / 4))
    assert [entry["change"] for entry in cost["power"]] == [-0.05, -0.1, -0.2]
    powers = [entry["power"] for entry in cost["power"]]
    assert powers == sorted(powers)
    assert 0 < powers[0] < powers[2] < 1
    assert answer["warnings"] == []
    assert row_counts(database_url) == before


def test_absent_worker_is_a_warning_and_no_error(api: Caller) -> None:
    answer = api.post(STUDIES, json={**SMALL, "device": "cuda:H200"})
    assert answer.status_code == 202
    assert "no worker for device cuda:H200 is online" in answer.json()["warnings"][0]
    assert answer.json()["cost"]["wall_s"] is None


@pytest.mark.parametrize("name", [*MEANINGLESS, *INVALID])
@pytest.mark.parametrize("validate_only", [False, True])
def test_refused_file_leaves_nothing_behind(api: Caller, database_url: str, name: str, validate_only: bool) -> None:
    document, field, words = (MEANINGLESS | INVALID)[name]
    query = "?validate_only=true" if validate_only else ""
    body = json.dumps(document).encode()
    response = api.post(f"{STUDIES}{query}", content=body, headers={"Content-Type": "application/json"})
    problem = problem_of(response)
    if b"NaN" in body or b"Infinity" in body:
        assert problem["status"] == 400
        assert "every number must be finite" in problem["detail"]
    elif name in MEANINGLESS:
        assert problem["status"] == 422
        assert any(words in entry["message"] for entry in problem["errors"] if entry["field"] == field)
    else:
        assert problem["status"] in (400, 422)
    assert set(row_counts(database_url).values()) == {0}


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[" * 90_000, 400), (b'{"name": NaN}', 400), (b"\xff", 400), (b"x" * 200_000, 413), (b"3", 422)],
)
def test_unreadable_body_leaves_nothing_behind(api: Caller, database_url: str, body: bytes, status: int) -> None:
    response = api.post(STUDIES, content=body, headers={"Content-Type": "application/json"})
    assert problem_of(response)["status"] == status
    assert set(row_counts(database_url).values()) == {0}


def test_registered_optimizer_is_known_while_its_worker_is_online(api: Caller, ledger: Database) -> None:
    document: dict[str, Any] = copy.deepcopy(SMALL)
    document["arms"][1]["optimizer"] = "Twin"
    refused = problem_of(api.post(STUDIES, json=document))
    assert "unknown optimizer 'Twin'" in refused["errors"][0]["message"]
    entry = BUILT_IN.optimizers["AdamW"]
    twin = Optimizer("Twin", "other", "unknown", False, entry.hyperparameters, entry.default_space, "ours:Twin")
    register(ledger, optimizers=(twin,))
    study_id = submit(api, document)
    with ledger.transaction() as connection:
        row = get_study(connection, study_id)
    assert row is not None
    assert row.environment["catalog"]["optimizers"]["Twin"] == twin.to_dict()


def test_priority_does_not_change_the_hash_and_the_same_file_has_one(api: Caller) -> None:
    hashes = [api.post(STUDIES, json={**SMALL, "priority": priority}).json()["spec_hash"] for priority in (0, 0, 5)]
    assert len(set(hashes)) == 1


def test_spec_in_the_answer_is_a_study_file_again(api: Caller) -> None:
    spec = api.post(STUDIES, json=SMALL).json()["spec"]
    again = api.post(STUDIES, json=spec)
    assert again.status_code == 202
    assert again.json()["spec"] == spec
    assert isinstance(Study.from_dict(spec), Study)
    assert math.isfinite(spec["margin"])
