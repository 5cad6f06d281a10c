"""Studies with trials, put into the ledger without a coordinator; workers as processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from service.domain.catalog import BUILT_IN
from service.domain.study import Arm, Limits, SearchPlan, Study
from service.domain.trial import Phase, StudyId
from service.store.database import Database
from service.store.studies import cells_of, insert_study
from service.store.trials import NewTrial, get_trial, insert_trials

REPOSITORY = Path(__file__).parents[3]
PLUGINS = Path(__file__).parent / "plugins"
SLOW, RAISING, EXHAUSTING = "trial_workloads:Slow", "trial_workloads:Raising", "trial_workloads:Exhausting"
PARAMS = {"lr": 0.01, "weight_decay": 0.01, "one_minus_beta1": 0.1}


def add_study(
    ledger: Database,
    *,
    n_trials: int = 1,
    workload: str = "digits-mlp",
    options: Mapping[str, Any] | None = None,
    trial_s: float = 600.0,
    attempts: int = 3,
    phase: Phase = Phase.SEARCH,
    seed: int = 7,
    reuse: bool = False,
) -> StudyId:
    """A study of one cell with `n_trials` waiting trials; returns its id. Trials are numbered from 0."""
    study = Study(
        name="test",
        workload=workload,
        arms=(Arm("adamw", "AdamW", BUILT_IN.optimizers["AdamW"].default_space),),
        compare=(),
        options={"epochs": 1} if options is None else options,
        search=SearchPlan(trials=n_trials),
        limits=Limits(trial_s=trial_s, attempts=attempts),
        replicates=1,
        reuse=reuse,
    )
    with ledger.transaction() as connection:
        study_id = insert_study(connection, study, {})
        (cell,) = cells_of(connection, study_id)
        rows = [
            NewTrial(
                cell_id=cell.id,
                cell_number=i,
                phase=phase,
                config=i,
                seed_index=0,
                seed=seed + i,
                optimizer="AdamW",
                params=PARAMS,
                sort_key=i,
            )
            for i in range(n_trials)
        ]
        assert insert_trials(connection, study_id, rows) == 0
    return study_id


def trial_of(ledger: Database, study_id: StudyId, number: int = 0) -> dict[str, Any]:
    """A trial with its attempts and measurements."""
    with ledger.transaction() as connection:
        trial = get_trial(connection, study_id, number)
    assert trial is not None
    return trial


def wait_until(condition: Callable[[], Any], patience_s: float = 30.0) -> Any:
    """The first true value of `condition`; fails where none comes in time."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return value


def wait_for_end(ledger: Database, study_id: StudyId, number: int = 0) -> dict[str, Any]:
    """A trial, once it has ended."""
    wait_until(lambda: trial_of(ledger, study_id, number)["outcome"])
    return trial_of(ledger, study_id, number)


def has_torch(pid: int) -> bool:
    """True where a process has torch's library in its memory."""
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


class WorkerProcess:
    """`python -m workers`, and what it logs."""

    def __init__(self, log: Path, *, queues: str = "cpu", **variables: str) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
        path = os.pathsep.join([str(PLUGINS), str(REPOSITORY)])
        allowed = ",".join((SLOW, RAISING, EXHAUSTING))
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers", "--queues", queues],
                cwd=log.parent,
                env={**own, "PYTHONPATH": path, "TANGENT_ALLOWED_WORKLOADS": allowed, **variables},
                stdin=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def text(self) -> str:
        """Everything that was logged."""
        return self.log.read_text()

    def wait_for_line(self, part: str) -> None:
        """Return once a line with `part` was logged."""
        wait_until(lambda: part in self.text())

    def slots(self) -> list[psutil.Process]:
        """The processes of its slots."""
        children = psutil.Process(self.pid).children()
        return [child for child in children if "workers.slot" in child.cmdline()]

    def stop(self) -> float:
        """Send SIGTERM and wait for a clean exit; returns the seconds that it took."""
        before = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        assert "Traceback" not in self.text()
        return time.monotonic() - before

    def kill(self) -> None:
        """End it whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
