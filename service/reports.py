"""Reports: recomputed from the ledger, and kept with the revision of the study that they describe.

What a report needs is read in one short transaction that sees one state of the ledger. It is computed after that, so
that neither a connection nor a snapshot is held meanwhile: a large study takes seconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.catalogs import catalog_of
from service.domain.report import REPORT_VERSION, build_report
from service.domain.report_input import ReportInput
from service.domain.report_registration import Registration, Reuse
from service.domain.trial import StudyId
from service.store import progress, reuse, trials
from service.store import reports as store
from service.store.database import Connection, Database
from service.store.studies import StudyRow
from service.studies import get


def build(connection: Connection, study_id: StudyId) -> dict[str, Any]:
    """The comparison as far as the study's trials allow, computed now; raises NotFoundError."""
    return compute(read(connection, get(connection, study_id)))


def store_report(database: Database, study_id: StudyId) -> None:
    """Compute a study's report and keep it; a report of a later revision is not replaced.

    Raises:
        NotFoundError: There is no such study.
        StoreUnavailableError: Postgres does not answer.
    """
    with database.transaction() as connection:
        store.freeze(connection)
        row = get(connection, study_id)
        source = read(connection, row)
    _keep(database, row, compute(source))


def report_of(database: Database, study_id: StudyId) -> dict[str, Any]:
    """The kept report where the study has not changed since, else one computed now; raises as `store_report`.

    That of a study that has ended is kept, so that one of an earlier version of the service is computed anew once.
    """
    with database.transaction() as connection:
        store.freeze(connection)
        row = get(connection, study_id)
        kept = store.current_report(connection, study_id, REPORT_VERSION)
        if kept is not None:
            return kept
        source = read(connection, row)
    document = compute(source)
    if row.is_finished:
        _keep(database, row, document)
    return document


def _keep(database: Database, row: StudyRow, document: dict[str, Any]) -> None:
    with database.transaction() as connection:
        store.save_report(connection, row.id, row.revision, document)


def compute(source: ReportInput) -> dict[str, Any]:
    """The report's JSON; pure, and slow for large studies."""
    from service.importance import importances  # Optuna's import is slow, and few callers compute a report

    return build_report(replace(source, importances=importances(source))).to_dict()


def read(connection: Connection, row: StudyRow) -> ReportInput:
    """All that a study's report is computed from, but for importances."""
    return ReportInput.from_study(
        row.study,
        trials.records(connection, row.id),
        catalog_of(row),
        layers=trials.layer_measurements(connection, row.id),
        cost_per_replicate_s=_cost_per_replicate_s(connection, row),
        wall_s=_wall_s(row),
        registration=_registration(row),
        reuse=_reuse(connection, row),
        is_finished=row.is_finished,
        code_revision=row.code_revision,
        curves=trials.confirm_curves(connection, row.id),
        environments=trials.environments_of(connection, row.id),
        spec_hash=row.spec_hash,
    )


def _registration(row: StudyRow) -> Registration:
    return Registration(row.origin, row.registered_replicates, row.planned_looks, row.looks, row.amendments)


def _reuse(connection: Connection, row: StudyRow) -> Reuse:
    found = reuse.reuse_of(connection, row.id)
    return Reuse(**{**found, "saved_s": float(found["saved_s"]), "studies": tuple(found["studies"])})


def _wall_s(row: StudyRow) -> float | None:
    if not row.is_finished or row.started_at is None or row.finished_at is None:
        return None
    return (row.finished_at - row.started_at).total_seconds()


def _cost_per_replicate_s(connection: Connection, row: StudyRow) -> float | None:
    """Wall seconds of one more replicate: the trainings of one, at the mean duration and parallelism so far."""
    pace = progress.pace_of(connection, row.id)
    if not pace.n_counted or pace.busy_s <= 0:
        return None
    parallelism = max(1.0, pace.busy_s / pace.wall_s) if pace.wall_s > 0 else 1.0
    n_trainings = row.study.n_runs / row.study.replicates
    if row.is_finished and row.study.search.budget is not None:
        n_trainings = pace.n_counted / row.study.replicates  # a budget in steps or seconds ends most searches before T
    return n_trainings * pace.busy_s / pace.n_counted / parallelism
