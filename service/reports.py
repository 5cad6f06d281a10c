"""Reports: recomputed from the ledger, and kept with the revision of the study that they describe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.catalogs import catalog_of
from service.domain.report import build_report
from service.domain.report_input import ReportInput
from service.domain.trial import StudyId
from service.store import progress, trials
from service.store import reports as store
from service.store.database import Connection, Database
from service.store.studies import StudyRow
from service.studies import get

_LATEST_KEY = "looks"
"""The key that reports gained last."""


def build(connection: Connection, study_id: StudyId) -> dict[str, Any]:
    """The comparison as far as the study's trials allow, computed now; raises NotFoundError."""
    return _build(connection, get(connection, study_id))


def store_report(database: Database, study_id: StudyId) -> None:
    """Compute a study's report and keep it; a report of a later revision is not replaced.

    Raises:
        NotFoundError: There is no such study.
        StoreUnavailableError: Postgres does not answer.
    """
    with database.transaction() as connection:
        row = get(connection, study_id)  # before the trials: what is added meanwhile makes the report outdated
        store.save_report(connection, study_id, row.revision, _build(connection, row))


def report_of(database: Database, study_id: StudyId) -> dict[str, Any]:
    """The kept report where the study has not changed since, else one computed now; raises as `store_report`."""
    with database.transaction() as connection:
        kept = store.current_report(connection, study_id)
        is_whole = kept is not None and _LATEST_KEY in kept  # an earlier version of the service may have kept it
        return kept if kept is not None and is_whole else build(connection, study_id)


def _build(connection: Connection, row: StudyRow) -> dict[str, Any]:
    from service.importance import importances  # Optuna's import is slow, and few callers compute a report

    source = ReportInput.from_study(
        row.study,
        trials.records(connection, row.id),
        catalog_of(row),
        layers=trials.layer_measurements(connection, row.id),
        cost_per_replicate_s=_cost_per_replicate_s(connection, row),
        was_extended_after_look=any(amendment["after_look"] for amendment in row.amendments),
        looks=row.planned_looks,
        is_finished=row.is_finished,
        code_revision=row.code_revision,
        curves=trials.confirm_curves(connection, row.id),
        environments=trials.environments_of(connection, row.id),
        spec_hash=row.spec_hash,
    )
    return build_report(replace(source, importances=importances(source))).to_dict()


def _cost_per_replicate_s(connection: Connection, row: StudyRow) -> float | None:
    """Wall seconds of one more replicate: the trainings of one, at the mean duration and parallelism so far."""
    pace = progress.pace_of(connection, row.id)
    if not pace.n_counted or pace.busy_s <= 0:
        return None
    parallelism = max(1.0, pace.busy_s / pace.wall_s) if pace.wall_s > 0 else 1.0
    n_trainings = row.study.n_runs / row.study.replicates
    return n_trainings * pace.busy_s / pace.n_counted / parallelism
