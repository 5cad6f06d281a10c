"""A request with an Idempotency-Key acts once, however often it comes."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from service.client import Client
from service.errors import ServiceError
from service.store import idempotency
from service.store.database import Database
from tests.asgi import Caller
from tests.integration.api.conftest import StartApi
from tests.integration.api.support import SMALL, STUDIES, row_counts, submit
from tests.integration.store.support import in_threads
from tests.unit.api.support import TOKEN, problem_of

KEY = {"Idempotency-Key": "first-try"}


def kept(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM idempotency_keys").fetchone()
        assert row is not None
        return int(row[0])


def test_same_request_is_answered_as_before_and_acts_once(api: Caller, database_url: str) -> None:
    first = api.post(STUDIES, json=SMALL, headers=KEY)
    before = row_counts(database_url)
    again = api.post(STUDIES, json=SMALL, headers=KEY)
    assert row_counts(database_url) == before
    assert (again.status_code, again.content) == (first.status_code, first.content) == (202, first.content)
    assert again.headers.pop("Idempotency-Replayed") == "true"
    assert again.headers == first.headers
    assert again.headers["Location"] == f"{STUDIES}/{first.json()['id']}"
    assert api.post(STUDIES, json=SMALL, headers={"Idempotency-Key": "second"}).json()["id"] == first.json()["id"] + 1


@pytest.mark.parametrize(
    ("act", "body"),
    [("pause", None), ("cancel", None), ("replicates", {"n": 1}), ("clone", {"name": "other"}), ("clone", None)],
)
def test_every_act_is_done_once(api: Caller, database_url: str, act: str, body: Any) -> None:
    path = f"{STUDIES}/{submit(api)}/{act}"
    first = api.post(path, json=body, headers=KEY)
    before = row_counts(database_url)
    assert first.status_code in (200, 202)
    again = api.post(path, json=body, headers=KEY)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert row_counts(database_url) == before


def test_every_route_that_creates_or_acts_takes_a_key(api: Caller) -> None:
    """But the one that makes a link to sign in: a secret is not kept, and its link works once anyway."""
    paths = api.get("/api/v1/openapi.json").json()["paths"]
    without = {
        path
        for path, operations in paths.items()
        if "post" in operations
        and "Idempotency-Key" not in [entry["name"] for entry in operations["post"].get("parameters", [])]
    }
    assert without == {"/api/v1/login-links"}


def test_key_with_another_body_is_refused(api: Caller, database_url: str) -> None:
    api.post(STUDIES, json=SMALL, headers=KEY)
    problem = problem_of(api.post(STUDIES, json={**SMALL, "seed": 1}, headers=KEY))
    assert (problem["status"], problem["type"]) == (422, "urn:tangent:problem:idempotency-key-reused")
    assert "'first-try' came with another body in the last 24 hours; take a new key" in problem["detail"]
    assert row_counts(database_url)["studies"] == 1


def test_same_key_names_different_requests_on_different_routes(api: Caller) -> None:
    one, two = submit(api), submit(api)
    for study_id in (one, two):
        assert api.post(f"{STUDIES}/{study_id}/pause", headers=KEY).json()["id"] == study_id


def test_request_that_is_being_answered_is_asked_to_wait(api: Caller, ledger: Database, database_url: str) -> None:
    with ledger.transaction() as connection:
        assert idempotency.begin(connection, KEY["Idempotency-Key"], f"POST {STUDIES}")
        response = api.post(STUDIES, json=SMALL, headers=KEY)
        assert response.headers["Retry-After"] == "1"
        problem = problem_of(response)
        assert (problem["status"], problem["type"]) == (409, "urn:tangent:problem:in-flight")
        assert row_counts(database_url)["studies"] == 0
    assert api.post(STUDIES, json=SMALL, headers=KEY).status_code == 202


def test_requests_at_once_act_once(start_api: StartApi, database_url: str) -> None:
    address, answers = start_api().address, []

    def send(_: int) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", **KEY}
        answers.append(httpx.post(f"{address}{STUDIES}", json=SMALL, headers=headers, timeout=30))

    in_threads(8, send)
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.content for answer in answers if answer.status_code == 202}) == 1
    assert row_counts(database_url)["studies"] == 1


def test_refused_request_did_nothing_and_may_be_sent_again(api: Caller, database_url: str) -> None:
    path = f"{STUDIES}/{submit(api)}/resume"
    assert api.post(path, headers=KEY).status_code == 409
    assert kept(database_url) == 0
    api.post(path.replace("resume", "pause"))
    assert api.post(path, headers=KEY).json()["state"] == "RUNNING"


@pytest.mark.parametrize("key", ["", '""', "a b", "a;b", "x" * 201, 'a"b'])
def test_key_that_is_none_is_refused(api: Caller, database_url: str, key: str) -> None:
    problem = problem_of(api.post(STUDIES, json=SMALL, headers={"Idempotency-Key": key}))
    assert problem["status"] == 422
    assert problem["errors"][0]["field"] == "Idempotency-Key"
    assert row_counts(database_url)["studies"] == 0


def test_key_may_stand_in_quotes(api: Caller) -> None:
    first = api.post(STUDIES, json=SMALL, headers={"Idempotency-Key": '"a"'})
    assert api.post(STUDIES, json=SMALL, headers={"Idempotency-Key": "a"}).json() == first.json()


def test_answers_are_kept_for_a_day_and_swept_then(api: Caller, ledger: Database, database_url: str) -> None:
    first = api.post(STUDIES, json=SMALL, headers=KEY).json()
    api.post(STUDIES, json=SMALL, headers={"Idempotency-Key": "later"})
    with ledger.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE idempotency_keys SET created_at = now() - interval '24 hours' WHERE key = 'first-try'"
        )
    assert api.post(STUDIES, json={**SMALL, "seed": 1}, headers=KEY).json()["id"] == first["id"] + 2
    with ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
        connection.exec_driver_sql("UPDATE idempotency_keys SET created_at = now() WHERE key = 'later'")
        assert idempotency.sweep_keys(connection) == 1
    assert kept(database_url) == 1


class LossyLink:
    """A TCP relay to the API that swallows the first answers: the request arrives, and the connection breaks."""

    def __init__(self, address: str, n_lost: int) -> None:
        url = httpx.URL(address)
        self._target, self._left = (url.host, url.port or 80), n_lost
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.n_requests = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(self._target) as server:
                self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """One request a connection; its body comes in a part of its own."""
        request = client.recv(65536)
        head, _, body = request.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        while len(body) < length:
            body += client.recv(65536)
        self.n_requests += 1
        server.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
        answer = b""
        while part := server.recv(65536):
            answer += part
        if self._left:
            self._left -= 1
        else:
            client.sendall(answer)


@pytest.fixture
def lossy(start_api: StartApi) -> Iterator[Any]:
    links: list[LossyLink] = []

    def make(n_lost: int) -> LossyLink:
        links.append(LossyLink(start_api().address, n_lost))
        return links[-1]

    yield make
    for link in links:
        link.close()


def test_submission_whose_answer_is_lost_twice_is_one_study(lossy: Any, database_url: str) -> None:
    link = lossy(2)
    with Client(link.address, TOKEN) as client:
        answer = client.submit(SMALL)
    assert (link.n_requests, row_counts(database_url)["studies"]) == (3, 1)
    assert answer["name"] == "small"


def test_client_gives_up_at_once_on_a_service_that_is_not_there() -> None:
    with Client("http://127.0.0.1:1", TOKEN) as client, pytest.raises(ServiceError, match="no Tangent answers at"):
        client.submit(SMALL)
