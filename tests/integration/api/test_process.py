"""The API as a process, and the client against it."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from service.client import Client
from service.domain.trial import StudyId
from service.errors import ServiceError
from service.store import migrate
from service.store.database import Database
from tests.integration.api.conftest import StartApi
from tests.integration.api.support import REPOSITORY, SMALL, STUDIES, ApiProcess, register, row_counts, run
from tests.unit.api.support import NOWHERE, TOKEN, problem_of

MODULES_AT_EXIT = """
import atexit, json, runpy, sys
def tell():
    names = {name.partition(".")[0] for name in sys.modules}
    sys.stderr.write("MODULES " + json.dumps(sorted(names)) + "\\n")
atexit.register(tell)
runpy.run_module("service.api", run_name="__main__")
"""


def test_address_is_one_line_of_json_and_answers(start_api: StartApi) -> None:
    api = start_api()
    assert set(json.loads(api.line)) == {"address"}
    response = httpx.get(f"{api.address}/readyz")
    assert response.json() == {"status": "ok", "postgres": "ok", "redis": "not configured"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_in_good_order_with_exit_code_0(start_api: StartApi, number: signal.Signals) -> None:
    code, errors = start_api().stop(number)
    assert code == 0, errors
    assert "Traceback" not in errors


def test_port_in_use_is_one_sentence_and_exit_code_1(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, errors = ApiProcess(database_url, TANGENT_API_PORT=str(port)).stop()
    assert code == 1
    assert errors.count("\n") == 1
    assert f"cannot listen on port {port} of 127.0.0.1" in errors
    assert "TANGENT_API_PORT" in errors


def test_process_that_serves_has_loaded_neither_torch_nor_workers(database_url: str, ledger: Database) -> None:
    api = ApiProcess(database_url, python=("-c", MODULES_AT_EXIT))
    with api.client() as client:
        study_id = StudyId(client.submit(SMALL)["id"])
        run(ledger, study_id)
        client.report(study_id)
        client.export(study_id)
        list(client.events(study_id))
    _, errors = api.stop()
    (line,) = [line for line in errors.splitlines() if line.startswith("MODULES ")]
    modules = set(json.loads(line.removeprefix("MODULES ")))
    assert "service" in modules
    assert not modules & {"torch", "workers", "adamp"}


def test_postgres_that_does_not_answer_keeps_the_process_alive(start_api: StartApi) -> None:
    api = start_api(url=NOWHERE)
    assert httpx.get(f"{api.address}/healthz").status_code == 200
    assert httpx.get(f"{api.address}/readyz").status_code == 503
    with api.client() as client, pytest.raises(ServiceError) as caught:
        client.list_studies()
    assert caught.value.status == 503


def test_ledger_that_is_not_migrated_is_not_ready(start_api: StartApi, database_url: str) -> None:
    migrate.downgrade(database_url, "base")
    response = httpx.get(f"{start_api().address}/readyz")
    assert response.status_code == 503
    assert "revision None, this code needs" in response.json()["postgres"]


def test_redis_is_for_information(start_api: StartApi) -> None:
    response = httpx.get(f"{start_api(TANGENT_REDIS_URL='redis://127.0.0.1:1/0').address}/readyz")
    assert (response.status_code, response.json()["redis"]) == (200, "does not answer")


@pytest.mark.parametrize("n_bytes", [2_000_000, 40_000_000])
def test_large_body_gets_its_answer_over_a_real_connection(
    start_api: StartApi, database_url: str, n_bytes: int
) -> None:
    api = start_api()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}

    def chunks() -> Iterator[bytes]:
        for _ in range(n_bytes // 100_000):
            yield b" " * 100_000

    for content in (b" " * n_bytes, chunks()):
        response = httpx.post(f"{api.address}{STUDIES}", content=content, headers=headers, timeout=30)
        assert problem_of(response)["status"] == 413
    assert row_counts(database_url)["studies"] == 0


def test_token_and_host_are_checked_over_a_real_connection(start_api: StartApi) -> None:
    api = start_api()
    assert problem_of(httpx.get(f"{api.address}{STUDIES}"))["status"] == 401
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
    assert problem_of(httpx.get(f"{api.address}{STUDIES}", headers=headers))["status"] == 400
    assert "server" not in httpx.get(f"{api.address}/healthz").headers


def test_client_does_all_that_the_command_line_needs(start_api: StartApi, ledger: Database) -> None:
    register(ledger)
    with start_api().client() as client:
        assert client.validate(SMALL)["cost"]["n_trainings"] == 54
        study_id = client.submit(SMALL)["id"]
        yaml_id = client.submit("name: y\nworkload: {name: digits-mlp}\narms: [{name: a, optimizer: SGD}]\n")["id"]
        assert [entry["id"] for entry in client.list_studies()] == [yaml_id, study_id]
        assert [entry["id"] for entry in client.list_studies(limit=1)] == [yaml_id]
        assert client.cancel(yaml_id)["state"] == "CANCELLED"
        assert [entry["id"] for entry in client.list_studies(state="CANCELLED")] == [yaml_id]
        run(ledger, StudyId(study_id))
        assert client.show(study_id)["state"] == "FINISHED"
        assert len(client.trials(study_id)) == 54
        assert len(client.trials(study_id, limit=5)) == 5
        assert len(client.trials(study_id, arm="adamp", phase="confirm", state="COMPLETE")) == 6
        assert client.trial(study_id, 3)["number"] == 3
        assert client.report(study_id)["comparisons"][0]["effect"]["n"] == 3
        assert json.loads(client.export(study_id))["schema"] == 1
        assert client.export(study_id, "csv").count("\n") == 55
        assert len(client.catalog()["optimizers"]) == 6
        assert client.workers()[0]["hostname"] == "here"


def test_clients_error_is_the_services_words_with_its_fields(start_api: StartApi) -> None:
    with start_api().client() as client:
        with pytest.raises(ServiceError) as caught:
            client.submit({**SMALL, "replicates": 0, "workload": {"name": "digits-cn"}})
        assert str(caught.value).splitlines() == [
            "the study cannot run as described: 2 problems",
            "  workload.name: unknown workload 'digits-cn'; known: digits-cnn, digits-mlp; did you mean digits-cnn?",
            "  replicates: must be in [1, 4095], got 0",
        ]
        assert caught.value.status == 422
        with pytest.raises(ServiceError, match="there is no study 77"):
            list(client.events(77))
    with Client(client.base_url, "not the token, I fear") as stranger, pytest.raises(ServiceError) as caught:
        stranger.workers()
    assert caught.value.status == 401


def test_client_without_a_service_says_how_to_start_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", TOKEN) as client, pytest.raises(ServiceError) as caught:
        client.list_studies()
    assert str(caught.value) == f"no Tangent answers at http://127.0.0.1:{port}; `tangent up` starts one"


@pytest.mark.parametrize("address", ["", "nonsense", "ftp://x", "http://[", "http://x:y"])
def test_client_with_a_wrong_address_says_so(address: str) -> None:
    with pytest.raises(ServiceError), Client(address, TOKEN) as client:
        client.list_studies()


def test_openapi_module_writes_what_is_committed() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from service.api.openapi import render; print(render(), end='')"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == (REPOSITORY / "docs" / "openapi.json").read_text(encoding="utf-8")
