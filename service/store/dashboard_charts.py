"""Aggregates behind the charts, made in Postgres: no chart reads more rows than it draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from service.domain.trial import StudyId

N_BUCKETS = 20
N_CELLS = 8

_CURVES = text("""
    WITH measured AS (
        SELECT a.position, a.name AS arm, m.epoch, m.step,
               CASE WHEN :metric = 'value' THEN m.value ELSE (m.metrics ->> :metric)::float END AS y
        FROM trials t JOIN measurements m ON m.trial_id = t.id
        JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
        WHERE t.study_id = :id AND t.phase = :phase AND t.outcome IN ('finished', 'diverged', 'pruned')
    )
    SELECT arm, epoch, min(step) AS step, count(*) AS n,
           percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY y) AS quartiles
    FROM measured WHERE y IS NOT NULL
    GROUP BY position, arm, epoch ORDER BY position, epoch
""")
_LAYERS = text("""
    SELECT a.name AS arm, m.epoch, min(m.step) AS step, count(*) AS n,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY (l.value ->> 'weight_norm')::float) AS weight_norm,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY (l.value ->> 'effective_lr')::float) AS effective_lr,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY (l.value ->> 'channel_cos')::float) AS channel_cos,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY (l.value ->> 'layer_cos')::float) AS layer_cos,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY (l.value ->> 'channel_threshold')::float) AS channel_threshold,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY (l.value ->> 'layer_threshold')::float) AS layer_threshold,
           avg((l.value ->> 'projection_rate')::float) AS projection_rate
    FROM trials t JOIN measurements m ON m.trial_id = t.id
    JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id CROSS JOIN LATERAL jsonb_each(m.layers) l
    WHERE t.study_id = :id AND t.phase = 'confirm' AND t.outcome = 'finished' AND l.key = ANY(:layers)
    GROUP BY a.position, a.name, m.epoch ORDER BY a.position, m.epoch
""")
_LAYER_NAMES = text("""
    SELECT l.key AS layer, bool_or(coalesce((l.value ->> 'is_scale_invariant')::boolean, false)) AS is_scale_invariant,
           coalesce(array_agg(DISTINCT a.name) FILTER (WHERE l.value ->> 'projection_rate' IS NOT NULL), '{}')
               AS considered_by,
           coalesce(array_agg(DISTINCT a.name) FILTER (WHERE (l.value ->> 'projection_rate')::float > 0), '{}')
               AS projected_by
    FROM trials t JOIN measurements m ON m.trial_id = t.id
    JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id CROSS JOIN LATERAL jsonb_each(m.layers) l
    WHERE t.study_id = :id AND t.phase = 'confirm' AND t.outcome = 'finished'
    GROUP BY l.key ORDER BY l.key
""")
_DEPENDENCE = text("""
    WITH searched AS (
        SELECT a.position, a.name AS arm, (t.params ->> :param)::float AS x, t.value AS y
        FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
        WHERE t.study_id = :id AND t.phase = 'search' AND t.outcome = 'finished'
          AND jsonb_typeof(t.params -> :param) = 'number'
    ), ends AS (
        SELECT min(CASE WHEN :is_log THEN ln(x) ELSE x END) AS low,
               max(CASE WHEN :is_log THEN ln(x) ELSE x END) AS high,
               least(:n, greatest(4, (SELECT max(m) FROM (SELECT count(*) AS m FROM searched GROUP BY arm) k) / 5))::int
                   AS n
        FROM searched WHERE NOT :is_log OR x > 0
    ), placed AS (
        SELECT s.*, least(n, width_bucket(CASE WHEN :is_log THEN ln(x) ELSE x END, low, high, n)) AS bucket
        FROM searched s, ends WHERE low < high AND (NOT :is_log OR x > 0)
    )
    SELECT arm, bucket, count(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY x) AS x,
           percentile_cont(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY y) AS quantiles
    FROM placed GROUP BY position, arm, bucket ORDER BY position, bucket
""")
_HEAT = text("""
    WITH placed AS (
        SELECT a.position, a.name AS arm, t.value,
               least(:n - 1, floor((ln((t.params ->> :x)::float) - ln(:x_low)) / (ln(:x_high) - ln(:x_low)) * :n)) AS i,
               least(:n - 1, floor((ln((t.params ->> :y)::float) - ln(:y_low)) / (ln(:y_high) - ln(:y_low)) * :n)) AS j
        FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
        WHERE t.study_id = :id AND t.phase = 'search' AND t.outcome = 'finished' AND a.name = :arm
          AND (t.params ->> :x)::float > 0 AND (t.params ->> :y)::float > 0
    )
    SELECT i::int AS i, j::int AS j, count(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS value
    FROM placed GROUP BY i, j ORDER BY i, j
""")
_TOP = text("""
    WITH ranked AS (
        SELECT t.number, a.name AS arm, a.position, t.params, t.value,
               row_number() OVER (PARTITION BY a.id ORDER BY t.value, t.number) AS place,
               count(*) OVER (PARTITION BY a.id) AS n
        FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
        WHERE t.study_id = :id AND t.phase = 'search' AND t.outcome = 'finished'
    )
    SELECT number, arm, params, value FROM ranked
    WHERE place <= greatest(3, ceil(n * :percent / 100.0)) AND place <= :most ORDER BY position, place
""")


def curves(connection: Connection, study_id: StudyId, phase: str, metric: str) -> list[dict[str, Any]]:
    """Quartiles over trials by arm and epoch: arm, epoch, step, n, quartiles (25, 50, 75 %)."""
    return _rows(connection, _CURVES, id=study_id, phase=phase, metric=metric)


def metrics_of(connection: Connection, study_id: StudyId) -> list[str]:
    """Names of the metrics that the study's measurements have, read off its first measured trials."""
    statement = text("""
        SELECT DISTINCT k FROM (
            SELECT m.metrics FROM trials t JOIN measurements m ON m.trial_id = t.id
            WHERE t.study_id = :id AND m.epoch > 0 ORDER BY t.number LIMIT 20
        ) s, jsonb_object_keys(s.metrics) k ORDER BY k
    """)
    return [str(row.k) for row in connection.execute(statement, {"id": study_id})]


def layer_names(connection: Connection, study_id: StudyId) -> list[dict[str, Any]]:
    """The layers of the finished confirm runs: layer, is_scale_invariant, considered_by and projected_by (arms)."""
    return _rows(connection, _LAYER_NAMES, id=study_id)


def layers(connection: Connection, study_id: StudyId, names: Sequence[str]) -> list[dict[str, Any]]:
    """Medians over confirm runs and the named layers by arm and epoch; `projection_rate` is a mean.

    Values are None where they were not recorded: cosines at epoch 0 and by older workers, thresholds and
    projection rates of arms that do not project.
    """
    return _rows(connection, _LAYERS, id=study_id, layers=list(names))


def dependence(connection: Connection, study_id: StudyId, param: str, *, is_log: bool) -> list[dict[str, Any]]:
    """Validation value by fields of a parameter's range, 5 trials of an arm to a field, at most 20 fields.

    Returns:
        Rows of arm, bucket, n, x (median), quantiles (10, 50, 90 %).
    """
    return _rows(connection, _DEPENDENCE, id=study_id, param=param, is_log=is_log, n=N_BUCKETS)


def heat(
    connection: Connection, study_id: StudyId, arm: str, x: tuple[str, float, float], y: tuple[str, float, float]
) -> list[dict[str, Any]]:
    """Median validation value in 8 by 8 fields of two log ranges, given as (name, low, high): i, j, n, value."""
    given = {"x": x[0], "x_low": x[1], "x_high": x[2], "y": y[0], "y_low": y[1], "y_high": y[2]}
    return _rows(connection, _HEAT, id=study_id, arm=arm, n=N_CELLS, **given)


def top(connection: Connection, study_id: StudyId, percent: float, most: int = 50) -> list[dict[str, Any]]:
    """The best trials of each arm's search: number, arm, params, value; at least 3 and at most `most` of each."""
    return _rows(connection, _TOP, id=study_id, percent=percent, most=most)


def _rows(connection: Connection, statement: Any, **arguments: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(statement, arguments).mappings()]
