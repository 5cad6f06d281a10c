"""A slot: the process that trains, one per core or GPU, kept for many trials.

`python -m workers.slot FD NAME…` is started by `workers.keeper` and speaks with it over the socket FD. Told to work, it
claims and executes trials until none is left that it can run. It stops at SIGTERM and when told so, checkpointing what
it trains; it dies at once when its worker is gone.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

from service.config import Settings, load_settings, names
from service.errors import TangentError
from service.store.database import Database
from service.store.leases import Capabilities, Claim, claim_next_trial
from workers.attempt import Workplace, execute
from workers.checkpoint_folder import CheckpointFolder
from workers.logs import Tail, TailedStream, configure_logging
from workers.messages import Channel, Do, Say, SlotName
from workers.orphans import die_with_parent
from workers.patience import persist
from workers.probe import probe
from workers.training import configure_torch

_log = logging.getLogger(__name__)


class Slot:
    """Claims and executes, one trial at a time, in the process's main thread."""

    def __init__(
        self, name: SlotName, settings: Settings, channel: Channel, tail: Tail, found: Mapping[str, Any]
    ) -> None:
        """Prepare it; `found` is what `workers.probe` says of this process."""
        self._name = name
        self._channel = channel
        self._capabilities = Capabilities(
            devices=found["devices"],
            workloads=tuple(found["workloads"]),
            optimizers=tuple(found["optimizers"]),
            code_revision=found["code_revision"],
        )
        self._environment_id: str | None = None
        self.stopping = threading.Event()
        self._place = Workplace(
            database=Database(
                settings.require_database_url(),
                application_name="tangent-slot",
                pool_size=2,
                abandoned_after=settings.lease,
            ),
            checkpoints=CheckpointFolder.of(settings),
            device=found["devices"][0],
            device_class=found["devices"][-1],
            lease=settings.lease,
            checkpoint_every_s=settings.checkpoint_every.total_seconds(),
            allowed=(*names(settings.allowed_workloads), *names(settings.allowed_optimizers)),
            stopping=self.stopping,
            looking=threading.Event(),
            tail=tail,
        )

    def look(self) -> None:
        """Ask the ledger now what it wants of the trial."""
        self._place.looking.set()

    def begin(self, environment_id: str) -> None:
        """Say that work may come."""
        self._environment_id = environment_id
        self._channel.send(Say.READY)

    def work(self) -> bool:
        """Execute trials until none is left for this slot, or it has to stop; False where it is better replaced."""
        while not self.stopping.is_set():
            claim = self._claim()
            if claim is None:
                break
            trial = {"trial_id": claim.trial_id, "attempt": claim.attempt}
            limits = {"deadline_s": claim.deadline_s, "limit_s": claim.spec["limits"]["trial_s"]}
            self._channel.send(Say.CLAIMED, study_id=claim.study_id, **trial, **limits)
            is_sound = execute(claim, self._place, lambda: self._channel.send(Say.TRAINED))
            self._channel.send(Say.RELEASED, **trial)
            if not is_sound:
                return False
        return True

    def _claim(self) -> Claim | None:
        return persist(
            self._place.database,
            lambda connection: claim_next_trial(
                connection,
                self._name.queue,
                self._capabilities,
                worker_id=self._name.worker_id,
                slot=self._name.number,
                environment_id=self._environment_id,
                lease=self._place.lease,
            ),
            stopping=self.stopping,
            what="claim a trial",
        )


def main() -> NoReturn:
    """Serve the worker at the other end of the socket whose number is the first argument."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda *_: requests.put({"kind": Do.STOP}))
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    tail = Tail()
    sys.stdout, sys.stderr = TailedStream(sys.stdout, tail), TailedStream(sys.stderr, tail)
    status = 1
    try:
        _serve(SlotName.from_arguments(sys.argv[2:]), channel, requests, tail)
        status = 0
    except TangentError as error:
        _log.warning("the slot ends: %s", error)
    except Exception:  # noqa: BLE001 (logged; the worker starts another process)
        _log.exception("the slot ends")
    os._exit(status)  # threads of libraries and of the lease must not hold it up


def _serve(name: SlotName, channel: Channel, requests: queue.SimpleQueue[Mapping[str, Any]], tail: Tail) -> None:
    settings = load_settings()
    configure_logging(settings.log_level, str(name))
    configure_torch(settings.slot_threads)
    found = probe(name.queue)
    channel.send(Say.HELLO, found=found)
    slot = Slot(name, settings, channel, tail, found)
    threading.Thread(target=_listen, args=(channel, requests), daemon=True).start()
    work: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threading.Thread(target=_dispatch, args=(requests, work, slot), daemon=True).start()
    while work.get() and slot.work() and not slot.stopping.is_set():
        channel.send(Say.IDLE)


def _listen(channel: Channel, requests: queue.SimpleQueue[Mapping[str, Any]]) -> None:
    """Pass on what the worker says; end the process where the worker is gone, for then nobody watches the trial."""
    while True:
        try:
            message = channel.receive()
        except EOFError:
            os._exit(1)
        if message is not None:
            requests.put(message)


def _dispatch(requests: queue.SimpleQueue[Mapping[str, Any]], work: queue.SimpleQueue[bool], slot: Slot) -> None:
    """Do what is asked, signals included: their handler must not wait for a lock of the thread that it interrupts."""
    while True:
        request = requests.get()
        if request["kind"] == Do.BEGIN:
            slot.begin(request["environment_id"])
        elif request["kind"] == Do.LOOK:
            slot.look()
        elif request["kind"] == Do.STOP:
            slot.stopping.set()
            work.put(False)
        else:
            work.put(True)


if __name__ == "__main__":
    main()
