"""The statements of a lease: claim, renew, finish, hand back. One each, so that a trial costs few round trips."""

from __future__ import annotations

from sqlalchemy import text

_EVENT = """
    event AS (
        INSERT INTO events (study_id, revision, kind, data)
        SELECT study.id, study.revision, 'trial',
               jsonb_build_object('number', changed.number, 'state', changed.state, 'outcome', changed.outcome)
        FROM study, changed
        RETURNING study_id, revision, kind
    )"""
_NOTIFY = "pg_notify('tangent', json_build_array(event.study_id, event.revision, event.kind)::text)"
_MEASURED = """
    measured AS (
        INSERT INTO measurements (trial_id, epoch, attempt, step, value, metrics, layers)
        SELECT changed.id, m.epoch, changed.attempt, m.step, m.value, m.metrics, m.layers
        FROM changed, jsonb_to_recordset(CAST(:measurements AS jsonb))
             AS m(epoch int, step bigint, value double precision, metrics jsonb, layers jsonb)
        ON CONFLICT (trial_id, epoch) DO UPDATE
        SET attempt = excluded.attempt, step = excluded.step, value = excluded.value,
            metrics = excluded.metrics, layers = excluded.layers
        RETURNING 1
    )"""

CLAIM = text(f"""
    WITH picked AS (
        SELECT t.id, s.id AS study_id
        FROM (
            SELECT id FROM studies
            WHERE state = 'RUNNING' AND n_waiting > 0 AND queue = :queue
              AND device = ANY(:devices) AND workload = ANY(:workloads)
              AND (code_revision IS NULL OR code_revision = :code_revision)
              AND (max_running IS NULL OR n_running < max_running)
              AND NOT EXISTS (SELECT FROM workers WHERE id = :worker_id AND state = 'draining')
            ORDER BY priority DESC, n_running / weight, id
        ) s CROSS JOIN LATERAL (
            SELECT id FROM trials
            WHERE study_id = s.id AND state = 'WAITING' AND optimizer = ANY(:optimizers)
            ORDER BY sort_key LIMIT 1
            FOR UPDATE SKIP LOCKED
        ) t
        LIMIT 1
    ), study AS (
        UPDATE studies s
        SET n_waiting = s.n_waiting - 1, n_running = s.n_running + 1, revision = s.revision + 1,
            code_revision = coalesce(s.code_revision, :code_revision),
            started_at = coalesce(s.started_at, clock_timestamp())
        FROM picked
        WHERE s.id = picked.study_id AND s.state = 'RUNNING'
          AND (s.code_revision IS NULL OR s.code_revision = :code_revision)
          AND (s.max_running IS NULL OR s.n_running < s.max_running)
        RETURNING s.id, s.revision, s.spec, s.trial_s, picked.id AS trial_id
    ), changed AS (
        UPDATE trials t
        SET state = 'RUNNING', attempt = t.attempt + 1, worker_id = :worker_id, slot = :slot,
            lease_expires_at = clock_timestamp() + :lease, started_at = coalesce(t.started_at, clock_timestamp())
        FROM study WHERE t.id = study.trial_id
        RETURNING t.*
    ), attempt AS (
        INSERT INTO attempts (trial_id, attempt, worker_id, slot, environment_id)
        SELECT id, attempt, :worker_id, :slot, :environment_id FROM changed
        RETURNING 1
    ), {_EVENT}
    SELECT changed.id, changed.study_id, changed.number, changed.attempt, changed.phase, changed.seed,
           changed.optimizer, changed.params, changed.checkpoint, study.spec,
           study.trial_s - coalesce(
               (SELECT sum(extract(epoch FROM a.ended_at - a.started_at)) FROM attempts a
                WHERE a.trial_id = changed.id AND a.attempt > changed.n_attempts_forgiven), 0) AS deadline_s,
           CASE WHEN event.revision IS NOT NULL
                THEN pg_notify('tangent', json_build_array(event.study_id, event.revision, 'claim')::text) END
    FROM picked LEFT JOIN (changed CROSS JOIN study CROSS JOIN event) ON true
""")

RENEW = text(f"""
    WITH changed AS (
        UPDATE trials t
        SET lease_expires_at = clock_timestamp() + :lease
        WHERE t.id = :trial_id AND t.attempt = :attempt AND t.state = 'RUNNING'
        RETURNING t.id, t.study_id, t.attempt, t.is_cancel_requested
    ), {_MEASURED}
    SELECT CASE WHEN s.state NOT IN ('RUNNING', 'PAUSED') THEN 'cancel'
                WHEN changed.is_cancel_requested THEN 'hand back' ELSE 'go on' END AS wish,
           CASE WHEN :is_rung THEN pg_notify('tangent', json_build_array(s.id, s.revision, 'rung')::text) END
    FROM changed JOIN studies s ON s.id = changed.study_id
""")

FINISH = text(f"""
    WITH changed AS (
        UPDATE trials t
        SET state = :state, outcome = :outcome, reason = :reason, lease_expires_at = NULL, value = :value,
            test_value = :test_value, metrics = CAST(:metrics AS jsonb), n_steps = :n_steps, duration_s = :duration_s,
            cpu_s = :cpu_s, content_key = :content_key, checkpoint = NULL, finished_at = clock_timestamp()
        WHERE t.id = :trial_id AND t.attempt = :attempt AND t.state = 'RUNNING'
        RETURNING t.*
    ), study AS (
        UPDATE studies s
        SET n_running = s.n_running - 1, revision = s.revision + 1,
            n_complete = s.n_complete + (:state = 'COMPLETE')::int, n_pruned = s.n_pruned + (:state = 'PRUNED')::int,
            n_fail = s.n_fail + (:state = 'FAIL')::int, n_diverged = s.n_diverged + (:outcome = 'diverged')::int
        FROM changed WHERE s.id = changed.study_id
        RETURNING s.id, s.revision
    ), attempt AS (
        UPDATE attempts a
        SET ended_at = clock_timestamp(), outcome = :outcome, reason = :reason, traceback = :traceback,
            log_tail = :log_tail
        FROM changed WHERE a.trial_id = changed.id AND a.attempt = changed.attempt
        RETURNING 1
    ), {_MEASURED}, {_EVENT}
    SELECT {_NOTIFY} FROM event
""")

HAND_BACK = text(f"""
    WITH lost AS (
        SELECT count(*) AS n FROM attempts
        WHERE trial_id = :trial_id AND outcome IN ('lost', 'out_of_memory')
          AND attempt > (SELECT n_attempts_forgiven FROM trials WHERE id = :trial_id)
    ), changed AS (
        UPDATE trials t
        SET state = CASE WHEN :counts AND lost.n + 1 >= s.max_attempts THEN 'FAIL' ELSE 'WAITING' END,
            outcome = CASE WHEN :counts AND lost.n + 1 >= s.max_attempts THEN :outcome END,
            finished_at = CASE WHEN :counts AND lost.n + 1 >= s.max_attempts THEN clock_timestamp() END,
            reason = :reason, lease_expires_at = NULL, worker_id = NULL, slot = NULL, is_cancel_requested = false,
            checkpoint = coalesce(CAST(:checkpoint AS jsonb), t.checkpoint)
        FROM lost, studies s
        WHERE t.id = :trial_id AND t.attempt = :attempt AND t.state = 'RUNNING' AND s.id = t.study_id
          AND (NOT :only_expired OR t.lease_expires_at < clock_timestamp())
        RETURNING t.*
    ), study AS (
        UPDATE studies s
        SET n_running = s.n_running - 1, revision = s.revision + 1,
            n_waiting = s.n_waiting + (changed.state = 'WAITING')::int,
            n_fail = s.n_fail + (changed.state = 'FAIL')::int
        FROM changed WHERE s.id = changed.study_id
        RETURNING s.id, s.revision
    ), attempt AS (
        UPDATE attempts a
        SET ended_at = clock_timestamp(), outcome = :outcome, reason = :reason, traceback = :traceback,
            log_tail = :log_tail
        FROM changed WHERE a.trial_id = changed.id AND a.attempt = changed.attempt
        RETURNING 1
    ), {_EVENT}
    SELECT changed.state, {_NOTIFY} FROM changed, event
""")
