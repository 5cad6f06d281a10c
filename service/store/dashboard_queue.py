"""What the queue's page shows beside the workers."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class Traffic:
    """Trials of studies that have not ended, and the pace of the last ten minutes.

    Attributes:
        n_paused: Waiting trials of paused studies.
        n_finished_recently: Trials that ended in the last ten minutes, in whatever way.
        idle_s: Seconds since a trial last began or ended; None where none ever did.
    """

    n_waiting: int
    n_paused: int
    n_running: int
    n_complete: int
    n_pruned: int
    n_failed: int
    n_finished_recently: int
    idle_s: float | None


@dataclass(frozen=True)
class QueuedStudy:
    """A study that has not ended, in the order in which it is served."""

    id: int
    name: str
    state: str
    queue: str
    priority: int
    weight: float
    max_running: int | None
    n_waiting: int
    n_running: int


def traffic(connection: Connection) -> Traffic:
    """Sums over the studies, from their counters."""
    statement = text("""
        SELECT coalesce(sum(n_waiting) FILTER (WHERE state = 'RUNNING'), 0) AS n_waiting,
               coalesce(sum(n_waiting) FILTER (WHERE state = 'PAUSED'), 0) AS n_paused,
               coalesce(sum(n_running), 0) AS n_running, coalesce(sum(n_complete), 0) AS n_complete,
               coalesce(sum(n_pruned), 0) AS n_pruned, coalesce(sum(n_fail), 0) AS n_failed,
               (SELECT count(*) FROM attempts WHERE ended_at > clock_timestamp() - interval '10 minutes')
                   AS n_finished_recently,
               (SELECT extract(epoch FROM clock_timestamp() - max(greatest(started_at, ended_at)))::float
                FROM attempts WHERE started_at > clock_timestamp() - interval '1 day') AS idle_s
        FROM studies
    """)
    return Traffic(**connection.execute(statement).mappings().one())


def queued_studies(connection: Connection, limit: int = 50) -> list[QueuedStudy]:
    """Studies that have not ended, the most urgent first."""
    statement = text("""
        SELECT id, name, state, queue, priority, weight, max_running, n_waiting, n_running FROM studies
        WHERE state IN ('RUNNING', 'PAUSED') ORDER BY priority DESC, n_running / weight, id LIMIT :limit
    """)
    return [QueuedStudy(**row) for row in connection.execute(statement, {"limit": limit}).mappings()]
