"""The same study for optuna-dashboard: an SQLite file with one Optuna study for each arm, and its server."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import optuna
import psutil
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, insert

from service.domain.trial import StudyId
from service.optuna_view import Reader
from service.store.database import Database
from service.store.optuna_reads import look, reading
from service.store.studies import get_study

_BLOCK = 20_000
_STARTS_WITHIN_S = 60.0


def trials_by_arm(database: Database, study_id: StudyId) -> dict[str, list[FrozenTrial]]:
    """All trials of each arm, reruns too, as `service.optuna_view` shows them, numbered from 0 by arm."""
    with reading(database) as connection:
        row, seen = get_study(connection, study_id), look(connection, study_id, None, -1)
    assert row is not None
    assert seen is not None
    reader = Reader.of(row, {arm.name: number for number, arm in enumerate(row.study.arms)})
    shown: dict[str, list[FrozenTrial]] = {arm.name: [] for arm in row.study.arms}
    for trial_id, line in enumerate(seen.trials, 1):
        mine = shown[line.arm]
        mine.append(reader.show(line, trial_id, len(mine)))
    return shown


def write_sqlite(trials: dict[str, list[FrozenTrial]], path: Path) -> None:
    """One Optuna study for each arm, without the user attributes, which would make optuna-dashboard's pages heavier.

    Rows are inserted in blocks: Optuna's own `add_trials` takes some 20 ms a trial.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    for arm, mine in trials.items():
        study = optuna.create_study(study_name=arm, storage=storage, direction="minimize")
        with storage.engine.begin() as connection:
            _insert(connection, models.TrialModel, [_trial(trial, study._study_id) for trial in mine])
            _insert(connection, models.TrialParamModel, [row for trial in mine for row in _params(trial)])
            _insert(connection, models.TrialValueModel, [row for trial in mine for row in _values(trial)])
            _insert(connection, models.TrialIntermediateValueModel, [row for trial in mine for row in _curve(trial)])
    storage.remove_session()
    storage.engine.dispose()


def _insert(connection: Connection, model: Any, rows: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(rows), _BLOCK):
        connection.execute(insert(model.__table__), rows[start : start + _BLOCK])


def _trial(trial: FrozenTrial, study_id: int) -> dict[str, Any]:
    return {
        "trial_id": trial._trial_id,
        "number": trial.number,
        "study_id": study_id,
        "state": trial.state,
        "datetime_start": trial.datetime_start,
        "datetime_complete": trial.datetime_complete,
    }


def _params(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for name, distribution in trial.distributions.items():
        yield {
            "trial_id": trial._trial_id,
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }


def _values(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    if trial.values is not None:
        value, kind = models.TrialValueModel.value_to_stored_repr(trial.values[0])
        yield {"trial_id": trial._trial_id, "objective": 0, "value": value, "value_type": kind}


def _curve(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    of = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    for step, reported in trial.intermediate_values.items():
        value, kind = of(reported)
        yield {
            "trial_id": trial._trial_id,
            "step": step,
            "intermediate_value": value,
            "intermediate_value_type": kind,
        }


class OptunaDashboard:
    """`optuna-dashboard FILE` on a free port, with its own default server."""

    def __init__(self, path: Path, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = "from optuna_dashboard._cli import main; main()"
        argv = [sys.executable, "-c", command, f"sqlite:///{path}", "--port", str(port), "--quiet"]
        with log.open("w") as words:
            self.process = subprocess.Popen(argv, stdout=words, stderr=words)
        self._wait(log)

    def _wait(self, log: Path) -> None:
        until = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                httpx.get(f"{self.address}/api/meta", timeout=5)
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"optuna-dashboard did not start: {log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.kill()
        self.process.kill()
        self.process.wait()


@contextmanager
def optuna_dashboard(path: Path, log: Path) -> Iterator[OptunaDashboard]:
    """Running for the block."""
    server = OptunaDashboard(path, log)
    try:
        yield server
    finally:
        server.stop()
