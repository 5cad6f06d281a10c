"""Trials as rows: inserted by the coordinator, read by everyone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from service.domain.trial import (
    LayerMeasurement,
    Outcome,
    Params,
    Phase,
    StudyId,
    TrialId,
    TrialRecord,
    TrialState,
    ValidationCurve,
)


@dataclass(frozen=True)
class NewTrial:
    """A trial to insert; see `service.store.schema.trials` for the fields."""

    cell_id: int
    cell_number: int
    phase: Phase
    config: int
    seed_index: int
    seed: int
    optimizer: str
    params: Params
    sort_key: int


_INSERT = text("""
    WITH study AS (
        UPDATE studies SET next_number = next_number + :n, n_waiting = n_waiting + :n, revision = revision + 1
        WHERE id = :study_id AND state IN ('RUNNING', 'PAUSED')
        RETURNING id, revision, next_number - :n AS first
    ), event AS (
        INSERT INTO events (study_id, revision, kind, data)
        SELECT id, revision, 'trials_added', jsonb_build_object('n', CAST(:n AS int)) FROM study
        RETURNING study_id, revision, kind
    ), added AS (
        INSERT INTO trials (study_id, cell_id, number, cell_number, phase, config, seed_index, seed, optimizer, params,
                            sort_key)
        SELECT study.id, t.cell_id, study.first + t.position, t.cell_number, t.phase, t.config, t.seed_index, t.seed,
               t.optimizer, t.params, t.sort_key
        FROM study, jsonb_to_recordset(CAST(:rows AS jsonb))
             AS t(position int, cell_id bigint, cell_number int, phase text, config int, seed_index int, seed bigint,
                  optimizer text, params jsonb, sort_key bigint)
    )
    SELECT study.first, pg_notify('tangent', json_build_array(event.study_id, event.revision, event.kind)::text)
    FROM study, event
""")


def insert_trials(connection: Connection, study_id: StudyId, rows: Sequence[NewTrial]) -> int | None:
    """Add WAITING trials to an active study.

    Returns:
        The `number` of the first; the others follow in order. None where the study is no longer active.
    """
    documents = [{"position": i, **vars(trial), "params": dict(trial.params)} for i, trial in enumerate(rows)]
    arguments = {"study_id": study_id, "n": len(rows), "rows": json.dumps(documents, allow_nan=False)}
    row = connection.execute(_INSERT, arguments).one_or_none()
    return None if row is None else int(row.first)


_FIELDS = """
    t.id, t.cell_id, t.number, a.name AS arm, c.replicate, t.phase, t.cell_number, t.config, t.seed_index,
    t.seed, t.state, t.params, t.outcome, t.value, t.test_value, t.metrics, t.duration_s, t.cpu_s, t.n_steps
"""
_RECORD = f"""
    SELECT {_FIELDS}
    FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
    WHERE t.study_id = :study_id
"""


def records(connection: Connection, study_id: StudyId) -> list[TrialRecord]:
    """All trials of a study in the order of their numbers."""
    rows = connection.execute(text(_RECORD + " ORDER BY t.number"), {"study_id": study_id})
    return [_record(row) for row in rows]


@dataclass(frozen=True)
class CellTrial:
    """A trial with the ids that the coordinator needs."""

    trial_id: TrialId
    cell_id: int
    record: TrialRecord


def cell_trials(connection: Connection, study_id: StudyId) -> list[CellTrial]:
    """All trials of a study with their cells, by cell and number."""
    rows = connection.execute(text(_RECORD + " ORDER BY t.cell_id, t.cell_number"), {"study_id": study_id})
    return [_cell_trial(row) for row in rows]


_TAKE_FINISHED = text(f"""
    UPDATE trials t SET is_told = true
    FROM (SELECT id FROM trials WHERE study_id = :study_id AND outcome IS NOT NULL AND NOT is_told
          ORDER BY id FOR NO KEY UPDATE) finished, cells c JOIN arms a ON a.id = c.arm_id
    WHERE t.id = finished.id AND c.id = t.cell_id
    RETURNING {_FIELDS}
""")


def take_finished(connection: Connection, study_id: StudyId) -> list[CellTrial]:
    """Trials that finished since the last call, by cell and number; noted as told when the transaction commits."""
    taken = [_cell_trial(row) for row in connection.execute(_TAKE_FINISHED, {"study_id": study_id})]
    return sorted(taken, key=lambda trial: (trial.cell_id, trial.record.cell_number))


def layer_measurements(connection: Connection, study_id: StudyId) -> list[LayerMeasurement]:
    """What the layers of the finished confirm runs did, by trial and epoch."""
    statement = text("""
        SELECT t.number AS trial, m.epoch, l.key AS layer, (l.value ->> 'weight_norm')::float AS weight_norm,
               (l.value ->> 'effective_lr')::float AS effective_lr,
               (l.value ->> 'projection_rate')::float AS projection_rate,
               coalesce((l.value ->> 'is_scale_invariant')::boolean, false) AS is_scale_invariant
        FROM trials t JOIN measurements m ON m.trial_id = t.id CROSS JOIN LATERAL jsonb_each(m.layers) l
        WHERE t.study_id = :study_id AND t.phase = 'confirm' AND t.outcome = 'finished'
          AND l.value ->> 'weight_norm' IS NOT NULL AND l.value ->> 'effective_lr' IS NOT NULL
        ORDER BY t.number, m.epoch, l.key
    """)
    return [LayerMeasurement(**row) for row in connection.execute(statement, {"study_id": study_id}).mappings()]


def confirm_curves(connection: Connection, study_id: StudyId) -> list[ValidationCurve]:
    """Validation endpoints by epoch of the confirm runs that finished or diverged, by trial number."""
    statement = text("""
        SELECT t.number AS trial, array_agg(m.epoch ORDER BY m.epoch) AS epochs,
               array_agg(m.step ORDER BY m.epoch) AS steps, array_agg(m.value ORDER BY m.epoch) AS values
        FROM trials t JOIN measurements m ON m.trial_id = t.id
        WHERE t.study_id = :study_id AND t.phase = 'confirm' AND t.outcome IN ('finished', 'diverged')
        GROUP BY t.number ORDER BY t.number
    """)
    rows = connection.execute(statement, {"study_id": study_id})
    return [ValidationCurve(row.trial, tuple(row.epochs), tuple(row.steps), tuple(row.values)) for row in rows]


def environments_of(connection: Connection, study_id: StudyId) -> list[dict[str, Any]]:
    """What the attempts behind a study's counted trials ran on, the most used first, with `n_attempts`."""
    statement = text("""
        SELECT e.data, count(*) AS n_attempts
        FROM trials t JOIN attempts a ON a.trial_id = t.id AND a.outcome IN ('finished', 'diverged', 'pruned')
        JOIN environments e ON e.id = a.environment_id
        WHERE t.study_id = :study_id
        GROUP BY e.id, e.data ORDER BY count(*) DESC, e.id
    """)
    rows = connection.execute(statement, {"study_id": study_id})
    return [{**row.data, "n_attempts": row.n_attempts} for row in rows]


def list_trials(
    connection: Connection,
    study_id: StudyId,
    *,
    after: int = -1,
    limit: int = 100,
    arm: str | None = None,
    phase: Phase | None = None,
    state: TrialState | None = None,
) -> list[dict[str, Any]]:
    """Trials with a `number` above `after`, in that order, at most `limit`."""
    statement = (
        _SHOW
        + """
        WHERE t.study_id = :study_id AND t.number > :after
          AND (CAST(:arm AS text) IS NULL OR a.name = :arm) AND (CAST(:phase AS text) IS NULL OR t.phase = :phase)
          AND (CAST(:state AS text) IS NULL OR t.state = :state)
        ORDER BY t.number LIMIT :limit
    """
    )
    arguments = {"study_id": study_id, "after": after, "limit": limit, "arm": arm, "phase": phase, "state": state}
    return [dict(row) for row in connection.execute(text(statement), arguments).mappings()]


def get_trial(connection: Connection, study_id: StudyId, number: int) -> dict[str, Any] | None:
    """One trial with its attempts and measurements, or None."""
    statement = text(_SHOW + " WHERE t.study_id = :study_id AND t.number = :number")
    row = connection.execute(statement, {"study_id": study_id, "number": number}).mappings().one_or_none()
    if row is None:
        return None
    attempts = text("""
        SELECT a.attempt, a.worker_id, w.hostname, a.slot, a.started_at, a.ended_at, a.outcome, a.reason, a.traceback,
               a.log_tail, a.resumed_from_step, e.data AS environment
        FROM attempts a LEFT JOIN workers w ON w.id = a.worker_id LEFT JOIN environments e ON e.id = a.environment_id
        WHERE a.trial_id = :id ORDER BY a.attempt
    """)
    measured = text("""
        SELECT epoch, attempt, step, value, metrics, layers FROM measurements WHERE trial_id = :id ORDER BY epoch
    """)
    trial = dict(row)
    key = {"id": trial.pop("id")}
    trial["attempts"] = [dict(entry) for entry in connection.execute(attempts, key).mappings()]
    trial["measurements"] = [dict(entry) for entry in connection.execute(measured, key).mappings()]
    return trial


_SHOW = """
    SELECT t.id, t.number, a.name AS arm, t.optimizer, c.replicate, t.phase, t.cell_number, t.config, t.seed_index,
           t.seed, t.state, t.outcome, t.reason, t.attempt, t.params, t.value, t.test_value, t.metrics, t.n_steps,
           t.duration_s, t.cpu_s, t.content_key, t.worker_id, t.slot, t.created_at, t.started_at, t.finished_at,
           t.prune_decision, t.revalidation, o.study_id AS source_study, o.number AS source_number
    FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
    LEFT JOIN trials o ON o.id = t.source_trial_id
"""


def _cell_trial(row: Row[Any]) -> CellTrial:
    return CellTrial(TrialId(row.id), row.cell_id, _record(row))


def _record(row: Row[Any]) -> TrialRecord:
    fields = {key: value for key, value in row._mapping.items() if key not in ("id", "cell_id")}
    fields["phase"], fields["state"] = Phase(row.phase), TrialState(row.state)
    fields["outcome"] = Outcome(row.outcome) if row.outcome else None
    return TrialRecord(**fields)
