"""What the logins of API and workers may do, and what not."""

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from service.domain.trial import Outcome
from service.errors import ConfigurationError, StoreUnavailableError
from service.store import leases, reports, roles, studies, workers
from service.store.trials import cell_trials, get_trial, records
from tests.integration.store.support import (
    FINISHED,
    LEASE,
    WORKER,
    add_study,
    assert_consistent,
    claim,
    in_threads,
    own_database,
    registration,
)

PASSWORD = 'it\'s 100% "secret"'


def login(url, postgres, group):
    name = f"test_{group}"
    roles.ensure_login(url, name, PASSWORD, group)
    return postgres.url(user=name, password=PASSWORD, database=conninfo_to_dict(url)["dbname"])


@pytest.fixture
def as_worker(database_url, postgres):
    with own_database(login(database_url, postgres, roles.WORKER_GROUP)) as database:
        yield database


@pytest.fixture
def as_service(database_url, postgres):
    with own_database(login(database_url, postgres, roles.SERVICE_GROUP)) as database:
        yield database


def test_worker_can_do_all_that_a_trial_needs(ledger, as_worker):
    study = add_study(ledger, 3)
    epoch = {"epoch": 1, "step": 2, "value": 0.5, "metrics": {}, "layers": {}}
    with as_worker.transaction() as connection:
        assert workers.register_worker(connection, registration(worker_id=WORKER))
    with as_worker.transaction() as connection:
        assert workers.heartbeat(connection, WORKER) == "online"
        assert workers.register_worker(connection, registration(worker_id=WORKER))
    for end in ("finish", "hand back", "lost"):
        with as_worker.transaction() as connection:
            claimed = claim(connection)
        trial, attempt = claimed.trial_id, claimed.attempt
        with as_worker.transaction() as connection:
            assert leases.note_resumed(connection, trial, attempt, 0)
            assert leases.renew_lease(connection, trial, attempt, LEASE, [epoch]) is leases.Wish.GO_ON
            assert leases.save_checkpoint(connection, trial, attempt, {"step": 1})
            if end == "finish":
                assert leases.finish_trial(connection, trial, attempt, FINISHED)
            else:
                outcome = Outcome.LOST if end == "lost" else None
                assert leases.hand_back_trial(connection, trial, attempt, outcome=outcome, reason="r")
    with as_worker.transaction() as connection:
        row = studies.get_study(connection, study)
        assert len(records(connection, study)) == len(cell_trials(connection, study)) == 3
        assert get_trial(connection, study, 0)["outcome"] == "finished"
        assert reports.save_report(connection, study, row.revision, {"a": 1, "version": 7})
        assert reports.current_report(connection, study, 7) == {"a": 1, "version": 7}
        workers.queue_depths(connection)
        workers.sign_off(connection, WORKER)
    assert_consistent(ledger)


FORBIDDEN_TO_WORKERS = [
    *(f"DELETE FROM {t}" for t in ("studies", "trials", "attempts", "measurements", "events", "workers", "reports")),
    *(f"TRUNCATE {t}" for t in ("measurements", "events")),
    "UPDATE studies SET spec = '{}'",
    "UPDATE studies SET state = 'FINISHED'",
    "UPDATE studies SET priority = 9",
    "UPDATE events SET data = '{}'",
    "UPDATE arms SET optimizer = 'SGD'",
    "UPDATE cells SET winner = 0",
    "INSERT INTO studies (name) VALUES ('x')",
    "INSERT INTO trials (number) VALUES (1)",
    "UPDATE alembic_version SET version_num = 'x'",
    "CREATE TABLE mine (x int)",
    "DROP TABLE reports",
    "CREATE ROLE another LOGIN",
]


@pytest.mark.parametrize("statement", FORBIDDEN_TO_WORKERS)
def test_worker_is_refused(ledger, as_worker, statement):
    add_study(ledger, 1)
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        as_worker.transaction() as connection,
    ):
        connection.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = 'x'",
        "DELETE FROM alembic_version",
        "INSERT INTO alembic_version VALUES ('x')",
        "DROP TABLE studies",
        "CREATE TABLE mine (x int)",
        "TRUNCATE studies CASCADE",
    ],
)
def test_service_is_refused(as_service, statement):
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        as_service.transaction() as connection,
    ):
        connection.execute(text(statement))


def test_service_can_submit_cancel_and_delete(as_service):
    study = add_study(as_service, 2)
    with as_service.transaction() as connection:
        assert studies.end_study(connection, study, "CANCELLED")
        assert studies.cancel_stragglers(connection) == 0
        connection.execute(text("DELETE FROM studies"))
    add_study(as_service, 1)
    assert_consistent(as_service)


def test_logins_made_at_once_do_not_collide_and_the_password_works(database_url, postgres):
    urls = []
    in_threads(4, lambda _: urls.append(login(database_url, postgres, roles.WORKER_GROUP)))
    with own_database(urls[0]) as database:
        database.check()


def test_password_is_renewed(database_url, postgres):
    url = login(database_url, postgres, roles.WORKER_GROUP)
    roles.ensure_login(database_url, f"test_{roles.WORKER_GROUP}", "another", roles.WORKER_GROUP)
    with own_database(url) as database, pytest.raises(StoreUnavailableError, match="password"):
        database.check()


def test_login_that_may_make_no_roles_is_told_so_in_one_sentence(as_worker, database_url, postgres):
    url = login(database_url, postgres, roles.WORKER_GROUP)
    with pytest.raises(ConfigurationError, match=r"cannot make the login x: .*; migrate as the ledger's owner"):
        roles.ensure_login(url, "x", PASSWORD, roles.WORKER_GROUP)
