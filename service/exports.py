"""A study with all its trials as one file: JSON for recomputing the report elsewhere, CSV for tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from service.catalogs import catalog_of
from service.domain.plain import to_plain
from service.domain.trial import StudyId
from service.store import trials
from service.store.database import Connection
from service.studies import get

SCHEMA = 1
_PLACE = ("number", "arm", "replicate", "phase", "cell_number", "config", "seed_index", "seed", "state", "outcome")
_RESULT = ("value", "test_value", "duration_s", "cpu_s")


def export_json(connection: Connection, study_id: StudyId) -> dict[str, Any]:
    """The study, its workload's endpoint and every trial; raises NotFoundError.

    Numbers are the ledger's, unrounded; NaN and infinities are null.
    """
    row = get(connection, study_id)
    workload = catalog_of(row).workloads[row.study.workload]
    return {
        "schema": SCHEMA,
        "study": {
            "id": row.id,
            "name": row.name,
            "spec": row.study.to_dict(),
            "spec_hash": row.spec_hash,
            "state": row.state,
            "code_revision": row.code_revision,
            "created_at": row.created_at.isoformat(),
            "finished_at": row.finished_at.isoformat() if row.finished_at else None,
        },
        "workload": {"name": workload.name, "endpoint": workload.endpoint, "chance_level": workload.chance_level},
        "trials": [_document(to_plain(record)) for record in trials.records(connection, study_id)],
    }


def export_csv(connection: Connection, study_id: StudyId) -> str:
    """One line for each trial, one column for each parameter (`params.lr`) and metric; raises NotFoundError."""
    get(connection, study_id)
    rows = [to_plain(record) for record in trials.records(connection, study_id)]
    columns = [*_PLACE, *_columns("params", rows), *_RESULT, *_columns("metrics", rows)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(row) for row in rows)
    return text.getvalue()


def _document(record: Mapping[str, Any]) -> dict[str, Any]:
    keys = (*_PLACE, "params", "value", "test_value", "metrics", "duration_s", "cpu_s")
    return {key: record[key] for key in keys}


def _columns(group: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({f"{group}.{name}" for row in rows for name in row[group]})


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    nested = {f"{group}.{name}": value for group in ("params", "metrics") for name, value in row[group].items()}
    return {key: row[key] for key in (*_PLACE, *_RESULT)} | nested
