"""How far a study is, and how fast it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from service.domain.trial import StudyId


def progress_of(connection: Connection, study_id: StudyId) -> list[dict[str, Any]]:
    """Counts and the best value by arm and phase, for bars.

    Returns:
        Rows of arm, phase, n_waiting, n_running, n_counted, n_failed, n_cancelled, n_diverged, best (validation
        endpoint or None).
    """
    statement = text("""
        SELECT a.name AS arm, t.phase,
               count(*) FILTER (WHERE t.state = 'WAITING') AS n_waiting,
               count(*) FILTER (WHERE t.state = 'RUNNING') AS n_running,
               count(*) FILTER (WHERE t.outcome IN ('finished', 'diverged', 'pruned')) AS n_counted,
               count(*) FILTER (WHERE t.state = 'FAIL' AND t.outcome <> 'cancelled') AS n_failed,
               count(*) FILTER (WHERE t.outcome = 'cancelled') AS n_cancelled,
               count(*) FILTER (WHERE t.outcome = 'diverged') AS n_diverged,
               min(t.value) AS best, coalesce(sum(t.cpu_s), 0) AS cpu_s, coalesce(sum(t.duration_s), 0) AS duration_s
        FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
        WHERE t.study_id = :id
        GROUP BY a.position, a.name, t.phase
        ORDER BY a.position, array_position(ARRAY['search', 'select', 'confirm'], t.phase)
    """)
    return [dict(row) for row in connection.execute(statement, {"id": study_id}).mappings()]


def cancelled_counts(connection: Connection, study_ids: Sequence[StudyId]) -> dict[StudyId, int]:
    """How many trials of each of these studies ended as cancelled; those with none are left out."""
    statement = text("""
        SELECT study_id, count(*) AS n FROM trials WHERE study_id = ANY(:ids) AND outcome = 'cancelled' GROUP BY 1
    """)
    rows = connection.execute(statement, {"ids": list(study_ids)})
    return {StudyId(row.study_id): row.n for row in rows}


@dataclass(frozen=True)
class Pace:
    """How fast a study runs, by Postgres's clock.

    Attributes:
        n_counted: Trials that finished, diverged or were pruned.
        busy_s: Seconds of training of those.
        wall_s: From the study's first start to its end, or to now.
        n_recent: Of the latest finished trials, at most 40.
        recent_s: From the earliest of those to now.
    """

    n_counted: int
    busy_s: float
    wall_s: float
    n_recent: int
    recent_s: float


def pace_of(connection: Connection, study_id: StudyId) -> Pace:
    """How fast the study runs; all zero before a trial has finished."""
    statement = text("""
        WITH counted AS (
            SELECT duration_s, finished_at FROM trials
            WHERE study_id = :id AND outcome IN ('finished', 'diverged', 'pruned')
        ), recent AS (SELECT finished_at FROM counted ORDER BY finished_at DESC LIMIT 40)
        SELECT (SELECT count(*) FROM counted) AS n_counted,
               (SELECT coalesce(sum(duration_s), 0) FROM counted) AS busy_s,
               coalesce(extract(epoch FROM coalesce(s.finished_at, clock_timestamp()) - s.started_at), 0)::float
                   AS wall_s,
               (SELECT count(*) FROM recent) AS n_recent,
               (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(finished_at)), 0)::float FROM recent)
                   AS recent_s
        FROM studies s WHERE s.id = :id
    """)
    return Pace(**connection.execute(statement, {"id": study_id}).mappings().one())
