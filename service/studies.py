"""Studies: validated, submitted, listed, shown with their progress, cancelled. Each function is one transaction's work.

The caller opens and commits the transaction. Nothing else is done on submission: the insert's NOTIFY, sent at the
commit, wakes the coordinator, which asks for trials and hints at workers.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from service.catalogs import catalog_of, current_catalog, record_of
from service.domain.catalog import Catalog
from service.domain.cost import TYPICAL, Calibration, Cost, Spread, estimate_cost, run_s
from service.domain.lint import study_warnings
from service.domain.samplers import SAMPLERS
from service.domain.study import Study
from service.domain.trial import Phase, StudyId
from service.domain.validation import InvalidStudyError, study_from_file
from service.errors import ConflictError, InvalidInputError, NotFoundError
from service.store import progress, workers
from service.store import studies as store
from service.store.calibration import earlier_runs
from service.store.database import Connection
from service.store.studies import CellRow, StudyRow

PHASES = (Phase.SEARCH, Phase.SELECT, Phase.CONFIRM)


@dataclass(frozen=True)
class Validation:
    """A study file that could run.

    Attributes:
        wall_s: `cost.device_s` over the slots that listen to the study's queue; None where there is no slot.
        warnings: What may keep the study from running, and what mixes the question with another, in sentences.
    """

    study: Study
    cost: Cost
    n_slots: int
    wall_s: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """One arm in one phase.

    Attributes:
        n_planned: Trials of the arm's cells that must finish, diverge or be pruned.
        n_counted: Those that did.
        best: Lowest validation endpoint so far.
    """

    arm: str
    phase: Phase
    n_planned: int
    n_waiting: int = 0
    n_running: int = 0
    n_counted: int = 0
    n_failed: int = 0
    n_cancelled: int = 0
    n_diverged: int = 0
    best: float | None = None
    cpu_s: float = 0.0
    duration_s: float = 0.0


@dataclass(frozen=True)
class StudyView:
    """A study with all that its page shows.

    Attributes:
        progress: By arm as declared, then phase; all three phases of every arm.
        n_planned: Trainings of the whole study.
        eta_s: Seconds until the last of them, at the recent pace; None where nothing is known or the study is not
            running.
    """

    row: StudyRow
    progress: tuple[Progress, ...]
    cells: tuple[CellRow, ...]
    n_planned: int
    n_counted: int
    eta_s: float | None


def validate(
    connection: Connection, document: Mapping[str, Any], samplers: Iterable[str] = tuple(SAMPLERS)
) -> Validation:
    """Check a study file and say what the study would cost; writes nothing.

    Args:
        document: A study file whose shape was checked already.
        samplers: Those that are offered here.

    Raises:
        InvalidInputError: With every problem of the file.
    """
    return _validation(connection, document, current_catalog(connection), samplers)


def submit(
    connection: Connection,
    document: Mapping[str, Any],
    samplers: Iterable[str] = tuple(SAMPLERS),
    parent_id: StudyId | None = None,
) -> tuple[StudyId, Validation]:
    """Add a study, made from `parent_id` if any; raises as `validate` does, and then nothing was written."""
    catalog = current_catalog(connection)
    validation = _validation(connection, document, catalog, samplers)
    environment = {
        "tangent": metadata.version("tangent"),
        "python": platform.python_version(),
        "catalog": record_of(validation.study, catalog),
    }
    return store.insert_study(connection, validation.study, environment, parent_id), validation


def _validation(
    connection: Connection, document: Mapping[str, Any], catalog: Catalog, samplers: Iterable[str]
) -> Validation:
    try:
        study = study_from_file(document, catalog, samplers)
    except InvalidStudyError as error:
        n = len(error.problems)
        problems = [(problem.field, problem.message) for problem in error.problems]
        count = "1 problem" if n == 1 else f"{n} problems"
        raise InvalidInputError(f"the study cannot run as described: {count}", problems) from error
    cost = estimate_cost(study, catalog.workloads[study.workload], _calibration(connection, study))
    n_slots = _n_slots(connection, study.queue)
    wall_s = cost.device_s / n_slots if n_slots else None
    return Validation(study, cost, n_slots, wall_s, (*_warnings(connection, study), *study_warnings(study, catalog)))


def list_page(
    connection: Connection, *, before: int | None = None, limit: int = 50, state: str | None = None
) -> tuple[list[StudyRow], int | None]:
    """A page of studies, newest first, and the `before` of the next page, None at the end."""
    rows = store.list_studies(connection, before=before, limit=limit + 1, state=state)
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def cancelled_counts(connection: Connection, rows: Iterable[StudyRow]) -> dict[StudyId, int]:
    """How many trials of each study ended as cancelled; studies without any are left out."""
    ended = [row.id for row in rows if row.is_finished and row.counts["n_fail"]]
    return progress.cancelled_counts(connection, ended) if ended else {}


def get(connection: Connection, study_id: StudyId) -> StudyRow:
    """The study's row; raises NotFoundError."""
    row = store.get_study(connection, study_id)
    if row is None:
        raise NotFoundError(f"there is no study {study_id}")
    return row


def show(connection: Connection, study_id: StudyId) -> StudyView:
    """The study with its progress; raises NotFoundError."""
    row = get(connection, study_id)
    bars = tuple(_progress(connection, row))
    n_counted = sum(entry.n_counted for entry in bars)
    cells = tuple(store.cells_of(connection, study_id))
    eta_s = _eta_s(connection, row, row.study.n_runs - n_counted)
    return StudyView(row, bars, cells, row.study.n_runs, n_counted, eta_s)


def cancel(connection: Connection, study_id: StudyId) -> StudyRow:
    """End a study: waiting trials end as cancelled, running ones stop at their next step.

    Raises:
        NotFoundError: There is no such study.
        ConflictError: It has ended before.
    """
    row = get(connection, study_id)
    if not store.end_study(connection, study_id, "CANCELLED", "cancelled by a user"):
        row = get(connection, study_id)
        raise ConflictError(f"study {study_id} has ended already: it is {row.state}")
    return get(connection, study_id)


def _progress(connection: Connection, row: StudyRow) -> list[Progress]:
    counted = {(entry["arm"], entry["phase"]): entry for entry in progress.progress_of(connection, row.id)}
    planned = row.study.runs_per_cell()
    result = []
    for arm in row.study.arms:
        for phase in PHASES:
            known = counted.get((arm.name, phase.value), {})
            measured = {key: value for key, value in known.items() if key not in ("arm", "phase")}
            result.append(Progress(arm.name, phase, planned[phase] * row.study.replicates, **measured))
    return result


def _eta_s(connection: Connection, row: StudyRow, n_left: int) -> float | None:
    """Remaining trainings at the pace of the latest ones; before the first, by the catalog's guess and the slots."""
    if row.state != "RUNNING":
        return None
    pace = progress.pace_of(connection, row.id)
    if pace.n_recent and pace.recent_s > 0:
        return max(0, n_left) * pace.recent_s / pace.n_recent
    n_slots = _n_slots(connection, row.study.queue)
    workload = catalog_of(row).workloads.get(row.study.workload)
    return n_left * run_s(row.study, workload) / n_slots if workload and n_slots else None


def _n_slots(connection: Connection, queue: str) -> int:
    return sum(depth.n_slots for depth in workers.queue_depths(connection) if depth.queue == queue)


def _calibration(connection: Connection, study: Study) -> Calibration | None:
    """From earlier trainings of the same workload: their mean duration, the median spread of their comparisons."""
    found = earlier_runs(connection, study.workload, study.options, study.device)
    if found is None:
        return None
    spread = TYPICAL
    if found.components:
        within, between = (statistics.median(values) for values in zip(*found.components, strict=True))
        spread = Spread(within, between, len(found.components))
    return Calibration(found.run_s, found.n_runs, spread)


def _warnings(connection: Connection, study: Study) -> list[str]:
    warnings = []
    online = workers.list_workers(connection, only_online=True)
    if not any(study.device in worker["devices"] and study.queue in worker["queues"] for worker in online):
        warnings.append(f"no worker for device {study.device} is online; the study will wait until one is")
    return warnings + _seed_warnings(store.studies_of_seed(connection, study), study.seed)


def _seed_warnings(others: list[tuple[StudyId, bool]], seed: int) -> list[str]:
    same = [str(study_id) for study_id, is_same in others if is_same]
    if same:
        return [f"study {same[0]} is the same file: this one repeats its numbers; another seed gives new evidence"]
    if others:
        listed = ", ".join(str(study_id) for study_id, _ in others)
        what = (
            f"seed {seed} was used on this workload by study {listed} too: random draws and training seeds are shared"
        )
        return [f"{what}; another seed gives independent evidence"]
    return []
