"""What a slot and a worker do while Postgres is away."""

import dataclasses
import threading
from datetime import timedelta

import pytest

from service.engines import PostgresServer
from service.errors import StoreUnavailableError
from service.store.database import Database
from service.store.migrate import upgrade
from tests.integration.workers.support import SLOW, add_study, trial_of, wait_until
from workers.attempt import execute


@pytest.fixture
def ledger(own_postgres: PostgresServer):
    url = own_postgres.start().url()
    upgrade(url)
    database = Database(url, application_name="tangent-tests")
    yield database
    database.close()


def test_training_goes_on_without_postgres_and_its_result_arrives_later(ledger, own_postgres, place, claim):
    study = add_study(ledger, workload=SLOW, options={"epochs": 2, "step_s": 0.03})
    taken = claim()
    short = dataclasses.replace(place, lease=timedelta(seconds=1.2))
    thread = threading.Thread(target=execute, args=(taken, short), daemon=True)
    thread.start()
    wait_until(lambda: trial_of(ledger, study)["measurements"])
    own_postgres.stop()
    thread.join(2)
    assert thread.is_alive()
    own_postgres.start()
    thread.join(10)
    trial = trial_of(ledger, study)
    assert (trial["outcome"], trial["attempt"]) == ("finished", 1)
    assert [row["epoch"] for row in trial["measurements"]] == [0, 1, 2]


def test_slot_that_has_to_stop_gives_up_after_a_few_seconds_without_postgres(ledger, own_postgres, place, claim):
    add_study(ledger, workload=SLOW, options={"epochs": 1, "step_s": 0.01})
    taken = claim()
    own_postgres.stop()
    place.stopping.set()
    with pytest.raises(StoreUnavailableError):
        execute(taken, place)


def test_worker_waits_for_postgres_and_for_the_migration_in_one_sentence_each(own_postgres, start_worker, redis):
    url = own_postgres.start().url()
    own_postgres.stop()
    worker = start_worker(queues="reports", TANGENT_DATABASE_URL=url)
    worker.wait_for_line("waiting: Postgres does not answer: ")
    own_postgres.start()
    worker.wait_for_line("waiting: the ledger is at schema revision None, this worker needs ")
    upgrade(url)
    worker.wait_for_line("serving reports with 0 slots")
    assert "Traceback" not in worker.text()
