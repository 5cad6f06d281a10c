"""A live, read-only Optuna storage over the ledger, for everything that reads Optuna's studies.

    storage = LedgerStorage.connect("postgresql://…", study_id=12)
    study = optuna.load_study(study_name="study-12/adamw/r0", storage=storage)

`service.optuna_view` says which Optuna studies there are. Only trials that changed since the last look are read; at
most `max_loaded` of Tangent's studies are kept in memory. Thread-safe.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import OrderedDict
from collections.abc import Container
from typing import Any, Self

from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from service.domain.trial import StudyId
from service.optuna_view import Book, Kind, Reader, books_of, show_study
from service.search.reading import ReadOnlyStorage
from service.store import optuna_reads
from service.store.database import Connection, Database
from service.store.studies import get_study


class LedgerStorage(ReadOnlyStorage):
    """Tangent's studies as Optuna's; every write is refused.

    What Optuna is given follows the ledger with at most `refresh_s` of delay.
    """

    refusal = (
        "Optuna may read Tangent's ledger but not write it: slots write it under leases, so that no trial counts "
        "twice; submit a study with `tangent submit`, or copy this one with optuna.copy_study and write to the copy"
    )

    def __init__(
        self, database: Database, study_id: StudyId | None = None, *, refresh_s: float = 1.0, max_loaded: int = 4
    ) -> None:
        """A storage over one study, or all.

        Args:
            database: Used for reading only; stays the caller's to close.
            study_id: The Tangent study to show; None shows all.
            refresh_s: For so long an answer is given again without a look at the ledger.
            max_loaded: Most Tangent studies whose trials are kept in memory; from 1.
        """
        self._database, self._scope, self._refresh_s = database, study_id, refresh_s
        self._max_loaded = max_loaded
        self._lock = threading.RLock()
        self._loaded: OrderedDict[StudyId, _LoadedStudy] = OrderedDict()
        self._books: dict[int, Book] = {}
        self._shown: dict[int, tuple[int, FrozenStudy]] = {}
        self._looked_at = float("-inf")

    @classmethod
    def connect(cls, url: str, study_id: int | None = None, **options: Any) -> Self:
        """A storage with connections of its own to the ledger at `url`; `close` ends them."""
        database = Database(url, application_name="tangent-optuna", pool_size=2)
        return cls(database, None if study_id is None else StudyId(study_id), **options)

    def close(self) -> None:
        """Close the connections to the ledger."""
        self._database.close()

    def get_study_id_from_name(self, study_name: str) -> int:
        """The id; KeyError, with the known names, where there is none."""
        with self._lock:
            self._look_around()
            for book in self._books.values():
                if book.name == study_name:
                    return book.id
            known = ", ".join(book.name for book in list(self._books.values())[:20])
            raise KeyError(f"there is no Optuna study '{study_name}'; there are {known or 'none'}")

    def get_study_name_from_id(self, study_id: int) -> str:
        """The name."""
        return self._book(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Always to be minimised."""
        self._book(study_id)
        return [StudyDirection.MINIMIZE]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """What `service.optuna_view.show_study` says."""
        return self._study(study_id).user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """None."""
        self._book(study_id)
        return {}

    def get_all_studies(self) -> list[FrozenStudy]:
        """Every Optuna study in scope, by id."""
        with self._lock:
            self._look_around()
            return [self._current(self._books[study_id]) for study_id in sorted(self._books)]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Trials by number."""
        with self._lock:
            book = self._book(study_id)
            trials = self._load(book.shelf.study_id).lists.get(study_id, [])
            chosen = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial; KeyError where there is none in scope."""
        with self._lock:
            for study_id in [*self._loaded, *self._owner_of(trial_id)]:
                loaded = self._load(study_id)
                if trial_id in loaded.places:
                    optuna_study, number = loaded.places[trial_id]
                    return loaded.lists[optuna_study][number]
        raise KeyError(f"there is no trial with id {trial_id}")

    def _owner_of(self, trial_id: int) -> list[StudyId]:
        with optuna_reads.reading(self._database) as connection:
            found = optuna_reads.study_of_trial(connection, trial_id // len(Kind))
        return [found] if found is not None and self._scope in (None, found) else []

    def _book(self, study_id: int) -> Book:
        with self._lock:
            if study_id not in self._books:
                self._look_around()
            if study_id not in self._books:
                raise KeyError(f"there is no Optuna study with id {study_id}")
            return self._books[study_id]

    def _study(self, study_id: int) -> FrozenStudy:
        with self._lock:
            self._look_around()
            return self._current(self._book(study_id))

    def _current(self, book: Book) -> FrozenStudy:
        kept = self._shown.get(book.id)
        if kept is None or kept[0] != book.shelf.revision:
            with optuna_reads.reading(self._database) as connection:
                self._show(connection, book.shelf.study_id)
        return self._shown[book.id][1]

    def _show(self, connection: Connection, study_id: StudyId) -> None:
        row = get_study(connection, study_id)
        if row is None:
            raise KeyError(f"study {study_id} is no longer in the ledger")
        for book in self._books.values():
            if book.shelf.study_id == study_id:
                self._shown[book.id] = (book.shelf.revision, show_study(book, row))

    def _look_around(self) -> None:
        """Which Optuna studies there are."""
        if time.monotonic() - self._looked_at < self._refresh_s:
            return
        with optuna_reads.reading(self._database) as connection:
            shelves = optuna_reads.shelves(connection, self._scope)
        self._books = {book.id: book for shelf in shelves for book in books_of(shelf)}
        self._shown = {study_id: kept for study_id, kept in self._shown.items() if study_id in self._books}
        self._looked_at = time.monotonic()

    def _load(self, study_id: StudyId) -> _LoadedStudy:
        """The study's trials, up to date; the longest unused goes where there are too many."""
        loaded = self._loaded.setdefault(study_id, _LoadedStudy(study_id))
        self._loaded.move_to_end(study_id)
        while len(self._loaded) > self._max_loaded:
            self._loaded.popitem(last=False)
        if time.monotonic() - loaded.looked_at >= self._refresh_s:
            with optuna_reads.reading(self._database) as connection:
                loaded.refresh(connection)
        return loaded


class _LoadedStudy:
    """The trials of one Tangent study, in all the places where they are shown.

    Attributes:
        lists: Trials by number, by Optuna's study id.
        places: (Optuna's study id, number) by Optuna's trial id.
    """

    def __init__(self, study_id: StudyId) -> None:
        self._study_id = study_id
        self.lists: dict[int, list[FrozenTrial]] = {}
        self.places: dict[int, tuple[int, int]] = {}
        self.looked_at = float("-inf")
        self._revision: int | None = None
        self._last_number = -1
        self._reader: Reader | None = None

    def refresh(self, connection: Connection) -> None:
        """Read what changed; KeyError where the study is gone."""
        seen = optuna_reads.look(connection, self._study_id, self._revision, self._last_number)
        if seen is None:
            raise KeyError(f"study {self._study_id} is no longer in the ledger")
        if self._reader is None:
            row = get_study(connection, self._study_id)
            assert row is not None  # noqa: S101 (seen in the same transaction)
            shelves = optuna_reads.shelves(connection, self._study_id)
            self._reader = Reader.of(row, {shelf.arm: shelf.arm_id for shelf in shelves})
        for line in seen.trials:
            for optuna_study, trial_id in self._reader.places(line):
                trials = self.lists.setdefault(optuna_study, [])
                _, number = self.places.setdefault(trial_id, (optuna_study, len(trials)))
                trials[number : number + 1] = [self._reader.show(line, trial_id, number)]
            self._last_number = max(self._last_number, line.number)
        self._revision = seen.revision
        self.looked_at = time.monotonic()
