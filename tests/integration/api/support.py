"""Studies that run without coordinator, worker or training: their steps are the real ones, their results invented."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from service.client import Client
from service.domain.catalog import BUILT_IN, Optimizer
from service.domain.trial import Outcome, StudyId
from service.store.database import Database
from service.store.leases import Capabilities, Claim, Finish, claim_next_trial, finish_trial
from service.store.studies import end_study
from service.store.workers import Registration, register_worker
from service.study_work import StudyWork
from tests.asgi import Caller
from tests.unit.api.support import TOKEN

STUDIES = "/api/v1/studies"
REPOSITORY = Path(__file__).parents[3]
WORKER = UUID(int=1)
SMALL = {
    "name": "small",
    "workload": {"name": "digits-mlp", "options": {"epochs": 3}},
    "arms": [{"name": "adamw", "optimizer": "AdamW"}, {"name": "adamp", "optimizer": "AdamP"}],
    "search": {"trials": 3},
    "select": {"top": 2, "seeds": 2},
    "confirm": {"seeds": 2},
    "replicates": 3,
}
"""54 trainings: 2 arms, 3 replicates, 3 + 4 + 2 each."""
TABLES = ("studies", "arms", "cells", "trials", "events", "reports", "workers", "attempts", "measurements")


def submit(api: Caller, document: Mapping[str, Any] = SMALL) -> StudyId:
    response = api.post(STUDIES, json=document)
    assert response.status_code == 202, response.text
    return StudyId(response.json()["id"])


def row_counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        counts = {}
        for table in TABLES:
            row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            assert row is not None
            counts[table] = row[0]
        return counts


def register(ledger: Database, *, optimizers: tuple[Optimizer, ...] = (), n_slots: int = 2) -> None:
    """A worker for cpu that has the built-in catalog and these optimizers."""
    catalog = BUILT_IN.extended({entry.name: entry for entry in optimizers}, {})
    registration = Registration(
        worker_id=WORKER,
        hostname="here",
        pid=1,
        queues=("cpu",),
        devices=("cpu",),
        n_slots=n_slots,
        code_revision="r1",
        optimizers={name: entry.to_dict() for name, entry in catalog.optimizers.items()},
        workloads={name: entry.to_dict() for name, entry in catalog.workloads.items()},
        environment={"python": "3"},
    )
    with ledger.transaction() as connection:
        register_worker(connection, registration)


def plan(ledger: Database, study_id: StudyId) -> None:
    """One step of a coordinator."""
    with ledger.transaction() as connection:
        work = StudyWork.load(connection, study_id)
        work.advance(connection)
    if work.ending is not None:
        with ledger.transaction() as connection:
            end_study(connection, study_id, *work.ending)


def claim(ledger: Database) -> Claim | None:
    """What a slot does first."""
    catalog = BUILT_IN
    capabilities = Capabilities(("cpu",), tuple(catalog.workloads), (*catalog.optimizers, "Twin"), "r1")
    with ledger.transaction() as connection:
        return claim_next_trial(
            connection,
            "cpu",
            capabilities,
            worker_id=WORKER,
            slot=0,
            environment_id=None,
            lease=timedelta(seconds=60),
        )


def finish(ledger: Database, claimed: Claim, ending: Finish) -> None:
    with ledger.transaction() as connection:
        assert finish_trial(connection, claimed.trial_id, claimed.attempt, ending)


def invented(claimed: Claim) -> Finish:
    """A smooth function of the parameters, AdamP a little better, with a seed's noise; layers that grow."""
    noise = 1 + random.Random(f"{claimed.seed} {claimed.optimizer}").uniform(-0.02, 0.02)
    best = 0.1 * (1 if claimed.optimizer == "AdamW" else 0.8) * noise
    value = best * (1 + abs(float(claimed.params["lr"]) - 0.01))
    layer = {"effective_lr": 1e-3, "projection_rate": 0.25, "is_scale_invariant": True}
    measurements = [
        {
            "epoch": e,
            "step": 10 * e,
            "value": value,
            "metrics": {},
            "layers": {"fc1": {**layer, "weight_norm": 1 + e / 2}},
        }
        for e in range(3)
    ]
    is_confirm = claimed.phase == "confirm"
    return Finish(
        Outcome.FINISHED,
        value=value,
        test_value=value * 1.1 if is_confirm else None,
        metrics={"test_accuracy": 0.97} if is_confirm else {"validation_accuracy": 0.98},
        n_steps=30,
        duration_s=0.5,
        cpu_s=0.4,
        measurements=measurements,
    )


def run(
    ledger: Database,
    study_id: StudyId,
    *,
    result: Callable[[Claim], Finish] = invented,
    most: int | None = None,
) -> int:
    """Run the study to its end, or at most so many of its trials; returns how many."""
    n = 0
    while most is None or n < most:
        plan(ledger, study_id)
        claimed = claim(ledger)
        if claimed is None:
            break
        while claimed is not None:
            finish(ledger, claimed, result(claimed))
            n += 1
            claimed = claim(ledger) if most is None or n < most else None
    return n


class ApiProcess:
    """`python -m service.api` on a free port."""

    def __init__(self, url: str, *, python: tuple[str, ...] = ("-m", "service.api"), **variables: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("TANGENT_")}
        given = {"TANGENT_DATABASE_URL": url, "TANGENT_API_TOKEN": TOKEN, "TANGENT_API_PORT": "0", **variables}
        argv = [sys.executable, *python]
        self.process = subprocess.Popen(
            argv, env={**inherited, **given}, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    @property
    def address(self) -> str:
        return str(json.loads(self.line)["address"])

    def client(self) -> Client:
        return Client(self.address, TOKEN)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            _, errors = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, errors = self.process.communicate()
        return self.process.returncode, errors
