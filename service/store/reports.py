"""Computed reports, kept with the revision of the study that they describe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from service.domain.trial import StudyId


def save_report(connection: Connection, study_id: StudyId, revision: int, report: Mapping[str, Any]) -> bool:
    """Keep a report; False where one of a later revision is there already, or the study was deleted meanwhile."""
    statement = text("""
        INSERT INTO reports (study_id, revision, report)
        SELECT id, :revision, CAST(:report AS jsonb) FROM studies WHERE id = :study_id FOR KEY SHARE
        ON CONFLICT (study_id) DO UPDATE
        SET revision = excluded.revision, report = excluded.report, created_at = now()
        WHERE reports.revision <= excluded.revision
        RETURNING study_id
    """)
    document = json.dumps(dict(report), allow_nan=False)
    arguments = {"study_id": study_id, "revision": revision, "report": document}
    return connection.execute(statement, arguments).one_or_none() is not None


def current_report(connection: Connection, study_id: StudyId, version: int) -> dict[str, Any] | None:
    """The stored report; None where there is none of this version, or the study has changed since."""
    statement = text("""
        SELECT r.report FROM reports r JOIN studies s ON s.id = r.study_id AND s.revision = r.revision
        WHERE s.id = :study_id AND r.report -> 'version' = to_jsonb(CAST(:version AS int))
    """)
    report = connection.execute(statement, {"study_id": study_id, "version": version}).scalar_one_or_none()
    return None if report is None else dict(report)


def freeze(connection: Connection) -> None:
    """Let all further statements of this transaction see one state of the ledger, and write nothing.

    To be called before the transaction's first statement.
    """
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
