"""`python -m service.coordinator`: asks and tells for every active study, moves cells through their phases, sweeps.

Several may run. A study is looked after by the one whose Postgres session holds its advisory lock, and everything that
one writes goes through that very session: a coordinator that lost its session has lost its lock and cannot write.
What it keeps in memory (records, searches) is rebuilt from the ledger whenever the lock is taken anew.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from queue import SimpleQueue

from celery import Celery

from service import queue
from service.config import Settings, load_settings
from service.domain.trial import Outcome, StudyId, TrialId
from service.errors import QueueUnavailableError, StoreRefusedError, StoreUnavailableError, TangentError
from service.store import control, idempotency, leases, locks, studies, workers
from service.store.control import OutdatedError
from service.store.database import Connection, Database, step
from service.store.workers import QueueDepth
from service.study_work import StudyWork

log = logging.getLogger("tangent.coordinator")

_CATCHABLE = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, StoreRefusedError)


class Coordinator:
    """One coordinator process.

    `run` returns when `stop` is set. It survives the absence of Postgres and Redis: without Postgres it waits, without
    Redis its hints are lost and the sweep repeats them.
    """

    def __init__(self, database: Database, app: Celery, settings: Settings) -> None:
        self._database, self._app, self._settings = database, app, settings
        self._woken = threading.Event()
        self._work: dict[StudyId, StudyWork] = {}
        self._refused: set[StudyId] = set()
        self._next_sweep = 0.0
        self._is_queue_away = False
        self._is_hint_due = False

    def run(self, stop: threading.Event) -> None:
        """Look after studies until `stop` is set."""
        threading.Thread(target=self._listen, args=(stop,), name="listen", daemon=True).start()
        while not stop.is_set():
            try:
                with self._locked_session() as session:
                    while not stop.is_set():
                        self._turn(session)
                        self._woken.wait(self._pause_s())
            except StoreUnavailableError as error:
                log.warning("Postgres does not answer, trying again: %s", error)
                stop.wait(1.0)
            except StoreRefusedError:
                log.exception("Postgres refused what the coordinator needs, trying again")
                stop.wait(1.0)

    def _pause_s(self) -> float:
        """Seconds to the next look, or to the sweep where that comes first: a lost lease must not wait for both."""
        return min(self._settings.poll.total_seconds(), max(0.0, self._next_sweep - time.monotonic()))

    def wake(self) -> None:
        """Look at the ledger now."""
        self._woken.set()

    @contextlib.contextmanager
    def _locked_session(self) -> Iterator[Connection]:
        with self._database.session() as session:
            try:
                yield session
            finally:
                self._work.clear()

    def _listen(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                for batch in self._database.listen(self._settings.poll.total_seconds()):
                    kinds = {json.loads(payload)[2] for payload in batch}
                    self._is_hint_due = self._is_hint_due or not kinds.isdisjoint(_FREE_WORK)
                    if not kinds.isdisjoint(_CONCERN_US):
                        self.wake()
                    if stop.is_set():
                        return
            except StoreUnavailableError:
                stop.wait(1.0)

    def _turn(self, session: Connection) -> None:
        self._woken.clear()
        with step(session):
            active = control.active_studies(session, {i: work.revision for i, work in self._work.items()})
        hints: dict[str, int] = {}
        for entry in active:
            if entry.is_outdated:
                self._let_go(session, entry.id)
            if (work := self._take(session, entry.id)) is not None:
                work.revision = max(work.revision, entry.revision)
                added = self._advance(session, work)
                hints[work.study.queue] = hints.get(work.study.queue, 0) + added
        for study_id in set(self._work) - {entry.id for entry in active}:
            self._let_go(session, study_id)
        self._announce(session, hints)
        if self._is_hint_due:
            self._is_hint_due = False
            with step(session):
                depths = workers.queue_depths(session)
            self._hint_idle(depths)
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + self._settings.sweep.total_seconds()
            self._sweep(session)

    def _take(self, session: Connection, study_id: StudyId) -> StudyWork | None:
        if study_id not in self._work:
            with step(session):
                if not locks.try_lock_study(session, study_id):
                    return None
            try:
                with step(session):
                    self._work[study_id] = StudyWork.load(session, study_id)
            except _CATCHABLE as error:
                self._give_up(session, study_id, error)
                self._let_go(session, study_id)
                return None
        return self._work[study_id]

    def _give_up(self, session: Connection, study_id: StudyId, error: Exception) -> None:
        """End one study that would otherwise stop the coordinator for all."""
        log.exception("study %s cannot go on", study_id)
        with contextlib.suppress(StoreRefusedError), step(session):  # the other studies still can
            studies.end_study(session, study_id, "FAILED", f"the coordinator could not go on: {error}")

    def _start_again(self, session: Connection, study_id: StudyId, error: StoreRefusedError) -> None:
        """Read a study anew after a refusal, which may be its memory's fault; after a second one it has to end."""
        self._let_go(session, study_id)
        if study_id in self._refused:
            self._give_up(session, study_id, error)
        else:
            log.warning("Postgres refused a statement of study %s, which is read again: %s", study_id, error)
            self._refused.add(study_id)

    def _let_go(self, session: Connection, study_id: StudyId) -> None:
        self._work.pop(study_id, None)
        with step(session):
            locks.unlock_study(session, study_id)

    def _advance(self, session: Connection, work: StudyWork) -> int:
        try:
            with step(session):
                n_added = work.advance(session)
            self._refused.discard(work.study_id)
        except OutdatedError:
            self._let_go(session, work.study_id)
            self.wake()
            return 0
        except StoreRefusedError as error:
            self._start_again(session, work.study_id, error)
            return 0
        except _CATCHABLE as error:
            self._give_up(session, work.study_id, error)
            return 0
        if work.ending is not None and self._end(session, work, *work.ending):
            log.info("study %s ended: %s %s", work.study_id, *work.ending)
            self._ask_for_report(work.study_id)
        return n_added

    def _end(self, session: Connection, work: StudyWork, state: str, reason: str | None) -> bool:
        """End a study, unless somebody gave it more to do in this moment."""
        try:
            with step(session):
                studies.end_study(session, work.study_id, state, reason)
                if control.came_after(session, work.study_id, work.revision):
                    raise OutdatedError(f"study {work.study_id} was changed while it was ending")
        except OutdatedError:
            self._let_go(session, work.study_id)
            self.wake()
            return False
        return True

    def _ask_for_report(self, study_id: StudyId) -> None:
        if self._is_queue_away:
            return
        with contextlib.suppress(QueueUnavailableError):  # the API computes a report that is missing
            queue.ask_for_report(self._app, study_id)

    def _announce(self, session: Connection, hints: dict[str, int]) -> None:
        if self._is_queue_away or not any(hints.values()):
            return
        with step(session):
            depths = {depth.queue: depth for depth in workers.queue_depths(session)}
        for name, n_added in hints.items():
            n_slots = depths[name].n_slots if name in depths else 0
            self._hint(name, min(n_added, max(1, n_slots)))

    def _hint(self, name: str, n_hints: int) -> None:
        """Announce work; while Redis is away only the sweep tries, for it may take seconds to say so."""
        try:
            queue.announce_work(self._app, name, n_hints)
            self._is_queue_away = False
        except QueueUnavailableError as error:
            self._is_queue_away = True
            log.warning("%s; the sweep repeats the hint", error)

    def _sweep(self, session: Connection) -> None:
        with step(session):
            expired = leases.expired_trials(session, grace=self._settings.lease)
        for trial_id, attempt in expired:
            with _logged(f"trial id {trial_id} cannot be taken back"):
                self._take_back(session, trial_id, attempt)
        with step(session):
            if not locks.try_lock_sweep(session):
                return
            studies.cancel_stragglers(session)
            workers.sweep_workers(session, 3 * self._settings.lease)
            idempotency.sweep_keys(session)
            depths = workers.queue_depths(session)
        self._hint_idle(depths)

    def _hint_idle(self, depths: Iterable[QueueDepth]) -> None:
        """Hint at work that waits although slots are free."""
        for depth in depths:
            idle = depth.n_slots - depth.n_running
            if depth.n_claimable and idle > 0:
                self._hint(depth.queue, min(depth.n_claimable, idle))

    def _take_back(self, session: Connection, trial_id: TrialId, attempt: int) -> None:
        """One transaction for each trial: two would wait for a trial's row while holding a study's."""
        with step(session):
            state = leases.hand_back_trial(
                session, trial_id, attempt, outcome=Outcome.LOST, reason="the lease ended", only_expired=True
            )
        if state is not None:
            log.warning("attempt %s of trial id %s lost its lease; now %s", attempt, trial_id, state)
            self.wake()


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    """Go on after a refusal by Postgres, with a line of the log."""
    try:
        yield
    except StoreRefusedError as error:
        log.error("%s: %s", what, error)


_FREE_WORK = frozenset({"resumed", "control", "settings", "workers"})
"""Kinds of notifications after which trials that waited before may be claimed."""
_CONCERN_US = frozenset({"submitted", "trial", "study", "rung"}) | _FREE_WORK
"""Those after which there may be something to do."""


def main() -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    try:
        settings = load_settings()
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        database = Database(settings.require_database_url(), application_name="tangent-coordinator", pool_size=1)
        coordinator = Coordinator(database, queue.make_app(settings.require_redis_url()), settings)
    except TangentError as error:
        sys.stderr.write(f"tangent: {error}\n")
        return 1
    stop = threading.Event()
    signals: SimpleQueue[int] = SimpleQueue()

    def pass_on() -> None:
        signals.get()
        stop.set()
        coordinator.wake()

    # An Event must not be set in a handler, which may interrupt its own thread while that holds the Event's lock.
    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.put(number))
    log.info("started")
    coordinator.run(stop)
    log.info("stopped")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
