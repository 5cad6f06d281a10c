"""A study's events: what happened, in order, without gaps."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from service.domain.trial import StudyId


def events_after(connection: Connection, study_id: StudyId, revision: int, limit: int = 500) -> list[dict[str, Any]]:
    """Events of a study with a revision above `revision`, in order, at most `limit`."""
    statement = text("""
        SELECT revision, kind, data, created_at FROM events
        WHERE study_id = :study_id AND revision > :revision ORDER BY revision LIMIT :limit
    """)
    arguments = {"study_id": study_id, "revision": revision, "limit": limit}
    return [dict(row) for row in connection.execute(statement, arguments).mappings()]
