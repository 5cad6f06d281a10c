"""Uploaded checks: kept once, recomputed, listed by name; what is no report is refused."""

import json
from typing import Any

import psycopg
import pytest

from service.api.pages import make_token
from service.domain.checks import CheckVerdict
from tests.asgi import Caller
from tests.unit.domain.check_cases import check, full_check, layered

CHECKS = "/api/v1/checks"


def document(seed: int = 0, **changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(check(layered(CheckVerdict.PASS), seed=seed, **changes).to_dict()))


def upload(api: Caller, report: dict[str, Any]) -> dict[str, Any]:
    response = api.post(CHECKS, json=report)
    assert response.status_code in (200, 201), response.text
    return dict(response.json())


def test_a_report_comes_back_as_it_was_uploaded(api: Caller) -> None:
    report = json.loads(json.dumps(full_check().to_dict()))
    kept = upload(api, report)
    assert (kept["verdict"], kept["exit_code"], kept["candidate"]) == (
        "FAIL",
        1,
        "the working tree (0123456789ab-dirty)",
    )
    shown = api.get(f"{CHECKS}/{kept['id']}").json()
    assert shown["report"] == report
    assert {key: shown[key] for key in kept} == kept


def test_the_same_report_is_kept_once(api: Caller, database_url: str) -> None:
    first, second = (api.post(CHECKS, json=document()) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM checks").fetchone() == (1,)


def test_verdicts_are_recomputed(api: Caller) -> None:
    report = json.loads(json.dumps(full_check().to_dict()))
    report["verdict"] = report["layers"][0]["verdict"] = "PASS"
    assert upload(api, report)["verdict"] == "FAIL"


def test_pages_follow_each_other_by_name_without_gap_or_repetition(api: Caller) -> None:
    for seed in range(5):
        upload(api, document(seed, name="adamp"))
        upload(api, document(seed, name="sgdp"))
    found, token = [], None
    while True:
        page = api.get(CHECKS, params={"name": "adamp", "limit": 2, **({"page_token": token} if token else {})}).json()
        found += [entry["id"] for entry in page["checks"]]
        assert {entry["name"] for entry in page["checks"]} == {"adamp"}
        if (token := page["next_page_token"]) is None:
            break
    assert len(found) == 5
    assert found == sorted(set(found), reverse=True)


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        ({"schema": 2}, "schema"),
        ({"seed": "3"}, "seed"),
        ({"name": ""}, "name"),
        ({"name": "x" * 301}, "name"),
        ({"name": "a\0b"}, ""),
        ({"created_at": "2026-11-20 12:00"}, "created_at"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"layers": [{"layer": "colour", "findings": [], "reason": "", "duration_s": 0}]}, "layers[0].layer"),
        ({"layers": document()["layers"] * 2}, "layers"),
        ({"baseline": None}, "baseline"),
    ],
)
def test_what_is_no_report_is_refused_with_its_place(api: Caller, damage: dict[str, Any], field: str) -> None:
    response = api.post(CHECKS, json={**document(), **damage})
    assert response.status_code == 422, response.text
    assert field in [entry["field"] for entry in response.json()["errors"]]
    assert api.get(CHECKS).json()["checks"] == []


@pytest.mark.parametrize(("body", "kind", "status"), [("[]", "json", 400), ("a: 1", "yaml", 415), ("{", "json", 400)])
def test_bodies_that_are_no_json_object_are_refused(api: Caller, body: str, kind: str, status: int) -> None:
    response = api.post(CHECKS, content=body, headers={"Content-Type": f"application/{kind}"})
    assert response.status_code == status


def test_a_report_over_the_limit_is_refused(api: Caller) -> None:
    response = api.post(CHECKS, json=document(config={"text": "x" * 1_100_000}))
    assert response.status_code == 413


def test_checks_need_the_token(api: Caller) -> None:
    for method, path in (("GET", CHECKS), ("POST", CHECKS), ("GET", f"{CHECKS}/1")):
        assert api.request(method, path, headers={"Authorization": "Bearer wrong-token-wrong"}).status_code == 401


def test_an_absent_check_and_a_foreign_page_are_said_to_be_so(api: Caller) -> None:
    assert api.get(f"{CHECKS}/999").status_code == 404
    assert api.get(CHECKS, params={"page_token": make_token("studies", 3)}).status_code == 422
