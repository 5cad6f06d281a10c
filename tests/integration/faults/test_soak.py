"""Four slots, a random kill or pause each second, 300 short trials: all finished, none twice, counters always counts.

The faults come for a minute, and on a busy machine the last trials follow in peace; TANGENT_TEST_SOAK_S makes it longer
(`make test-long`: 300). TANGENT_TEST_SEED repeats one.
"""

import os
import random
import sys
import time
from collections import Counter

import psutil
import pytest
from sqlalchemy import text

from service.domain.study import Limits, SearchPlan
from service.domain.trial import StudyId
from service.store.database import Database
from tests.integration.faults.support import SLOW, Service, counts_of, study_of, submit, wait_until
from tests.integration.store.support import assert_consistent, assert_counters

SECONDS = float(os.environ.get("TANGENT_TEST_SOAK_S", "60"))
SEED = int(os.environ.get("TANGENT_TEST_SEED", str(random.SystemRandom().randrange(10**6))))
N_TRIALS, N_SLOTS = 300, 4
SETTINGS = {"TANGENT_LEASE": "2", "TANGENT_SLOTS": "2", "TANGENT_CHECKPOINT_EVERY": "0.1"}
STEP_S = max(0.0, SECONDS * N_SLOTS / N_TRIALS - 0.5) / 16
"""A trial has 16 steps; half a second is left for the restarts of slots and for the processor."""
TWICE = text("""
    SELECT t.number, count(*) FILTER (WHERE a.outcome IN ('finished', 'diverged')) AS n_accepted
    FROM trials t LEFT JOIN attempts a ON a.trial_id = t.id WHERE t.study_id = :id GROUP BY t.number
""")
TOLD = text("""
    SELECT (data ->> 'number')::int AS number FROM events
    WHERE study_id = :id AND kind = 'trial' AND data ->> 'state' = 'COMPLETE'
""")


class Trouble:
    """Kills and pauses processes of a service at random, one each second.

    Attributes:
        done: How often each fault was done to each kind of process, each seen to have happened.
    """

    def __init__(self, service: Service, rng: random.Random) -> None:
        self._service, self._rng = service, rng
        self._workers = [service.start("workers", "--queues", "cpu", **SETTINGS) for _ in range(2)]
        self._coordinator = service.coordinator(TANGENT_LEASE="2")
        self._paused: list[tuple[float, psutil.Process]] = []
        self.done: Counter[str] = Counter()
        for worker in self._workers:
            worker.wait_for_line("serving cpu with 2 slots")

    def make(self) -> None:
        """One fault, and the ends of earlier pauses; some pauses are longer than a lease."""
        self.recover()
        kind = self._rng.choices(["slot", "worker", "coordinator"], [8, 1, 1])[0]
        is_kill = self._rng.random() < 1 / 3
        if kind == "slot":
            slots = [slot for worker in self._workers for slot in worker.slots()]
            if slots:
                self._do("slot", self._rng.choice(slots), is_kill)
        elif kind == "coordinator":
            self._do(kind, psutil.Process(self._coordinator.pid), is_kill)
        else:
            self._do(kind, psutil.Process(self._rng.choice(self._workers).pid), is_kill)

    def recover(self) -> None:
        """End the pauses that are over, and start again what has ended."""
        self.relieve()
        self._revive()

    def _revive(self) -> None:
        """Start again what has ended, as a supervisor does; a worker whose slots all died at the start ends itself."""
        if not self._coordinator.is_running:
            self._coordinator = self._service.start("service.coordinator", TANGENT_LEASE="2")
        for index, worker in enumerate(self._workers):
            if not worker.is_running:
                self._workers[index] = self._service.start("workers", "--queues", "cpu", **SETTINGS)

    def _do(self, kind: str, process: psutil.Process, is_kill: bool) -> None:
        try:
            if is_kill:
                process.kill()
                wait_until(lambda: is_gone(process), "the end of a killed process", 10)
            else:
                process.suspend()
                wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "a process that stands still", 10)
                self._paused.append((time.monotonic() + self._rng.uniform(0.2, 4.0), process))
            self.done[f"{'kill' if is_kill else 'pause'} {kind}"] += 1
        except psutil.NoSuchProcess:
            pass  # it had just ended by itself

    def relieve(self, *, everyone: bool = False) -> None:
        """Continue what was paused long enough."""
        now = time.monotonic()
        for until, process in list(self._paused):
            if everyone or until <= now:
                self._paused.remove((until, process))
                if process.is_running():
                    process.resume()


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def poll(ledger: Database) -> None:
    """Counters equal counts, by one snapshot."""
    with ledger.transaction() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        assert_counters(connection)


def submit_long(ledger: Database) -> StudyId:
    """A study of 300 trials: 296 of the search, 2 selected, 2 confirmed."""
    limits = Limits(attempts=100, failures=0)
    options = {"epochs": 1, "step_s": STEP_S}
    plan = {"search": SearchPlan(trials=N_TRIALS // 2 - 2), "select_top": 1, "select_seeds": 1, "confirm_seeds": 1}
    return submit(ledger, study_of(workload=SLOW, options=options, optimizers=("AdamW", "SGD"), limits=limits, **plan))


@pytest.mark.timeout(300 + 8 * SECONDS)
def test_soak_finishes_every_trial_once_whatever_is_killed_or_paused(service: Service, ledger: Database) -> None:
    sys.stderr.write(f"TANGENT_TEST_SEED={SEED} TANGENT_TEST_SOAK_S={SECONDS:g}\n")
    trouble = Trouble(service, random.Random(SEED))
    study_id = submit_long(ledger)
    began, n_polls = time.monotonic(), 0
    while counts_of(ledger, study_id)["state"] == "RUNNING":
        if time.monotonic() - began < SECONDS:
            trouble.make()
        else:
            trouble.recover()
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            poll(ledger)
            n_polls += 1
            time.sleep(0.2)
        assert time.monotonic() - began < 6 * SECONDS + 120, f"seed {SEED}: {counts_of(ledger, study_id)}"
    trouble.relieve(everyone=True)
    counts = counts_of(ledger, study_id)
    assert (counts["state"], counts["n_complete"], counts["n_fail"]) == ("FINISHED", N_TRIALS, 0), f"seed {SEED}"
    with ledger.transaction() as connection:
        accepted = {row.number: row.n_accepted for row in connection.execute(TWICE, {"id": study_id})}
        told = Counter(connection.execute(TOLD, {"id": study_id}).scalars())
    assert accepted == dict.fromkeys(range(N_TRIALS), 1), f"seed {SEED}"
    assert told == Counter(range(N_TRIALS)), f"seed {SEED}"
    assert_consistent(ledger)
    assert sum(trouble.done.values()) > 10, f"seed {SEED}: hardly any fault was done: {trouble.done}"
    assert trouble.done["kill slot"] > 2, f"seed {SEED}"
    assert trouble.done["pause slot"] > 2, f"seed {SEED}"
    sys.stderr.write(f"{n_polls} polls in {time.monotonic() - began:.0f} s; {dict(trouble.done)}\n")
