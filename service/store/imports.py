"""Searches that ran elsewhere, as finished studies: marked as imported, with every trial in the search phase."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from service.domain.imported import ImportedStudy, ImportedTrial
from service.domain.trial import StudyId
from service.store.studies import add_event, cells_of, insert_study

_TRIALS = text("""
    WITH added AS (
        INSERT INTO trials (study_id, cell_id, number, cell_number, phase, config, seed_index, seed, optimizer, params,
                            sort_key, state, outcome, reason, attempt, value, metrics, duration_s, is_told, created_at,
                            started_at, finished_at)
        SELECT :study_id, :cell_id, t.number, t.number, 'search', t.number, 0, 0, :optimizer, t.params, t.number,
               t.state, t.outcome, t.reason, 1, t.value, t.metrics,
               extract(epoch FROM t.finished_at - t.started_at), true, coalesce(t.started_at, now()), t.started_at,
               coalesce(t.finished_at, t.started_at, now())
        FROM jsonb_to_recordset(CAST(:rows AS jsonb))
             AS t(number int, params jsonb, state text, outcome text, reason text, value double precision,
                  metrics jsonb, started_at timestamptz, finished_at timestamptz)
        RETURNING id, number, outcome, reason, created_at, finished_at
    ), attempt AS (
        INSERT INTO attempts (trial_id, attempt, started_at, ended_at, outcome, reason, log_tail)
        SELECT added.id, 1, added.created_at, added.finished_at, added.outcome, added.reason, n.note
        FROM added JOIN jsonb_to_recordset(CAST(:notes AS jsonb)) AS n(number int, note text) USING (number)
    )
    INSERT INTO measurements (trial_id, epoch, attempt, step, value)
    SELECT added.id, m.step, 1, m.step, m.value
    FROM added JOIN jsonb_to_recordset(CAST(:rungs AS jsonb)) AS m(number int, step int, value double precision)
         USING (number)
""")
_END = text("""
    UPDATE studies s
    SET state = 'FINISHED', origin = 'imported', next_number = :n, n_complete = :n_complete, n_pruned = :n_pruned,
        n_fail = :n_fail, n_diverged = :n_diverged,
        started_at = (SELECT min(started_at) FROM trials WHERE study_id = s.id),
        finished_at = (SELECT max(finished_at) FROM trials WHERE study_id = s.id)
    WHERE id = :study_id
""")
_CELL = text("UPDATE cells SET state = 'finished', next_cell_number = :n WHERE id = :cell_id")


def insert_imported(connection: Connection, imported: ImportedStudy, environment: Mapping[str, Any]) -> StudyId:
    """Add a finished study with all its trials, in the caller's transaction.

    Args:
        environment: What else is kept of the act; its catalog and source come from `imported`.
    """
    kept = {"catalog": imported.catalog, "imported": {**imported.source, "notes": list(imported.notes)}}
    study_id = insert_study(connection, imported.study, {**environment, **kept})
    [cell] = cells_of(connection, study_id)
    trials = imported.trials
    arguments = {
        "study_id": study_id,
        "cell_id": cell.id,
        "optimizer": imported.study.arms[0].optimizer,
        "rows": json.dumps([_row(trial) for trial in trials], allow_nan=False),
        "notes": json.dumps([{"number": trial.number, "note": trial.note} for trial in trials]),
        "rungs": json.dumps(
            [{"number": t.number, "step": step, "value": value} for t in trials for step, value in t.rungs.items()]
        ),
    }
    connection.execute(_TRIALS, arguments)
    connection.execute(_CELL, {"n": len(trials), "cell_id": cell.id})
    connection.execute(_END, {"study_id": study_id, "n": len(trials), **_counters(trials)})
    add_event(connection, study_id, "imported", {"n": len(trials), "from": imported.source.get("from")})
    return study_id


def _row(trial: ImportedTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "params": dict(trial.params),
        "state": trial.outcome.state.value,
        "outcome": trial.outcome.value,
        "reason": trial.reason,
        "value": trial.value,
        "metrics": dict(trial.metrics),
        "started_at": trial.started_at.isoformat() if trial.started_at else None,
        "finished_at": trial.finished_at.isoformat() if trial.finished_at else None,
    }


def _counters(trials: tuple[ImportedTrial, ...]) -> dict[str, int]:
    states = Counter(trial.outcome.state.value for trial in trials)
    return {
        "n_complete": states["COMPLETE"],
        "n_pruned": states["PRUNED"],
        "n_fail": states["FAIL"],
        "n_diverged": sum(trial.outcome.value == "diverged" for trial in trials),
    }
