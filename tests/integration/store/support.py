"""Studies with waiting trials, slots that claim them, and the consistency that every test ends with."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from service.domain.catalog import BUILT_IN
from service.domain.study import Arm, Limits, SearchPlan, Study
from service.domain.trial import Outcome, Phase, StudyId
from service.store.database import Database
from service.store.leases import Capabilities, Claim, Finish, claim_next_trial
from service.store.studies import cells_of, insert_study
from service.store.trials import NewTrial, insert_trials
from service.store.workers import Registration, register_worker

WORKER = UUID("00000000-0000-0000-0000-000000000001")
LEASE = timedelta(seconds=30)
GONE = timedelta(seconds=-1)
PARAMS = {"lr": 0.01, "weight_decay": 0.001, "one_minus_beta1": 0.1}
FINISHED = Finish(Outcome.FINISHED, value=0.5)


def make_study(optimizers: Sequence[str] = ("AdamW",), **changes: Any) -> Study:
    """A valid study with an arm for each optimizer, named arm0, arm1 …"""
    arms = tuple(Arm(f"arm{i}", name, BUILT_IN.optimizers[name].default_space) for i, name in enumerate(optimizers))
    fields: dict[str, Any] = {
        "name": "test",
        "workload": "digits-mlp",
        "arms": arms,
        "compare": (),
        "options": {"epochs": 1},
        "search": SearchPlan(trials=4),
        "select_top": 2,
        "select_seeds": 2,
        "confirm_seeds": 2,
        "replicates": 1,
        **changes,
    }
    return Study(**fields)


def add_study(
    ledger: Database,
    n_trials: int = 1,
    *,
    optimizers: Sequence[str] = ("AdamW",),
    attempts: int = 3,
    sort_keys: Sequence[int] | None = None,
    columns: dict[str, Any] | None = None,
    **changes: Any,
) -> StudyId:
    """A study with `n_trials` waiting trials, dealt out to the arms; `columns` are then set on its row."""
    study = make_study(optimizers, limits=Limits(attempts=attempts), **changes)
    with ledger.transaction() as connection:
        study_id = insert_study(connection, study, {})
        for name, value in (columns or {}).items():
            connection.execute(text(f"UPDATE studies SET {name} = :v WHERE id = :i"), {"v": value, "i": study_id})
        add_trials(connection, study_id, study, n_trials, sort_keys)
    return study_id


def add_trials(
    connection: Connection,
    study_id: StudyId,
    study: Study,
    n_trials: int,
    sort_keys: Sequence[int] | None = None,
    start: int = 0,
) -> int | None:
    cells = cells_of(connection, study_id)
    rows = [
        NewTrial(
            cell_id=cells[i % len(cells)].id,
            cell_number=i // len(cells),
            phase=Phase.SEARCH,
            config=i // len(cells),
            seed_index=0,
            seed=i,
            optimizer=study.arm(cells[i % len(cells)].arm).optimizer,
            params=PARAMS,
            sort_key=sort_keys[i] if sort_keys else i,
        )
        for i in range(start, start + n_trials)
    ]
    return insert_trials(connection, study_id, rows) if rows else 0


def capabilities(**changes: Any) -> Capabilities:
    fields: dict[str, Any] = {
        "devices": ("cpu",),
        "workloads": ("digits-mlp", "digits-cnn"),
        "optimizers": tuple(BUILT_IN.optimizers),
        "code_revision": "r1",
        **changes,
    }
    return Capabilities(**fields)


def claim(
    connection: Connection, *, queue: str = "cpu", slot: int = 0, lease: timedelta = LEASE, **changes: Any
) -> Claim | None:
    return claim_next_trial(
        connection, queue, capabilities(**changes), worker_id=WORKER, slot=slot, environment_id=None, lease=lease
    )


def claim_one(ledger: Database, **changes: Any) -> Claim:
    """A claim that must find something, committed."""
    with ledger.transaction() as connection:
        claimed = claim(connection, **changes)
    assert claimed is not None
    return claimed


def registration(**changes: Any) -> Registration:
    fields: dict[str, Any] = {
        "worker_id": uuid4(),
        "hostname": "here",
        "pid": 1,
        "queues": ("cpu",),
        "devices": ("cpu",),
        "n_slots": 2,
        "code_revision": "r1",
        "optimizers": {},
        "workloads": {},
        "environment": {"python": "3"},
        **changes,
    }
    return Registration(**fields)


def register(ledger: Database, **changes: Any) -> str:
    with ledger.transaction() as connection:
        return register_worker(connection, registration(**changes))


_COUNTED = text("""
    SELECT s.id, s.revision, s.next_number,
           ARRAY[s.n_waiting, s.n_running, s.n_complete, s.n_pruned, s.n_fail, s.n_diverged] AS counters,
           ARRAY[count(t.id) FILTER (WHERE t.state = 'WAITING'), count(t.id) FILTER (WHERE t.state = 'RUNNING'),
                 count(t.id) FILTER (WHERE t.state = 'COMPLETE'), count(t.id) FILTER (WHERE t.state = 'PRUNED'),
                 count(t.id) FILTER (WHERE t.state = 'FAIL'),
                 count(t.id) FILTER (WHERE t.outcome = 'diverged')] AS counts,
           array_agg(t.number ORDER BY t.number) FILTER (WHERE t.id IS NOT NULL) AS numbers,
           (SELECT array_agg(e.revision ORDER BY e.revision) FROM events e WHERE e.study_id = s.id) AS revisions
    FROM studies s LEFT JOIN trials t ON t.study_id = s.id GROUP BY s.id
""")
_ATTEMPTS = text("""
    SELECT t.id FROM trials t LEFT JOIN attempts a ON a.trial_id = t.id
    GROUP BY t.id HAVING count(a.attempt) <> t.attempt OR count(*) FILTER (WHERE a.ended_at IS NULL AND a.attempt > 0)
        <> (t.state = 'RUNNING')::int
""")


def assert_counters(connection: Connection) -> None:
    """Counters equal counts; revisions and numbers have no gaps; every attempt has its row and its end."""
    for row in connection.execute(_COUNTED):
        assert row.counters == row.counts, f"study {row.id}"
        assert row.revisions == list(range(1, row.revision + 1)), f"study {row.id}"
        assert (row.numbers or []) == list(range(row.next_number)), f"study {row.id}"
    assert connection.execute(_ATTEMPTS).all() == []


def assert_consistent(ledger: Database) -> None:
    with ledger.transaction() as connection:
        assert_counters(connection)


def state_of(ledger: Database, table: str, row_id: int) -> Any:
    """A row of a table by its id."""
    with ledger.transaction() as connection:
        return connection.execute(text(f"SELECT * FROM {table} WHERE id = :id"), {"id": row_id}).one()


def in_threads(n_threads: int, work: Callable[[int], None]) -> None:
    """Run `work(i)` in threads that start together; raises the first error of any."""
    barrier = threading.Barrier(n_threads)
    errors: list[BaseException] = []

    def body(index: int) -> None:
        try:
            barrier.wait(10)
            work(index)
        except BaseException as error:  # noqa: BLE001 (raised again in the test's thread)
            errors.append(error)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


@contextmanager
def own_database(url: str, pool_size: int = 10) -> Iterator[Database]:
    """Another pool on the same ledger."""
    database = Database(url, application_name="tangent-tests", pool_size=pool_size)
    try:
        yield database
    finally:
        database.close()


def wait_until_blocked(ledger: Database, n_backends: int = 1) -> None:
    """Return once so many backends of this database wait for a lock."""
    statement = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(500):
        with ledger.transaction() as connection:
            if connection.execute(statement).scalar_one() >= n_backends:
                return
        threading.Event().wait(0.01)
    raise AssertionError("nobody waits for a lock")
