"""What the list of studies shows, read in two queries for a page of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

N_BUCKETS = 24


@dataclass(frozen=True)
class ListedArm:
    """An arm in a list; `best` is its lowest validation endpoint in the search, None before there is one."""

    name: str
    optimizer: str
    best: float | None


@dataclass(frozen=True)
class ListedStudy:
    """A study in a list.

    Attributes:
        counts: Trials by state.
        arms: As declared.
        verdicts: Of the kept report, one for each declared pair: baseline, challenger, kind, words,
            relative_change, and `revision`, the study's at that report; empty where none is kept.
        spark: Best validation endpoint so far, over the trials' numbers in 24 steps; empty before there is one.
    """

    id: int
    name: str
    workload: str
    state: str
    reason: str | None
    origin: str
    revision: int
    counts: Mapping[str, int]
    spec: Mapping[str, Any]
    amendments: Sequence[Mapping[str, Any]]
    looks: Sequence[Mapping[str, Any]]
    created_at: datetime
    finished_at: datetime | None
    arms: tuple[ListedArm, ...]
    verdicts: tuple[Mapping[str, Any], ...]
    spark: tuple[float, ...]


_PAGE = text("""
    SELECT s.id, s.name, s.workload, s.state, s.reason, s.origin, s.revision, s.spec, s.amendments, s.looks,
           s.created_at, s.finished_at,
           jsonb_build_object('waiting', s.n_waiting, 'running', s.n_running, 'complete', s.n_complete,
                              'pruned', s.n_pruned, 'failed', s.n_fail, 'diverged', s.n_diverged) AS counts,
           (SELECT jsonb_agg(jsonb_build_object('name', a.name, 'optimizer', a.optimizer, 'best', (
                       SELECT min(b.value) FROM cells c CROSS JOIN LATERAL (
                           SELECT t.value FROM trials t
                           WHERE t.cell_id = c.id AND t.phase = 'search' AND t.outcome IN ('finished', 'pruned')
                           ORDER BY t.value LIMIT 1) b
                       WHERE c.arm_id = a.id)) ORDER BY a.position)
            FROM arms a WHERE a.study_id = s.id) AS arms,
           (SELECT jsonb_agg(jsonb_build_object(
                       'baseline', p -> 'baseline', 'challenger', p -> 'challenger', 'kind', p #> '{verdict,kind}',
                       'words', p #> '{verdict,words}', 'relative_change', p #> '{effect,relative_change}',
                       'revision', r.revision) ORDER BY n)
            FROM reports r, jsonb_array_elements(r.report -> 'comparisons') WITH ORDINALITY AS c(p, n)
            WHERE r.study_id = s.id) AS verdicts
    FROM studies s
    WHERE (CAST(:before AS bigint) IS NULL OR s.id < :before) AND (CAST(:state AS text) IS NULL OR s.state = :state)
      AND (CAST(:words AS text) IS NULL OR s.name ILIKE :words ESCAPE '!' OR s.workload ILIKE :words ESCAPE '!')
    ORDER BY s.id DESC LIMIT :limit
""")
_SPARKS = text("""
    SELECT t.study_id, width_bucket(t.number, 0, greatest(1, s.next_number), :n) AS bucket, min(t.value) AS best
    FROM trials t JOIN studies s ON s.id = t.study_id
    WHERE t.study_id = ANY(:ids) AND t.phase = 'search' AND t.value IS NOT NULL
    GROUP BY 1, 2 ORDER BY 1, 2
""")


def list_for_page(
    connection: Connection, *, before: int | None, limit: int, state: str | None, query: str
) -> list[ListedStudy]:
    """Studies, newest first, whose name or workload contains `query`, with an id below `before`."""
    escaped = query.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    arguments = {"before": before, "limit": limit, "state": state, "words": f"%{escaped}%" if query else None}
    rows = connection.execute(_PAGE, arguments).mappings().all()
    sparks = _sparks(connection, [row["id"] for row in rows])
    return [
        ListedStudy(
            **{
                **row,
                "arms": tuple(ListedArm(**arm) for arm in row["arms"] or ()),
                "verdicts": tuple(row["verdicts"] or ()),
            },
            spark=sparks.get(row["id"], ()),
        )
        for row in rows
    ]


def _sparks(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[float, ...]]:
    best: dict[int, list[float]] = {}
    for row in connection.execute(_SPARKS, {"ids": list(ids), "n": N_BUCKETS}):
        so_far = best.setdefault(row.study_id, [])
        so_far.append(min(row.best, so_far[-1]) if so_far else row.best)
    return {study_id: tuple(values) for study_id, values in best.items()}
