"""A slot: the process that trains, one per core or GPU, kept for many trials.

`python -m workers.slot FD NAME` is started by `workers.supervision` and speaks with it over the socket FD. Told to
work, it claims and executes trials until none is left that it can run. It stops at SIGTERM and when told so,
checkpointing what it trains; it dies at once when its worker is gone.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
import threading
from typing import NoReturn
from uuid import UUID

from service.config import Settings, load_settings, names
from service.errors import StoreUnavailableError
from service.store.database import Database
from service.store.leases import Capabilities, Claim, claim_next_trial
from workers.attempt import Workplace, execute
from workers.checkpoint_folder import CheckpointFolder
from workers.environment import code_revision
from workers.logs import Tail, TailedStream, configure_logging
from workers.messages import Channel, Do, Say, SlotSetup
from workers.orphans import die_with_parent
from workers.patience import persist
from workers.training import configure_torch

_log = logging.getLogger(__name__)


class Slot:
    """Claims and executes, one trial at a time, in the process's main thread."""

    def __init__(self, setup: SlotSetup, settings: Settings, channel: Channel, tail: Tail) -> None:
        self._setup = setup
        self._lease = settings.lease
        self._channel = channel
        self._database = Database(settings.require_database_url(), application_name="tangent-slot", pool_size=2)
        self._capabilities = Capabilities(setup.devices, setup.workloads, setup.optimizers, code_revision())
        self.stopping = threading.Event()
        self._place = Workplace(
            database=self._database,
            checkpoints=CheckpointFolder.of(settings),
            device=setup.devices[0],
            device_class=setup.devices[-1],
            lease=settings.lease,
            checkpoint_every_s=settings.checkpoint_every.total_seconds(),
            allowed=(*names(settings.allowed_workloads), *names(settings.allowed_optimizers)),
            stopping=self.stopping,
            tail=tail,
        )
        if self._capabilities.code_revision != setup.code_revision:
            _log.warning("the training code changed under this worker; start the worker again")

    def work(self) -> bool:
        """Execute trials until none is left for this slot, or it has to stop; False where it is better replaced."""
        while not self.stopping.is_set():
            claim = self._claim()
            if claim is None:
                break
            trial = {"trial_id": claim.trial_id, "attempt": claim.attempt}
            self._channel.send(
                Say.CLAIMED, **trial, deadline_s=claim.deadline_s, limit_s=claim.spec["limits"]["trial_s"]
            )
            is_sound = execute(claim, self._place)
            self._channel.send(Say.RELEASED, **trial)
            if not is_sound:
                return False
        return True

    def _claim(self) -> Claim | None:
        return persist(
            self._database,
            lambda connection: claim_next_trial(
                connection,
                self._setup.queue,
                self._capabilities,
                worker_id=UUID(self._setup.worker_id),
                slot=self._setup.slot,
                environment_id=self._setup.environment_id,
                lease=self._lease,
            ),
            stopping=self.stopping,
            what="claim a trial",
        )


def main() -> NoReturn:
    """Serve the worker at the other end of the socket whose number is the first argument; the second is for `ps`."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: queue.SimpleQueue[Do] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda *_: requests.put(Do.STOP))
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    tail = Tail()
    sys.stdout, sys.stderr = TailedStream(sys.stdout, tail), TailedStream(sys.stderr, tail)
    status = 1
    try:
        status = _serve(channel, requests, tail)
    except StoreUnavailableError as error:
        _log.warning("stopping while Postgres does not answer: %s", error)
    except Exception:  # noqa: BLE001 (logged; the worker starts another process)
        _log.exception("the slot ends")
    os._exit(status)  # threads of libraries and of the lease must not hold it up


def _serve(channel: Channel, requests: queue.SimpleQueue[Do], tail: Tail) -> int:
    settings = load_settings()
    message = channel.receive() or {}
    setup = SlotSetup.from_message(message["setup"])
    configure_logging(settings.log_level, f"worker {setup.worker_id[:8]} slot {setup.slot}")
    configure_torch(settings.slot_threads)
    slot = Slot(setup, settings, channel, tail)
    work: queue.SimpleQueue[Do] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, requests), daemon=True).start()
    threading.Thread(target=_dispatch, args=(requests, work, slot.stopping), daemon=True).start()
    channel.send(Say.READY)
    while work.get() is Do.WORK and slot.work() and not slot.stopping.is_set():
        channel.send(Say.IDLE)
    return 0


def _listen(channel: Channel, requests: queue.SimpleQueue[Do]) -> None:
    """Pass on what the worker says; end the process where the worker is gone, for then nobody watches the trial."""
    while True:
        try:
            message = channel.receive()
        except EOFError:
            os._exit(1)
        if message is not None:
            requests.put(Do(message["kind"]))


def _dispatch(requests: queue.SimpleQueue[Do], work: queue.SimpleQueue[Do], stopping: threading.Event) -> None:
    """Set `stopping` outside the signal's handler, which must not wait for a lock of the thread it interrupted."""
    while True:
        request = requests.get()
        if request is Do.STOP:
            stopping.set()
        work.put(request)


if __name__ == "__main__":
    main()
