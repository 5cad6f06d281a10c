"""What a study's page shows beside its report and its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from service.domain.trial import StudyId


@dataclass(frozen=True)
class Failure:
    """Failed trials of one class; `example` is the latest one's number, `reason` what it says."""

    outcome: str
    n: int
    example: int
    reason: str | None


def failures_of(connection: Connection, study_id: StudyId) -> list[Failure]:
    """Failed trials by class, the most frequent first."""
    statement = text("""
        SELECT outcome, count(*) AS n, max(number) AS example,
               (array_agg(reason ORDER BY number DESC))[1] AS reason
        FROM trials WHERE study_id = :id AND state = 'FAIL'
        GROUP BY outcome ORDER BY count(*) DESC, outcome
    """)
    return [Failure(**row) for row in connection.execute(statement, {"id": study_id}).mappings()]


def latest_report(connection: Connection, study_id: StudyId) -> tuple[dict[str, Any], int] | None:
    """The kept report without its raw values, and the study's revision that it describes, however old; or None."""
    statement = text("""
        SELECT report - ARRAY['trials', 'curves', 'environments', 'layers'] AS report, revision
        FROM reports WHERE study_id = :id
    """)
    row = connection.execute(statement, {"id": study_id}).one_or_none()
    return None if row is None else (row.report, row.revision)
