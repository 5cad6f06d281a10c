"""The history of checks, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

LAST = 20


@dataclass(frozen=True)
class Run:
    """One uploaded check in a history; `estimates` are those of its findings that have one, by the finding's name."""

    id: int
    verdict: str
    baseline: str
    candidate: str
    created_at: datetime
    estimates: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class History:
    """Checks of one name: how many there are, and the last twenty, the oldest of them first."""

    name: str
    optimizer: str
    n: int
    runs: tuple[Run, ...]


_HISTORIES = text("""
    WITH named AS (
        SELECT name, count(*) AS n, max(id) AS latest FROM checks
        WHERE CAST(:name AS text) IS NULL OR name = :name GROUP BY name ORDER BY max(id) DESC LIMIT :limit
    )
    SELECT n.name, n.n, l.optimizer, r.runs
    FROM named n JOIN checks l ON l.id = n.latest CROSS JOIN LATERAL (
        SELECT jsonb_agg(to_jsonb(c) ORDER BY c.id) AS runs FROM (
            SELECT id, verdict, baseline, candidate, created_at, (
                SELECT coalesce(jsonb_object_agg(f ->> 'name', jsonb_build_object(
                           'estimate', f -> 'estimate', 'low', f -> 'low', 'high', f -> 'high', 'limit', f -> 'limit',
                           'unit', f -> 'unit')), '{}')
                FROM jsonb_array_elements(report -> 'layers') y, jsonb_array_elements(y -> 'findings') f
                WHERE f ->> 'estimate' IS NOT NULL) AS estimates
            FROM checks WHERE name = n.name ORDER BY id DESC LIMIT :last) c) r
    ORDER BY n.latest DESC
""")


def histories(connection: Connection, limit: int = 100, name: str | None = None) -> list[History]:
    """Histories of checks, or of those with this name, the one with the latest run first."""
    rows = connection.execute(_HISTORIES, {"limit": limit, "last": LAST, "name": name})
    return [History(row.name, row.optimizer, row.n, _runs(row.runs)) for row in rows]


def _runs(documents: Sequence[Mapping[str, Any]]) -> tuple[Run, ...]:
    return tuple(
        Run(**{**document, "created_at": datetime.fromisoformat(document["created_at"])}) for document in documents
    )
