"""Two hosts: one with the engines, API and coordinator, the other with a worker; cut off and joined again."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.domain.trial import StudyId
from service.engines import remove_engines
from service.store.database import Database
from service.store.migrate import upgrade
from service.store.studies import end_study
from tests.integration.faults.hosts import SERVER, WORKER, Cable, on, postgres_on_server, redis_on_server, two_hosts
from tests.integration.faults.support import (
    LEASE_S,
    TOKEN,
    Program,
    Service,
    counts_of,
    pause,
    resume,
    study_of,
    submit,
    trial_of,
    wait_for_trial,
    wait_until,
)
from tests.integration.store.support import assert_consistent

pytestmark = pytest.mark.network
OPTIONS = {"epochs": 12, "step_s": 0.05}
"""192 steps, 10 seconds and more."""
LIST = """
import httpx, sys
answer = httpx.get("http://127.0.0.1:8417/api/v1/studies", headers={"Authorization": "Bearer " + sys.argv[1]})
print(answer.status_code)
"""


class Hosts:
    """A service over two hosts."""

    def __init__(self, folder: Path, cable: Cable, near: tuple[str, str], far: tuple[str, str]) -> None:
        """Addresses of PostgreSQL and Redis on the server's host itself, and from the worker's host."""
        self.cable, self.ledger = cable, Database(near[0], application_name="tangent-tests")
        self._here, self._there = Service(folder, *near), Service(folder, *far)
        self._folder = folder
        upgrade(near[0])

    def on_server(self, module: str, *arguments: str, **settings: Any) -> Program:
        """Start a program on the host with the engines."""
        return self._here.start(module, *arguments, prefix=self._place(SERVER), **settings)

    def on_worker(self, module: str, *arguments: str, **settings: Any) -> Program:
        """Start a program on the other one."""
        return self._there.start(module, *arguments, prefix=self._place(WORKER), **settings)

    def _place(self, host: str) -> tuple[str, ...]:
        """Each program sees a disk of its own where the checkpoints lie."""
        folder = self._folder / "checkpoints"
        folder.mkdir(exist_ok=True)
        return (*on(host), "sh", "-c", f'mount -t tmpfs tmpfs {folder} && exec "$@"', "sh")

    def close(self) -> None:
        self.ledger.close()
        self._here.close()
        self._there.close()


@pytest.fixture
def hosts(engines_home: Path, tmp_path: Path) -> Iterator[Hosts]:
    home = engines_home.parent / "two-hosts"
    with two_hosts() as cable, postgres_on_server(home) as postgres, redis_on_server(tmp_path) as redis:
        hosts = Hosts(tmp_path, cable, (postgres[0], redis[0]), (postgres[1], redis[1]))
        yield hosts
        hosts.close()
    remove_engines(home)


def wait_for_checkpoint(ledger: Database, study_id: StudyId) -> None:
    def noted() -> bool:
        with ledger.transaction() as connection:
            query = "SELECT checkpoint IS NOT NULL FROM trials WHERE study_id = %(id)s AND number = 0"
            return bool(connection.exec_driver_sql(query, {"id": study_id}).scalar_one_or_none())

    wait_until(noted, "a checkpoint")


def is_refused(worker: Program) -> bool:
    """It was still training, or had finished meanwhile."""
    said = worker.text()
    return "has lost its lease; it is given up" in said or "came too late: nothing was written" in said


@pytest.mark.timeout(300)
def test_host_that_is_cut_off_goes_on_after_a_moment_and_is_replaced_after_a_lease(hosts: Hosts) -> None:
    ledger = hosts.ledger
    coordinator = hosts.on_server("service.coordinator")
    api = hosts.on_server("service.api", TANGENT_API_TOKEN=TOKEN)
    near = hosts.on_server("workers", "--queues", "cpu")
    far = hosts.on_worker("workers", "--queues", "cpu")
    api.wait_for_line('{"address"')
    for worker in (near, far):
        worker.wait_for_line("serving cpu with 1 slots")
    pause(near.pid)
    study_id = submit(ledger, study_of(options=OPTIONS))
    wait_for_checkpoint(ledger, study_id)
    worker_id = trial_of(ledger, study_id)["worker_id"]

    hosts.cable.pull()
    hosts.cable.plug()
    far_measured = len(trial_of(ledger, study_id)["measurements"])
    wait_until(lambda: len(trial_of(ledger, study_id)["measurements"]) > far_measured, "renewals after a short cut")
    trial = trial_of(ledger, study_id)
    assert (trial["state"], trial["attempt"], trial["worker_id"]) == ("RUNNING", 1, worker_id)

    hosts.cable.pull()
    resume(near.pid)
    wait_until(lambda: trial_of(ledger, study_id)["attempt"] == 2, "the trial taken over", 6 * LEASE_S)
    assert not hosts.cable.is_plugged()
    assert trial_of(ledger, study_id)["worker_id"] != worker_id
    status = subprocess.run(
        [*on(SERVER), sys.executable, "-c", LIST, TOKEN], capture_output=True, text=True, check=True
    )
    assert status.stdout == "200\n"
    hosts.cable.plug()
    wait_until(lambda: is_refused(far), "the refusal of what the other host writes late", 60)

    trial = wait_for_trial(ledger, study_id, patience_s=90)
    assert [attempt["outcome"] for attempt in trial["attempts"]] == ["lost", "finished"]
    assert trial["attempts"][1]["resumed_from_step"] == 0
    assert "restarts at step 0: the checkpoint" in near.text()
    assert [row["epoch"] for row in trial["measurements"]] == list(range(13))
    with ledger.transaction() as connection:
        end_study(connection, study_id, "CANCELLED", "the test has seen enough")

    quick = submit(ledger, study_of(4, workload="digits-mlp"))
    wait_until(lambda: counts_of(ledger, quick)["state"] == "FINISHED", "a study of both hosts", 60)
    assert_consistent(ledger)
    assert coordinator.is_running
    assert "Traceback" not in far.text() + near.text() + coordinator.text() + api.text()
