"""PostgreSQL is killed while a trial runs: the API says so, the slot trains on, nothing is written twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engines import RedisHandle
from service.store.database import Database
from tests.integration.faults.conftest import Engine
from tests.integration.faults.support import (
    DOCUMENT,
    Api,
    Service,
    counts_of,
    study_of,
    submit,
    trial_of,
    wait_for_trial,
    wait_until,
)
from tests.integration.store.support import assert_consistent

OPTIONS = {"epochs": 2, "step_s": 0.1}
"""32 steps, about 3.5 seconds."""


@pytest.fixture
def service(own_postgres: Engine, redis: RedisHandle, tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, own_postgres.url, redis.url)
    yield service
    service.close()


@pytest.fixture
def ledger(own_postgres: Engine) -> Iterator[Database]:
    database = Database(own_postgres.url, application_name="tangent-tests")
    yield database
    database.close()


def expect_unavailable(api: Api) -> None:
    for response in (api.get("/api/v1/studies"), api.post("/api/v1/studies", DOCUMENT)):
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
        assert response.json()["type"] == "urn:tangent:problem:store-unavailable"


def n_rows(ledger: Database) -> dict[str, int]:
    """Rows that exist once for each thing that happened."""
    counts = {}
    with ledger.transaction() as connection:
        for name, query in {
            "finished attempts": "SELECT count(*) FROM attempts WHERE outcome = 'finished'",
            "ends told": "SELECT count(*) FROM events WHERE kind = 'trial' AND data ->> 'state' = 'COMPLETE'",
            "attempts": "SELECT count(*) FROM attempts",
            "trials": "SELECT count(*) FROM trials",
        }.items():
            counts[name] = connection.exec_driver_sql(query).scalar_one()
    return counts


@pytest.mark.parametrize("ends_meanwhile", [True, False], ids=["trial ends meanwhile", "trial goes on"])
def test_postgres_that_is_killed_and_started_again_costs_nothing_but_time(
    service: Service, own_postgres: Engine, ledger: Database, ends_meanwhile: bool
) -> None:
    api, coordinator, worker = service.api(), service.coordinator(), service.worker()
    study_id = submit(ledger, study_of(options=OPTIONS))
    wait_until(lambda: counts_of(ledger, study_id)["n_running"] and trial_of(ledger, study_id)["measurements"], "a run")
    (slot,) = worker.slots()
    ledger.close()
    own_postgres.kill()
    expect_unavailable(api)
    used = slot.cpu_times().user
    if ends_meanwhile:
        worker.wait_for_line("trying again to finish trial 1")
    else:
        wait_until(lambda: slot.cpu_times().user > used, "training without Postgres")
    expect_unavailable(api)
    own_postgres.start()
    wait_until(lambda: api.get("/api/v1/studies").status_code == 200, "the API's recovery")
    first = wait_for_trial(ledger, study_id)
    assert (first["outcome"], first["attempt"]) == ("finished", 1)
    assert [row["epoch"] for row in first["measurements"]] == [0, 1, 2]
    assert worker.slots()[0].pid == slot.pid
    wait_until(lambda: counts_of(ledger, study_id)["state"] == "FINISHED", "the study's end", 60)
    assert n_rows(ledger) == {"finished attempts": 3, "ends told": 3, "attempts": 3, "trials": 3}
    assert_consistent(ledger)
    assert coordinator.is_running
    assert "Traceback" not in worker.text() + coordinator.text() + api.program.text()
