"""Both sides of the comparison: a study in our ledger with its coordinator, a study in Optuna's RDB storage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from sqlalchemy import Engine, event, text

from service.domain.study import SearchPlan
from service.domain.trial import Outcome, Phase, StudyId
from service.store.database import Database, driver_url
from service.store.leases import Claim, Finish, finish_trial
from service.store.studies import get_study, insert_study
from tests.bench._engines import Engines, coordinating
from tests.integration.store.support import claim, make_study

N_REPORTS = 5
_LOOK_S = 0.002


class Cost:
    """Wall and processor seconds, statements and commits of this process between two moments."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0
        self.n_statements = self.n_commits = 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count what happens in the block."""

        def statement(*_: object) -> None:
            self.n_statements += 1

        def commit(*_: object) -> None:
            self.n_commits += 1

        event.listen(Engine, "before_cursor_execute", statement)
        event.listen(Engine, "commit", commit)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu
            event.remove(Engine, "before_cursor_execute", statement)
            event.remove(Engine, "commit", commit)

    def per_trial(self, n_trials: int) -> dict[str, float]:
        return {
            "wall_ms": 1e3 * self.wall_s / n_trials,
            "cpu_ms": 1e3 * self.cpu_s / n_trials,
            "statements": self.n_statements / n_trials,
            "commits": self.n_commits / n_trials,
        }


def objective(params: dict[str, Any]) -> list[float]:
    """Five reports of a curve that falls to an optimum at a learning rate of 0.01."""
    best = 0.1 + abs(float(params["lr"]) - 0.01)
    return [best * (1 + 1 / (epoch + 1)) for epoch in range(N_REPORTS)]


def finish_of(claimed: Claim) -> Finish:
    values = objective(dict(claimed.params))
    measurements = [
        {"epoch": epoch, "step": epoch, "value": value, "metrics": {}, "layers": {}}
        for epoch, value in enumerate(values)
    ]
    test_value = values[-1] if claimed.phase is Phase.CONFIRM else None
    return Finish(Outcome.FINISHED, value=values[-1], test_value=test_value, measurements=measurements)


class Ours:
    """One ledger with a coordinator; a study's trials are run by a slot in this thread."""

    def __init__(self, name: str, started: Engines) -> None:
        self._url, self._redis_url = started.database(name, is_ledger=True), started.redis_url
        self.database = Database(self._url, application_name="tangent-slot", pool_size=2)

    @contextmanager
    def running(self) -> Iterator[None]:
        with coordinating(self._url, self._redis_url):
            yield

    def submit(self, n_trials: int, sampler: str = "random", **options: Any) -> StudyId:
        """A study of `n_trials` in all, one cell."""
        search = SearchPlan(sampler, trials=n_trials - 2, options=options)
        study = make_study(search=search, select_top=1, select_seeds=1, confirm_seeds=1)
        with self.database.transaction() as connection:
            return insert_study(connection, study, {})

    def run(self, study_id: StudyId, n_trials: int) -> None:
        """The next `n_trials` of the only study that runs."""
        for _ in range(n_trials):
            while (claimed := self._claim()) is None:
                time.sleep(_LOOK_S)
            assert claimed.study_id == study_id
            with self.database.transaction() as connection:
                assert finish_trial(connection, claimed.trial_id, claimed.attempt, finish_of(claimed))

    def _claim(self) -> Claim | None:
        with self.database.transaction() as connection:
            return claim(connection)

    def wait(self, study_id: StudyId) -> None:
        """Until the study has finished."""
        while True:
            with self.database.transaction() as connection:
                row = get_study(connection, study_id)
            if row is not None and row.is_finished:
                return
            time.sleep(_LOOK_S)

    def pause(self, study_id: StudyId, *, is_paused: bool) -> None:
        with self.database.transaction() as connection:
            state = "PAUSED" if is_paused else "RUNNING"
            connection.execute(text("UPDATE studies SET state = :s WHERE id = :i"), {"s": state, "i": study_id})


class Theirs:
    """Optuna's RDB storage in a database of its own on the same server."""

    def __init__(self, name: str, started: Engines) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.url = driver_url(started.database(name, is_ledger=False))
        self.storage = optuna.storages.RDBStorage(self.url)

    def run(self, study: optuna.Study, n_trials: int) -> None:
        for _ in range(n_trials):
            trial = study.ask()
            params = {"lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True)}
            params["weight_decay"] = trial.suggest_float("weight_decay", 1e-4, 1.0, log=True)
            values = objective(params)
            for step, value in enumerate(values):
                trial.report(value, step)
            study.tell(trial, values[-1])

    def study(self, name: str, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        return optuna.create_study(study_name=name, storage=self.storage, sampler=sampler)
