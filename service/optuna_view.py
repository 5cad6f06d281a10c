"""How Tangent's studies look to Optuna: which Optuna studies there are, and a trial of each.

A Tangent study shows as one Optuna study for each cell ("study-12/adamw/r0": what that cell's sampler saw), one for
each arm ("study-12/adamw": the search trials of all its replicates) and one for an arm's select and confirm runs
("study-12/adamw/reruns": configurations of the search on fresh seeds). Values are validation endpoints, to be
minimised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from service.catalogs import catalog_of
from service.domain.space import fixed
from service.domain.trial import Phase
from service.search import distributions_of
from service.store.optuna_reads import Shelf, TrialLine
from service.store.studies import StudyRow


class Kind(IntEnum):
    """What an Optuna study holds; an Optuna id is a ledger id times 3 plus this, so that none stands for two things."""

    CELL = 0
    ARM = 1
    RERUNS = 2

    def optuna_id(self, ledger_id: int) -> int:
        """The id of the study, or trial, to Optuna."""
        return ledger_id * len(Kind) + self


@dataclass(frozen=True)
class Book:
    """One Optuna study.

    Attributes:
        id: Its id to Optuna.
        replicate: Of a cell; None where there are several.
    """

    id: int
    name: str
    kind: Kind
    shelf: Shelf
    replicate: int | None = None


def books_of(shelf: Shelf) -> list[Book]:
    """The Optuna studies of an arm."""
    name = f"study-{shelf.study_id}/{shelf.arm}"
    cells = [
        Book(Kind.CELL.optuna_id(cell_id), f"{name}/r{replicate}", Kind.CELL, shelf, replicate)
        for cell_id, replicate in shelf.cells
    ]
    whole = Book(Kind.ARM.optuna_id(shelf.arm_id), name, Kind.ARM, shelf)
    return [whole, *cells, Book(Kind.RERUNS.optuna_id(shelf.arm_id), f"{name}/reruns", Kind.RERUNS, shelf)]


@dataclass(frozen=True)
class Reader:
    """What is needed to show a study's trials.

    Attributes:
        distributions: Of each arm's searched dimensions.
        chance_level: The value of a trial that diverged.
        arm_ids: By name.
    """

    distributions: Mapping[str, Mapping[str, BaseDistribution]]
    chance_level: float
    arm_ids: Mapping[str, int]

    @classmethod
    def of(cls, row: StudyRow, arm_ids: Mapping[str, int]) -> Reader:
        """The reader of a study."""
        chance_level = catalog_of(row).workloads[row.study.workload].chance_level
        return cls({arm.name: distributions_of(arm.dimensions) for arm in row.study.arms}, chance_level, arm_ids)

    def places(self, line: TrialLine) -> list[tuple[int, int]]:
        """(study, trial), as Optuna's ids, of every place where a trial is shown."""
        arm_id = self.arm_ids[line.arm]
        if line.phase is not Phase.SEARCH:
            return [(Kind.RERUNS.optuna_id(arm_id), Kind.RERUNS.optuna_id(line.id))]
        cell = (Kind.CELL.optuna_id(line.cell_id), Kind.CELL.optuna_id(line.id))
        return [cell, (Kind.ARM.optuna_id(arm_id), Kind.ARM.optuna_id(line.id))]

    def show(self, line: TrialLine, trial_id: int, number: int) -> FrozenTrial:
        """The trial as it stands in one place."""
        known = self.distributions[line.arm]
        distributions = {name: known[name] for name in known if name in line.params}  # an imported trial may lack some
        state = OptunaState[line.state.value]
        started = line.started_at or line.finished_at  # a trial that was cancelled while it waited never started
        return FrozenTrial(
            number=number,
            trial_id=trial_id,
            state=state,
            value=self._value(line, state),
            datetime_start=_local(started),
            datetime_complete=_local(line.finished_at) if state.is_finished() else None,
            params={name: line.params[name] for name in distributions},
            distributions=distributions,
            user_attrs=_attributes(line),
            system_attrs={},
            intermediate_values={epoch: math.nan if v is None else v for epoch, v in line.rungs.items()},
        )

    def _value(self, line: TrialLine, state: OptunaState) -> float | None:
        if state is OptunaState.COMPLETE and line.value is None:
            return self.chance_level
        return line.value if state in (OptunaState.COMPLETE, OptunaState.PRUNED) else None


def show_study(book: Book, row: StudyRow) -> FrozenStudy:
    """One Optuna study with what its attributes say of the Tangent study."""
    arm, plan = row.study.arm(book.shelf.arm), row.study.search
    attributes: dict[str, Any] = {
        "tangent_study": row.id,
        "study_name": row.name,
        "state": row.state,
        "origin": "imported, not preregistered" if row.origin == "imported" else row.origin,
        "workload": row.study.workload,
        "value": f"validation {catalog_of(row).workloads[row.study.workload].endpoint}",
        "arm": arm.name,
        "optimizer": arm.optimizer,
        "fixed": fixed(arm.space),
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "spec_hash": row.spec_hash,
    }
    if book.replicate is not None:
        attributes["replicate"] = book.replicate
    return FrozenStudy(book.name, StudyDirection.MINIMIZE, attributes, {}, book.id)


def _attributes(line: TrialLine) -> dict[str, Any]:
    """What Optuna has no place for; a seed is text, because JavaScript rounds whole numbers above 2**53."""
    named = {
        "number": line.number,
        "phase": line.phase.value,
        "replicate": line.replicate,
        "config": line.config,
        "seed_index": line.seed_index,
        "seed": str(line.seed),
        "attempt": line.attempt,
        "outcome": line.outcome.value if line.outcome else None,
        "reason": line.reason,
        "test_value": line.test_value,
        "duration_s": line.duration_s,
        **{f"metrics.{name}": value for name, value in line.metrics.items()},
    }
    return {name: value for name, value in named.items() if value is not None}


def _local(moment: datetime | None) -> datetime | None:
    """Optuna's moments are local and carry no zone."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)
