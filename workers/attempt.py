"""One attempt of a trial: from its claim, through training under a lease, to one of its ends in the ledger."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from service.domain.trial import Outcome, Phase, TrialState
from service.errors import StoreUnavailableError
from service.store.database import Database
from service.store.leases import (
    Claim,
    Finish,
    finish_trial,
    hand_back_trial,
    note_resumed,
    renew_lease,
    save_checkpoint,
)
from service.store.rungs import Decision
from workers import checkpoint
from workers.checkpoint_folder import CheckpointFolder
from workers.environment import content_key
from workers.lease import CancelledError, Lease, LeaseLostError
from workers.logs import Tail, storable
from workers.patience import persist
from workers.reuse import Reuse
from workers.rungs import Rungs
from workers.training import Interrupted, Measurement, Result, Run, Start, is_out_of_memory, train

_log = logging.getLogger(__name__)
_LAST_PATIENCE_S = 4.0


@dataclass(frozen=True)
class Workplace:
    """What every attempt of a slot needs.

    Attributes:
        device: For torch: "cpu" or "cuda".
        device_class: The most special class, such as "cuda:H200".
        lease: Length of a lease.
        checkpoint_every_s: Seconds between checkpoints.
        allowed: "module:Class" names beside the built-in ones.
        stopping: Set when the slot has to stop.
        looking: Set when the ledger may want something else of the trial, which is then asked at once.
        tail: Receives what the slot prints and logs.
    """

    database: Database
    checkpoints: CheckpointFolder
    device: str
    device_class: str
    lease: timedelta
    checkpoint_every_s: float
    allowed: tuple[str, ...]
    stopping: threading.Event
    looking: threading.Event
    tail: Tail


def run_of(claim: Claim, device: str) -> Run:
    """What a claimed trial trains."""
    workload = claim.spec["workload"]
    return Run(
        workload=workload["name"],
        options=workload["options"],
        optimizer=claim.optimizer,
        params=claim.params,
        seed=claim.seed,
        device=device,
        reads_test_set=claim.phase is Phase.CONFIRM,
    )


def execute(claim: Claim, place: Workplace, trained: Callable[[], object] = lambda: None) -> bool:
    """Train a claimed trial and write how it ended.

    Args:
        trained: Called when the training has ended and only writing is left, which waits for Postgres if it must.

    Returns:
        False where the training raised an exception, after which this process is better replaced: its memory may be
        full, its GPU context broken, its modules changed.

    Raises:
        StoreUnavailableError: The slot has to stop, and Postgres did not answer in the seconds that were left.
    """
    place.tail.clear()
    attempt = _Attempt(claim, place)
    _log.info("trial %d, attempt %d: %s", claim.trial_id, claim.attempt, claim.optimizer)
    try:
        finish = attempt.train()
        trained()
        if finish is not None:
            attempt.finish(finish)
    except Interrupted as stop:
        trained()
        attempt.release(stop)
    except LeaseLostError as error:
        _log.warning("%s; it is given up", error)
    except CancelledError as error:
        trained()
        attempt.finish(Finish(Outcome.CANCELLED, reason=str(error)))
    except StoreUnavailableError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a workload may raise anything)
        trained()
        attempt.fail(error)
        return False
    return True


class _Attempt:
    """The observer of a training, and the writer of its end."""

    def __init__(self, claim: Claim, place: Workplace) -> None:
        self._claim = claim
        self._place = place
        self._lease = Lease(place.database, claim, place.lease, place.looking)
        self._run = run_of(claim, place.device)
        self._path = place.checkpoints.file(claim.trial_id, claim.attempt)
        self._step = 0
        self._is_saving = False
        self._saved_at = time.monotonic()
        self._why_anew = ""
        self._rungs = Rungs(place.database, claim, self._lease, place.lease.total_seconds())
        self._pruning: Decision | None = None
        self._reuse = Reuse(place.database, claim)

    def train(self) -> Finish | None:
        """Train to the end, or take the result from the ledger and return None; every other end is an exception."""
        claim, place = self._claim, self._place
        if self._is_taken():
            return None
        with self._lease:
            if claim.attempt > 1:
                self._why_anew = place.checkpoints.adopt(claim.checkpoint, self._path)
            result = train(self._run, self, checkpoint=self._path, allowed=place.allowed)
        if self._pruning is not None:
            return replace(_finish_of(result, None), value=self._pruning.value, reason=_why_pruned(self._pruning))
        finish = _finish_of(result, self._content_key())
        return replace(finish, log_tail=storable(place.tail.text())) if result.reason else finish

    def _content_key(self) -> str:
        return content_key(self._run, self._place.device_class, allowed=self._place.allowed)

    def _is_taken(self) -> bool:
        if not self._claim.spec.get("reuse", False):
            return False
        try:
            return self._reuse.take(self._content_key())
        except StoreUnavailableError as error:
            _log.warning("Postgres does not answer (%s); trial %d is run", error, self._claim.trial_id)
            return False

    def started(self, start: Start) -> None:
        """Say on the attempt where it begins, unless it is the first."""
        claim, self._step = self._claim, start.step
        if claim.attempt > 1:
            if start.step == 0:
                _log.warning("trial %d restarts at step 0: %s", claim.trial_id, self._why_anew or start.note)
            self._lease.note(lambda connection: note_resumed(connection, claim.trial_id, claim.attempt, start.step))

    def measured(self, measurement: Measurement) -> bool:
        """Keep a measurement for the next renewal, or send it now where the study prunes; True where this one ends.

        Raises where JSON cannot hold it.
        """
        json.dumps(vars(measurement), allow_nan=False)
        self._lease.add(vars(measurement))
        self._reuse.measured(measurement.epoch, measurement.value)
        self._pruning = self._rungs.report(measurement.epoch, self._place.stopping)
        return self._pruning is not None

    def should_stop(self) -> bool:
        """Raise where the trial is lost or cancelled; True where the slot has to stop."""
        if self._is_saving:
            self._note_saved()
        self._step += 1
        self._lease.check()
        self._is_saving = self._place.stopping.is_set() or self._lease.is_wanted_back
        return self._is_saving

    def wants_checkpoint(self) -> bool:
        """True where one is due and the measurements before it are in the ledger, so that none is ever missing."""
        is_due = time.monotonic() - self._saved_at >= self._place.checkpoint_every_s
        if is_due:
            self._saved_at = time.monotonic()
            self._is_saving = self._lease.save_now()
        return self._is_saving

    def _note_saved(self) -> None:
        claim, document = self._claim, self._place.checkpoints.describe(self._path, self._step)
        self._is_saving = False
        if document is None:
            return
        self._lease.note(lambda connection: save_checkpoint(connection, claim.trial_id, claim.attempt, document))
        self._lease.save_soon()

    def release(self, stop: Interrupted) -> None:
        """Give the trial back in good order, to be resumed where it stopped."""
        document = self._place.checkpoints.describe(self._path, stop.step) if stop.is_saved else None
        why = "the trial was asked back" if self._lease.is_wanted_back else "the worker stopped"
        reason = f"{why} after step {stop.step}"
        self._end(lambda c: self._hand_back(c, outcome=None, reason=reason, checkpoint=document), "hand back")

    def finish(self, finish: Finish) -> None:
        """End the trial."""
        claim = self._claim
        measurements, notes = self._lease.leftovers()
        finish = replace(finish, measurements=measurements)

        def write(connection: Any) -> TrialState | None:
            for note in notes:
                note(connection)
            is_written = finish_trial(connection, claim.trial_id, claim.attempt, finish)
            return finish.outcome.state if is_written else None

        self._end(write, "finish")
        with contextlib.suppress(StoreUnavailableError):  # a check that is not noted is only one fewer
            self._reuse.compare(finish)

    def fail(self, error: BaseException) -> None:
        """Write an exception: memory and disk are the infrastructure's fault, all else is the workload's."""
        is_disk = isinstance(error, OSError) and _was_raised_in(checkpoint.__name__, error)
        reason = f"the checkpoint cannot be written: {reason_of(error)}" if is_disk else reason_of(error)
        _log.error("trial %d failed: %s", self._claim.trial_id, reason)
        told: dict[str, Any] = {
            "reason": reason,
            "traceback": storable("".join(traceback.format_exception(error))),
            "log_tail": storable(self._place.tail.text()),
        }
        if is_out_of_memory(error):
            self._end(lambda c: self._hand_back(c, outcome=Outcome.OUT_OF_MEMORY, **told), "hand back")
        elif is_disk:
            self._end(lambda c: self._hand_back(c, outcome=Outcome.LOST, **told), "hand back")
        else:
            self.finish(Finish(Outcome.WORKLOAD_ERROR, **told))

    def _hand_back(self, connection: Any, **end: Any) -> TrialState | None:
        """Save what is left to be saved, then hand the trial back."""
        claim = self._claim
        measurements, notes = self._lease.leftovers()
        renew_lease(connection, claim.trial_id, claim.attempt, self._place.lease, measurements)
        for note in notes:
            note(connection)
        return hand_back_trial(connection, claim.trial_id, claim.attempt, **end)

    def _end(self, write: Callable[[Any], TrialState | None], verb: str) -> None:
        """Write the end, and remove the checkpoints where no attempt will need them."""
        claim, place = self._claim, self._place
        what = f"{verb} trial {claim.trial_id}"
        state = persist(place.database, write, stopping=place.stopping, patience_s=_LAST_PATIENCE_S, what=what)
        if state is None:
            _log.warning("attempt %d of trial %d came too late: nothing was written", claim.attempt, claim.trial_id)
        elif state.is_finished:
            place.checkpoints.remove(claim.trial_id)


def reason_of(error: BaseException) -> str:
    """An exception in one line."""
    message = str(error).strip().partition("\n")[0]
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return storable(text[:500]) or ""


def _was_raised_in(module: str, error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == module for frame, _ in frames)


def _why_pruned(decision: Decision) -> str:
    return f"the pruner ended it at epoch {decision.epoch}"


def _finish_of(result: Result, key: str | None) -> Finish:
    return Finish(
        outcome=result.outcome,
        value=result.value,
        test_value=result.test_value,
        metrics=result.metrics,
        n_steps=result.n_steps,
        duration_s=result.duration_s,
        cpu_s=result.cpu_s,
        content_key=key,
        reason=result.reason,
    )
