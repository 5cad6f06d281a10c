"""The slots of a worker, from the side of the worker."""

from __future__ import annotations

import queue
from collections.abc import Container, Mapping, Sequence
from typing import Any
from uuid import UUID

from service.errors import ConfigurationError
from service.store.database import Database
from workers.checkpoint_folder import CheckpointFolder
from workers.keeper import Keeper
from workers.messages import SlotName


class Supervisor:
    """Starts slots, gives them work, stops them. Thread-safe."""

    def __init__(
        self,
        worker_id: UUID,
        training_queue: str | None,
        environments: Sequence[Mapping[str, str]],
        database: Database,
        checkpoints: CheckpointFolder,
    ) -> None:
        """Prepare one slot for each environment of a process; starts nothing yet."""
        self._keepers = [
            Keeper(SlotName(worker_id, training_queue or "", number), environment, database, checkpoints)
            for number, environment in enumerate(environments)
        ]
        self._free: queue.SimpleQueue[Keeper] = queue.SimpleQueue()
        self._is_stopping = False

    @property
    def n_slots(self) -> int:
        """How many slots there are."""
        return len(self._keepers)

    def start(self) -> list[Mapping[str, Any]]:
        """Start all slots; returns what each that came up can train, as `workers.probe` says.

        Raises:
            ConfigurationError: None came up, although nothing had them stop.
        """
        for keeper in self._keepers:
            keeper.start()
        found = [keeper.introduce() for keeper in self._keepers]
        if self._keepers and not any(found) and not self._is_stopping:
            raise ConfigurationError("no slot could be started; the lines above say why")
        return [entry for entry in found if entry]

    def begin(self, environment_id: str) -> None:
        """Let the slots work from now on."""
        for keeper in self._keepers:
            keeper.begin(environment_id)
            self._free.put(keeper)

    def work(self) -> None:
        """Have one slot execute trials; returns when none is left for it, at once where no slot is free."""
        try:
            keeper = self._free.get_nowait()
        except queue.Empty:
            return
        try:
            keeper.work()
        finally:
            self._free.put(keeper)

    def look(self, study_ids: Container[int]) -> None:
        """Have the slots that run trials of these studies ask the ledger now what it wants of them."""
        for keeper in self._keepers:
            keeper.look(study_ids)

    def stop(self) -> None:
        """Ask all slots to checkpoint and end."""
        self._is_stopping = True
        for keeper in self._keepers:
            keeper.stop()

    def join(self) -> None:
        """Wait until all slots have ended after `stop`."""
        for keeper in self._keepers:
            if keeper.ident is not None:
                keeper.join()

    def kill(self) -> None:
        """End all slots at once; their trials' leases end by themselves."""
        for keeper in self._keepers:
            keeper.kill()
