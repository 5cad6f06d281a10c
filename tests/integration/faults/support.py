"""Processes of a service, and what is done to them: killed, stopped, continued, each with proof that it happened."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import text

from service.domain.catalog import BUILT_IN
from service.domain.study import Arm, Limits, SearchPlan, Study
from service.domain.trial import StudyId
from service.store.database import Database
from service.store.studies import get_study, insert_study
from service.store.trials import get_trial
from service.store.workers import registered_catalog

REPOSITORY = Path(__file__).parents[3]
PLUGINS = Path(__file__).parent / "plugins"
SLOW, LEAKING, NAN, SUICIDAL, HANGING, RAISING = WORKLOADS = tuple(
    f"faulty_workloads:{name}" for name in ("Slow", "Leaking", "Nan", "Suicidal", "Hanging", "Raising")
)
TOKEN = "a token of the tests of faults"
LEASE_S, SWEEP_S = 4.0, 0.5
DOCUMENT = {
    "name": "by the API",
    "workload": {"name": "digits-mlp", "options": {"epochs": 1}},
    "arms": [{"name": "adamw", "optimizer": "AdamW"}],
    "search": {"trials": 2},
    "select": {"top": 1, "seeds": 1},
    "confirm": {"seeds": 1},
    "replicates": 1,
}
"""A study file of four short trials."""
_QUICK = {"TANGENT_LEASE": str(LEASE_S), "TANGENT_SWEEP": str(SWEEP_S), "TANGENT_POLL": "0.5", "TANGENT_SLOTS": "1"}


class Program:
    """One of the service's processes with its log.

    Attributes:
        log: Its standard error and output.
    """

    def __init__(self, log: Path, module: str, *arguments: str, prefix: tuple[str, ...] = (), **variables: str) -> None:
        """Start `python -m module`, below the command `prefix` where one is given."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
        path = os.pathsep.join([str(PLUGINS), str(REPOSITORY)])
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, *arguments],
                cwd=log.parent,
                env={
                    **own,
                    **_QUICK,
                    "PYTHONPATH": path,
                    "PYTHONUNBUFFERED": "1",
                    "TANGENT_ALLOWED_WORKLOADS": ",".join(WORKLOADS),
                    **variables,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def text(self) -> str:
        return self.log.read_text()

    def wait_for_line(self, part: str, patience_s: float = 60.0) -> None:
        wait_until(lambda: part in self.text(), f"{part!r} in the log", patience_s)

    def slots(self) -> list[psutil.Process]:
        """The processes of a worker's slots, by number."""
        found = []
        for one in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie has no command line
                if "workers.slot" in (words := one.cmdline()):
                    found.append((words[-1], one))
        return [one for _, one in sorted(found, key=lambda entry: entry[0])]

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        assert self.is_running, "it had ended by itself"
        self.process.kill()
        assert self.process.wait(10) == -signal.SIGKILL

    def stop(self, patience_s: float = 20) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(patience_s)

    def close(self) -> None:
        """End it whatever it does, also where it is stopped."""
        if self.is_running:
            self.process.kill()
        self.process.wait()


class Service:
    """Coordinators, APIs and workers on one ledger and one Redis, all ended with `close`."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder, self.redis_url, self.database_url = folder, redis_url, database_url
        self._programs: list[Program] = []

    def start(self, module: str, *arguments: str, **settings: Any) -> Program:
        """Start a program; keyword arguments are variables of its environment."""
        log = self.folder / f"{len(self._programs)}-{module}.log"
        addresses = {"TANGENT_DATABASE_URL": self.database_url, "TANGENT_REDIS_URL": self.redis_url}
        checkpoints = {"TANGENT_CHECKPOINT_DIR": str(self.folder / "checkpoints"), "TANGENT_CHECKPOINT_EVERY": "0.3"}
        self._programs.append(Program(log, module, *arguments, **{**addresses, **checkpoints, **settings}))
        return self._programs[-1]

    def coordinator(self, **settings: Any) -> Program:
        program = self.start("service.coordinator", **settings)
        program.wait_for_line("started")
        return program

    def worker(self, **settings: Any) -> Program:
        """A worker that serves already."""
        program = self.start("workers", "--queues", "cpu", **settings)
        program.wait_for_line("serving cpu with")
        return program

    def api(self, **settings: Any) -> "Api":
        program = self.start("service.api", TANGENT_API_TOKEN=TOKEN, **{"TANGENT_API_PORT": "0", **settings})
        program.wait_for_line('{"address"')
        return Api(program)

    def close(self) -> None:
        for program in self._programs:
            program.close()


class Api:
    """An API's process and a client that shows status codes."""

    def __init__(self, program: Program) -> None:
        self.program = program
        (line,) = [line for line in program.text().splitlines() if line.startswith('{"address"')]
        self.address = str(json.loads(line)["address"])
        self._headers = {"Authorization": f"Bearer {TOKEN}"}

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", headers=self._headers, timeout=30)

    def post(self, path: str, document: Mapping[str, Any]) -> httpx.Response:
        return httpx.post(f"{self.address}{path}", headers=self._headers, json=document, timeout=30)


def study_of(
    n_trials: int = 1,
    *,
    workload: str = SLOW,
    options: Mapping[str, Any] | None = None,
    optimizers: tuple[str, ...] = ("AdamW",),
    limits: Limits | None = None,
    **changes: Any,
) -> Study:
    """A study whose search has `n_trials` trials in each cell, with one select and one confirm run."""
    arms = tuple(Arm(f"arm{i}", name, BUILT_IN.optimizers[name].default_space) for i, name in enumerate(optimizers))
    fields: dict[str, Any] = {
        "name": "faults",
        "workload": workload,
        "arms": arms,
        "compare": (),
        "options": {"epochs": 1} if options is None else options,
        "search": SearchPlan(trials=n_trials),
        "select_top": 1,
        "select_seeds": 1,
        "confirm_seeds": 1,
        "limits": limits or Limits(),
        "replicates": 1,
        **changes,
    }
    return Study(**fields)


def submit(ledger: Database, study: Study) -> StudyId:
    """Insert a study as the API does, with what an online worker registered of its workload."""
    with ledger.transaction() as connection:
        _, workloads = registered_catalog(connection)
        known = {name: entry for name, entry in workloads.items() if name == study.workload}
        return insert_study(connection, study, {"catalog": {"workloads": known, "optimizers": {}}})


def counts_of(ledger: Database, study_id: StudyId) -> dict[str, Any]:
    """The study's counters, its state and its reason."""
    with ledger.transaction() as connection:
        row = get_study(connection, study_id)
    assert row is not None
    return {**row.counts, "state": row.state, "reason": row.reason}


def trial_of(ledger: Database, study_id: StudyId, number: int = 0) -> dict[str, Any]:
    """A trial with its attempts and measurements."""
    with ledger.transaction() as connection:
        trial = get_trial(connection, study_id, number)
    assert trial is not None
    return trial


def now_of(ledger: Database) -> Any:
    """Postgres's clock."""
    with ledger.transaction() as connection:
        return connection.execute(text("SELECT clock_timestamp()")).scalar_one()


def wait_until(condition: Callable[[], Any], what: str, patience_s: float = 40.0) -> Any:
    """The first true value of `condition`; fails where none comes in time."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.05)
    return value


def wait_for_trial(ledger: Database, study_id: StudyId, number: int = 0, patience_s: float = 60.0) -> dict[str, Any]:
    """A trial, once it has ended."""

    def ended() -> dict[str, Any] | None:
        with ledger.transaction() as connection:
            trial = get_trial(connection, study_id, number)
        return trial if trial and trial["outcome"] else None

    found: dict[str, Any] = wait_until(ended, f"trial {number} ended", patience_s)
    return found


def result_of(trial: Mapping[str, Any]) -> list[Any]:
    """What a trial gave, bit for bit: the same for two executions of one training."""
    rows = [[row[name] for name in ("epoch", "step", "value", "metrics", "layers")] for row in trial["measurements"]]
    return [*(trial[name] for name in ("outcome", "value", "test_value", "metrics", "n_steps", "content_key")), rows]


def is_stopped(pid: int) -> bool:
    """True where the kernel has stopped the process, every thread of it."""
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def pause(pid: int) -> None:
    """SIGSTOP; returns when the process stands still."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid), "the process stopped", 5)


def resume(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not is_stopped(pid), "the process continued", 5)
