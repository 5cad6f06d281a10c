"""Redis is killed and comes back empty, is away, or hangs: work is late at most, and nobody waits for ever."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from service.store.database import Database
from tests.integration.faults.conftest import Engine
from tests.integration.faults.support import (
    DOCUMENT,
    Api,
    Service,
    counts_of,
    now_of,
    pause,
    resume,
    study_of,
    submit,
    wait_until,
)

SWEEP_S = 2.0
SETTINGS = {"TANGENT_SWEEP": str(SWEEP_S), "TANGENT_SLOTS": "2"}


@pytest.fixture
def service(database_url: str, own_redis: Engine, tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, database_url, own_redis.url)
    yield service
    service.close()


def is_refused(url: str) -> bool:
    """True where nothing listens at the address of a Redis."""
    try:
        with redis_client.Redis.from_url(url, socket_timeout=2) as client:
            client.ping()
    except (redis_client.ConnectionError, FileNotFoundError):
        return True
    return False


def test_every_queued_trial_runs_within_two_sweeps_of_an_empty_redis(
    service: Service, own_redis: Engine, ledger: Database
) -> None:
    """Away for so long that a client that waits longer and longer between its attempts would come too late."""
    service.coordinator(**SETTINGS)
    service.worker(**SETTINGS)
    own_redis.kill()
    study_id = submit(ledger, study_of(2, options={"epochs": 1, "step_s": 0.5}))
    wait_until(lambda: counts_of(ledger, study_id)["n_waiting"] == 2, "two trials in the queue")
    time.sleep(7)  # Celery's own consumer would look after 2, 6 and 12 s
    assert is_refused(own_redis.url)
    assert counts_of(ledger, study_id)["n_waiting"] == 2
    own_redis.start()
    since = now_of(ledger)
    with redis_client.Redis.from_url(own_redis.url) as client:
        assert client.dbsize() == 0 or client.llen("cpu") <= 2
    wait_until(lambda: counts_of(ledger, study_id)["n_running"] == 2, "both trials running")
    with ledger.transaction() as connection:
        last = connection.exec_driver_sql("SELECT max(started_at) FROM trials").scalar_one()
    assert (last - since).total_seconds() < 2 * SWEEP_S


def submitted(api: Api) -> tuple[int, float]:
    """Status code and seconds of a submission."""
    before = time.monotonic()
    response = api.post("/api/v1/studies", DOCUMENT)
    return response.status_code, time.monotonic() - before


def test_submitting_is_accepted_while_redis_is_away_and_the_study_runs_when_it_is_back(
    service: Service, own_redis: Engine, ledger: Database
) -> None:
    api = service.api()
    service.coordinator()
    own_redis.kill()
    assert is_refused(own_redis.url)
    for _ in range(3):
        assert submitted(api)[0] == 202
    assert api.get("/readyz").json() == {"status": "ok", "postgres": "ok", "redis": "does not answer"}
    service.start("workers", "--queues", "cpu").wait_for_line("waiting: Redis does not answer")
    own_redis.start()
    wait_until(lambda: all_finished(ledger), "three finished studies", 60)


def all_finished(ledger: Database) -> bool:
    with ledger.transaction() as connection:
        states = list(connection.exec_driver_sql("SELECT state FROM studies").scalars())
    return states == ["FINISHED"] * 3


def test_redis_that_hangs_holds_up_neither_api_nor_coordinator_nor_a_running_slot(
    service: Service, own_redis: Engine, ledger: Database
) -> None:
    """SIGSTOP: connections are accepted, and no answer ever comes."""
    api = service.api()
    service.coordinator()
    worker = service.worker()
    running = submit(ledger, study_of(options={"epochs": 2, "step_s": 0.1}))
    wait_until(lambda: counts_of(ledger, running)["n_running"] == 1, "a trial that runs")
    pause(own_redis.pid)
    try:
        status, seconds = submitted(api)
        assert (status, seconds < 10) == (202, True)
        assert api.get("/readyz").json()["redis"] == "does not answer"
        wait_until(lambda: counts_of(ledger, running)["n_complete"] >= 1, "a trial finished meanwhile", 20)
        # The coordinator hints in vain again and again, and asks for the next trials all the same.
        others = [submit(ledger, study_of(workload="digits-mlp")) for _ in range(3)]
        wait_until(lambda: all(n_trials(ledger, study) for study in others), "trials of all studies", 20)
        assert worker.stop() == 0
        assert "Traceback" not in worker.text()
    finally:
        resume(own_redis.pid)


def n_trials(ledger: Database, study_id: Any) -> int:
    counts = counts_of(ledger, study_id)
    return int(counts["n_waiting"] + counts["n_running"] + counts["n_complete"])
