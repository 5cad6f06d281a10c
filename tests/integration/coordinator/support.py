"""Coordinators as threads and as processes, slots that train a formula, and what a whole study must look like."""

import math
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from service.config import Settings
from service.coordinator import Coordinator
from service.domain.study import Study
from service.domain.trial import Outcome, Phase, StudyId, TrialRecord
from service.queue import make_app
from service.store.database import Database
from service.store.leases import Claim, Finish, finish_trial
from service.store.studies import StudyRow, get_study, insert_study
from service.store.trials import records
from tests.integration.store.support import assert_consistent, claim

REPOSITORY = Path(__file__).parents[3]
NOWHERE = "redis://127.0.0.1:1/0"


def toy(claimed: Claim) -> Finish:
    """A deterministic endpoint of parameters and seed; very large learning rates diverge."""
    lr = float(claimed.params["lr"])
    if lr > 0.08:
        return Finish(Outcome.DIVERGED, duration_s=0.01, cpu_s=0.01)
    value = 0.1 + (math.log10(lr) + 2) ** 2 + 0.01 * (claimed.seed % 97) / 97
    test_value = value if claimed.phase is Phase.CONFIRM else None
    return Finish(Outcome.FINISHED, value=value, test_value=test_value, duration_s=0.01, cpu_s=0.01)


class Slots:
    """Threads that claim and finish until the block ends, the way workers do; `train` is what they do between."""

    def __init__(self, database: Database, n_slots: int, train: Callable[[Claim], Finish | None] = toy) -> None:
        self._database, self._train = database, train
        self._stop = threading.Event()
        self.errors: list[Exception] = []
        self.n_claims = 0
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(n_slots)]

    def __enter__(self) -> "Slots":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.errors == []

    def _run(self, slot: int) -> None:
        try:
            while not self._stop.is_set():
                if not self._work(slot):
                    self._stop.wait(0.005)
        except Exception as error:  # noqa: BLE001 (asserted at the end)
            self.errors.append(error)

    def _work(self, slot: int) -> bool:
        with self._database.transaction() as connection:
            claimed = claim(connection, slot=slot)
        if claimed is None:
            return False
        self.n_claims += 1
        finish = self._train(claimed)
        if finish is not None:
            with self._database.transaction() as connection:
                finish_trial(connection, claimed.trial_id, claimed.attempt, finish)
        return True


def settings(database_url: str, redis_url: str = NOWHERE, **changes: Any) -> Settings:
    times = {"poll": timedelta(seconds=0.5), "sweep": timedelta(seconds=0.3), "lease": timedelta(seconds=5)}
    return Settings(database_url=database_url, redis_url=redis_url, **{**times, **changes})


@contextmanager
def coordinating(database_url: str, redis_url: str = NOWHERE, **changes: Any) -> Iterator[Coordinator]:
    """A coordinator in a thread."""
    database = Database(database_url, application_name="tangent-coordinator", pool_size=1)
    coordinator = Coordinator(database, make_app(redis_url), settings(database_url, redis_url, **changes))
    stop = threading.Event()
    errors: list[BaseException] = []

    def body() -> None:
        try:
            coordinator.run(stop)
        except BaseException as error:  # noqa: BLE001 (asserted at the end)
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield coordinator
    finally:
        stop.set()
        coordinator.wake()
        thread.join(20)
        database.close()
    assert not thread.is_alive()
    assert errors == []


class Process:
    """`python -m service.coordinator`, ended for certain with the block."""

    def __init__(self, log: Path, database_url: str, redis_url: str = NOWHERE) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
        times = {"TANGENT_POLL": "0.5", "TANGENT_SWEEP": "0.3", "TANGENT_LEASE": "5"}
        addresses = {"TANGENT_DATABASE_URL": database_url, "TANGENT_REDIS_URL": redis_url}
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "service.coordinator"],
                cwd=REPOSITORY,
                env={**own, **times, **addresses},
                stdin=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
            )
        self.log = log

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(10)

    def kill(self) -> None:
        """SIGKILL, and proof that the process is gone."""
        assert self.popen.poll() is None, "it had ended by itself"
        self.popen.kill()
        assert self.popen.wait(10) == -9
        assert not psutil.pid_exists(self.popen.pid)


def submit(ledger: Database, study: Study) -> StudyId:
    with ledger.transaction() as connection:
        return insert_study(connection, study, {})


def wait_for(condition: Callable[[], Any], patience_s: float = 40.0) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


def row_of(ledger: Database, study_id: StudyId) -> StudyRow:
    with ledger.transaction() as connection:
        row = get_study(connection, study_id)
    assert row is not None
    return row


def wait_for_end(ledger: Database, study_id: StudyId, patience_s: float = 40.0) -> StudyRow:
    return wait_for(lambda: (row := row_of(ledger, study_id)).is_finished and row, patience_s)


def records_of(ledger: Database, study_id: StudyId) -> list[TrialRecord]:
    with ledger.transaction() as connection:
        return records(connection, study_id)


def suggestions_of(ledger: Database, study_id: StudyId) -> dict[tuple[str, int, int], Any]:
    """(arm, replicate, cell_number) to parameters, seed, phase and config."""
    return {
        (t.arm, t.replicate, t.cell_number): (t.phase, t.config, t.seed_index, t.seed, dict(t.params))
        for t in records_of(ledger, study_id)
    }


def assert_whole(ledger: Database, study_id: StudyId) -> None:
    """A finished study: exactly T counted in each cell, select and confirm runs as planned, none twice."""
    study = row_of(ledger, study_id).study
    trials = records_of(ledger, study_id)
    assert all(trial.state.is_finished for trial in trials)
    for arm in study.arms:
        for replicate in range(study.replicates):
            cell = [t for t in trials if (t.arm, t.replicate) == (arm.name, replicate)]
            counted = Counter(t.phase for t in cell if t.outcome and t.outcome.counts)
            assert counted == study.runs_per_cell()
            assert sorted(t.cell_number for t in cell) == list(range(len(cell)))
            select = [(t.config, t.seed_index) for t in cell if t.phase is Phase.SELECT]
            assert len(set(select)) == len(select) == study.select_top * study.select_seeds
            confirm = [t for t in cell if t.phase is Phase.CONFIRM]
            assert sorted(t.seed_index for t in confirm) == list(range(study.confirm_seeds))
            assert len({t.config for t in confirm}) == 1
            seeds = [t.seed for t in cell if t.phase is Phase.SEARCH] + [t.seed for t in confirm]
            assert len(set(seeds)) == len(seeds)
    assert_consistent(ledger)
    with ledger.transaction() as connection:
        mine = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert connection.execute(mine).scalar_one() == 0


def finish_with(outcomes: Sequence[Outcome]) -> Callable[[Claim], Finish]:
    """Ends in turn, then the toy's."""
    left = list(outcomes)

    def train(claimed: Claim) -> Finish:
        return Finish(left.pop(0), reason="by the test") if left else toy(claimed)

    return train
