"""Errors as problems, and what stands before the routes; nothing here reaches a database."""

import json
import logging
import re
from collections.abc import AsyncIterator

import pytest

from service.api.problems import MAX_ERRORS, field_path
from tests.unit.api.support import TOKEN, caller, problem_of, study_file

STUDIES = "/api/v1/studies"


@pytest.mark.parametrize("path", [STUDIES, f"{STUDIES}/1", "/api/v1/catalog", "/api/v1/openapi.json", "/nothing", "/"])
@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe4\xf6"],
)
def test_every_route_but_health_needs_the_token(path: str, header: str | None) -> None:
    api = caller(token=None)
    headers = {} if header is None else {"Authorization": header}
    if header is None and not path.startswith("/api/"):
        assert api.request("GET", path).headers["location"].startswith("/login")
        return
    response = api.request("GET", path, headers={k: v.encode("latin-1") for k, v in headers.items()})  # type: ignore[misc]
    problem = problem_of(response)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in response.text
    assert "token" in problem["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_every_method_needs_the_token(method: str) -> None:
    assert caller(token=None).request(method, STUDIES).status_code == 401


def test_health_needs_no_token() -> None:
    response = caller(token=None).get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_not_ready_without_postgres_and_says_why() -> None:
    response = caller(token=None).get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "postgres": "does not answer", "redis": "not configured"}


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.2", "localhost:80:80", "", "[::1]"]
)
@pytest.mark.parametrize("path", ["/healthz", STUDIES])
def test_other_hosts_are_refused(host: str, path: str) -> None:
    response = caller().get(path, headers={"Host": host})
    assert response.status_code == 400
    assert problem_of(response)["type"] == "urn:tangent:problem:bad-host"


@pytest.mark.parametrize("host", ["localhost", "localhost:8417", "LOCALHOST", "127.0.0.1:1", "127.0.0.1"])
def test_allowed_hosts_are_answered_with_or_without_a_port(host: str) -> None:
    assert caller().get("/healthz", headers={"Host": host}).status_code == 200


def test_host_with_a_port_in_the_settings_is_allowed_with_that_port_only() -> None:
    api = caller(allowed_hosts="tangent.example:8443, [::1]")
    statuses = [
        api.get("/healthz", headers={"Host": host}).status_code
        for host in ("tangent.example:8443", "tangent.example", "tangent.example:80", "[::1]:5", "[::1]")
    ]
    assert statuses == [200, 400, 400, 200, 200]


def test_unknown_path_is_a_problem() -> None:
    problem = problem_of(caller().get("/api/v1/nothing"))
    assert (problem["status"], problem["instance"]) == (404, "/api/v1/nothing")


def test_wrong_method_is_a_problem_with_allow() -> None:
    response = caller().request("DELETE", STUDIES)
    assert problem_of(response)["status"] == 405
    assert set(response.headers["allow"].split(", ")) & {"GET", "POST"}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{STUDIES}/x", "study_id"),
        (f"{STUDIES}/0", "study_id"),
        (f"{STUDIES}/{2**63}", "study_id"),
        (f"{STUDIES}/{'9' * 5000}", "study_id"),
        (f"{STUDIES}/1/trials/{2**31}", "number"),
        (f"{STUDIES}/1/trials/-1", "number"),
        (f"{STUDIES}/1/trials?limit=0", "limit"),
        (f"{STUDIES}/1/trials?limit=501", "limit"),
        (f"{STUDIES}/1/trials?phase=no", "phase"),
        (f"{STUDIES}/1/trials?state=no", "state"),
        (f"{STUDIES}/1/trials?arm=%00", "arm"),
        (f"{STUDIES}/1/trials?arm=%ff", "arm"),
        (f"{STUDIES}/1/trials?page_token=x", "page_token"),
        (f"{STUDIES}?limit=x", "limit"),
        (f"{STUDIES}?state=DONE", "state"),
        (f"{STUDIES}?page_token={'x' * 200}", "page_token"),
        (f"{STUDIES}/1/export?format=xml", "format"),
        (f"{STUDIES}/1/events?after=-1", "after"),
        (f"{STUDIES}/1/events?after={2**63}", "after"),
    ],
)
def test_wrong_parameter_is_a_problem_with_its_name(path: str, field: str) -> None:
    response = caller().get(path)
    problem = problem_of(response)
    assert problem["status"] == 422
    assert [entry["field"] for entry in problem["errors"]] == [field]


@pytest.mark.parametrize("value", ["x", "-1", str(2**63), "1.5"])
def test_wrong_last_event_id_is_a_problem(value: str) -> None:
    response = caller().get(f"{STUDIES}/1/events", headers={"Last-Event-ID": value})
    assert problem_of(response)["errors"][0]["field"] == "Last-Event-ID"


def test_every_problem_of_a_file_comes_at_once_and_has_its_field() -> None:
    document = study_file(seed="0", margin=None, armz=1, arms=[{"name": 1, "optimizer": "SGD", "search": {"lr": []}}])
    problem = problem_of(caller().post(STUDIES, json=document))
    assert problem["status"] == 422
    assert {entry["field"] for entry in problem["errors"]} == {"seed", "armz", "arms[0].name", "arms[0].search.lr"}


def test_a_thousand_problems_are_shortened() -> None:
    problem = problem_of(caller().post(STUDIES, json={f"k{i}": i for i in range(1000)}))
    assert len(problem["errors"]) == MAX_ERRORS


def test_huge_key_is_not_sent_back() -> None:
    body = json.dumps({"k" * 50_000: 1, "\ud800": 2}).encode()
    response = caller().post(STUDIES, content=body, headers={"Content-Type": "application/json"})
    assert problem_of(response)["status"] == 422
    assert len(response.content) < 5000
    assert "\\ud800" not in response.text


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"", "application/json", 400),
        (b"[" * 90_000, "application/json", 400),
        (b"a: b: c", "application/yaml", 400),
        (b"[]", "application/json", 422),
        (b"- a", "application/yaml", 422),
        (b"", "application/yaml", 422),
        (b"{}", "text/plain", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
    ],
)
def test_body_that_is_no_file_is_a_problem(body: bytes, content_type: str, status: int) -> None:
    response = caller().post(STUDIES, content=body, headers={"Content-Type": content_type})
    assert problem_of(response)["status"] == status


def test_declared_large_body_is_refused() -> None:
    response = caller().post(STUDIES, content=b"x" * 100_001, headers={"Content-Type": "application/json"})
    problem = problem_of(response)
    assert (problem["status"], problem["detail"]) == (413, "the body is larger than 100,000 bytes")


def test_chunked_large_body_is_refused() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 10_000

    response = caller().post(STUDIES, content=chunks(), headers={"Content-Type": "application/json"})
    assert problem_of(response)["status"] == 413


def test_body_of_the_largest_size_is_read() -> None:
    response = caller().post(STUDIES, content=b" " * 100_000, headers={"Content-Type": "application/json"})
    assert problem_of(response)["type"] == "urn:tangent:problem:malformed-body"


@pytest.mark.parametrize(
    "path", [STUDIES, f"{STUDIES}/1", f"{STUDIES}/1/report", f"{STUDIES}/1/events", "/api/v1/workers"]
)
def test_absent_postgres_is_503_with_retry_after(path: str) -> None:
    response = caller().get(path)
    assert problem_of(response)["type"] == "urn:tangent:problem:store-unavailable"
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert "nothing" not in response.json()["detail"], "the database's name and user stay inside"


def test_unexpected_error_is_a_500_whose_id_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    api = caller()

    @api.app.get("/boom")
    def boom() -> None:
        raise ZeroDivisionError("a secret of the inside")

    with caplog.at_level(logging.ERROR, "tangent.api"):
        response = api.get("/boom")
    problem = problem_of(response)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert re.fullmatch(r"[0-9a-f]{16}", problem["error_id"])
    assert problem["error_id"] in caplog.text
    assert "a secret of the inside" in caplog.text


def test_problem_is_json_whatever_the_path() -> None:
    problem = json.loads(caller().get("/%ff%00%0a'\"").content)
    assert problem["status"] == 404


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("arms", 1, "search", "lr"), "arms[1].search.lr"),
        (("name",), "name"),
        (("compare", 0, 1), "compare[0][1]"),
        ((), ""),
    ],
)
def test_field_path_is_written_as_in_the_file(location: tuple[int | str, ...], path: str) -> None:
    assert field_path(location) == path
