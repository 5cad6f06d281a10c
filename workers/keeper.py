"""A keeper looks after one slot: starts its process, hears what it says, and starts it again when it died.

It notices the death at once, by the end of the pipe, and hands back what the slot had claimed. It kills a slot whose
trial is over its time limit, and one that does not stop in time.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.trial import Outcome, TrialId, TrialState
from service.errors import StoreUnavailableError
from service.store.database import Database
from service.store.leases import Finish, finish_trial, hand_back_trial
from workers.checkpoint_folder import CheckpointFolder
from workers.child import SlotProcess
from workers.logs import storable
from workers.messages import Do, Say, SlotName
from workers.patience import persist

_log = logging.getLogger(__name__)
STOP_PATIENCE_S = 7.5
"""Seconds that a slot has for its last step, its checkpoint and handing its trial back."""
_WATCH_S = 1.0
_LONGEST_PAUSE_S = 30.0


@dataclass
class _Trial:
    """What a slot executes; `ends_at` on the monotonic clock."""

    study_id: int
    trial_id: TrialId
    attempt: int
    limit_s: float
    ends_at: float


@dataclass(frozen=True)
class _Verdict:
    """Why the keeper killed a slot: `trial` was over its limit, or the worker stops."""

    trial: _Trial | None
    is_time_limit: bool


class Keeper(threading.Thread):
    """Looks after one slot until it is told to stop."""

    def __init__(
        self, name: SlotName, environment: Mapping[str, str], database: Database, checkpoints: CheckpointFolder
    ) -> None:
        super().__init__(name=f"keeper-{name.number}", daemon=True)
        self._slot = name
        self._environment = environment
        self._database = database
        self._checkpoints = checkpoints
        self._stopping = threading.Event()
        self._stop_by = math.inf
        self._changed = threading.Condition()
        self._found: Mapping[str, Any] | None = None
        self._has_died = False
        self._environment_id: str | None = None
        self._has_work = False
        self._is_ready = False
        self._child: SlotProcess | None = None
        self._trial: _Trial | None = None

    def introduce(self) -> Mapping[str, Any] | None:
        """Wait for what the slot says that it can train; None where it died before, or the worker stops."""
        with self._changed:
            while self._found is None and not self._has_died and not self._stopping.is_set():
                self._changed.wait()
            return self._found

    def begin(self, environment_id: str) -> None:
        """Let the slot know the id of its environment in the ledger, after which it may be given work."""
        with self._changed:
            self._environment_id = environment_id
            if self._child is not None:
                self._child.channel.send(Do.BEGIN, environment_id=environment_id)

    def work(self) -> None:
        """Have the slot execute trials; returns when none is left for it, or the worker stops."""
        with self._changed:
            self._has_work = True
            if self._is_ready and self._child is not None:
                self._child.channel.send(Do.WORK)
            while self._has_work and not self._stopping.is_set():
                self._changed.wait()

    def look(self, study_ids: Container[int]) -> None:
        """Have the slot ask the ledger now what it wants of the trial, if that is of one of these studies."""
        with self._changed:
            trial, child = self._trial, self._child
            if trial is not None and child is not None and trial.study_id in study_ids:
                child.channel.send(Do.LOOK)

    def stop(self) -> None:
        """Ask the slot to checkpoint and end; `join` tells when it has."""
        self._stop_by = time.monotonic() + STOP_PATIENCE_S
        self._stopping.set()
        with self._changed:
            self._ask_to_stop()
            self._changed.notify_all()

    def kill(self) -> None:
        """End the slot's process at once."""
        child = self._child
        if child is not None:
            child.kill()

    def run(self) -> None:
        """Keep a process running."""
        n_failures = 0
        while not self._stopping.is_set():
            self._start()
            was_useful = self._listen()
            n_failures = 0 if was_useful else n_failures + 1
            if n_failures:
                self._stopping.wait(min(2.0 ** (n_failures - 1), _LONGEST_PAUSE_S))

    def _start(self) -> None:
        with self._changed:
            self._child = SlotProcess(self._slot, self._environment)
            if self._environment_id is not None:
                self._child.channel.send(Do.BEGIN, environment_id=self._environment_id)
            if self._stopping.is_set():
                self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        """A slot that is not ready yet has nothing to lose, and may still be importing torch."""
        if self._child is not None and self._is_ready:
            self._child.channel.send(Do.STOP)
        elif self._child is not None:
            self._child.kill()

    def _listen(self) -> bool:
        """Hear the slot until its process has ended; returns whether it had completed anything."""
        child, was_useful, verdict = self._child, False, None
        assert child is not None  # noqa: S101 (started just before)
        while True:
            try:
                message = child.channel.receive(_WATCH_S if verdict else self._time_left())
            except EOFError:
                break
            if message is not None:
                self._hear(message, child)
                was_useful = was_useful or message["kind"] in (Say.IDLE, Say.RELEASED)
            elif verdict is None and self._time_left() == 0:
                verdict = _Verdict(self._trial, self._trial is not None and time.monotonic() >= self._trial.ends_at)
                child.kill()
        with self._changed:
            self._child, self._is_ready, self._has_died = None, False, True
            self._changed.notify_all()
        self._mourn(child.bury(), verdict, child.tail.text())
        return was_useful

    def _time_left(self) -> float:
        """Seconds to the next look at the clock; 0 where the slot must be killed."""
        now = time.monotonic()
        ends_at = min(self._stop_by, self._trial.ends_at if self._trial else math.inf)
        return min(_WATCH_S, max(ends_at - now, 0.0))

    def _hear(self, message: Mapping[str, Any], child: SlotProcess) -> None:
        kind = message["kind"]
        if kind == Say.CLAIMED:
            child.tail.clear()
            ends_at = time.monotonic() + message["deadline_s"]
            self._trial = _Trial(
                message["study_id"], TrialId(message["trial_id"]), message["attempt"], message["limit_s"], ends_at
            )
        elif kind == Say.TRAINED and self._trial is not None:
            self._trial.ends_at = math.inf
        elif kind == Say.RELEASED:
            self._trial = None
        else:
            with self._changed:
                self._change(kind, message, child)
                self._changed.notify_all()

    def _change(self, kind: str, message: Mapping[str, Any], child: SlotProcess) -> None:
        if kind == Say.HELLO:
            if self._found is not None and self._found["code_revision"] != message["found"]["code_revision"]:
                _log.warning("the training code changed under this worker; start the worker again")
            self._found = message["found"]
        elif kind == Say.READY:
            self._is_ready = True
            if self._has_work:
                child.channel.send(Do.WORK)
        elif kind == Say.IDLE:
            self._has_work = False

    def _mourn(self, end: str, verdict: _Verdict | None, tail: str | None) -> None:
        """Write the end of the trial that the slot executed when its process ended."""
        trial, self._trial = self._trial, None
        is_expected = trial is None and (self._stopping.is_set() or end.endswith("code 0"))
        _log.log(logging.INFO if is_expected else logging.ERROR, "slot %d: the process %s", self._slot.number, end)
        if trial is None:
            return
        try:
            state = persist(
                self._database,
                lambda connection: _write_end(connection, trial, end, verdict, storable(tail)),
                stopping=self._stopping,
                patience_s=1.0,
                what=f"end trial {trial.trial_id}",
            )
        except StoreUnavailableError:
            _log.warning("trial %d could not be handed back; its lease will end by itself", trial.trial_id)
            return
        if state is not None and state.is_finished:
            self._checkpoints.remove(trial.trial_id)


def _write_end(
    connection: Any, trial: _Trial, end: str, verdict: _Verdict | None, tail: str | None
) -> TrialState | None:
    """End a trial that was over its time limit, or hand it back; returns its state, None where the lease was lost."""
    outcome: Outcome | None = None
    if verdict is None:
        outcome, reason = Outcome.LOST, f"the slot process {end}"
    elif verdict.trial is not trial:
        reason = "the slot was killed for its trial before this one, which had just ended"
    elif not verdict.is_time_limit:
        reason = f"the worker stopped, and the trial did not within {STOP_PATIENCE_S:g} s"
    else:
        reason = f"the trial ran longer than its limit of {trial.limit_s:g} s, over all its attempts"
        finish = Finish(Outcome.TIME_LIMIT, reason=reason, log_tail=tail)
        is_written = finish_trial(connection, trial.trial_id, trial.attempt, finish)
        return finish.outcome.state if is_written else None
    return hand_back_trial(connection, trial.trial_id, trial.attempt, outcome=outcome, reason=reason, log_tail=tail)
