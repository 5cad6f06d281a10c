"""Workers as rows: who is there, what they can run, when they were last heard of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class Registration:
    """What a worker says of itself when it starts.

    Attributes:
        devices: Device classes of its slots, such as ("cpu",) or ("cuda", "cuda:H200").
        optimizers: Name to `Optimizer.to_dict()`, allow-listed ones included.
        workloads: Name to `Workload.to_dict()`.
        environment: Versions, platform, device names and threads.
    """

    worker_id: UUID
    hostname: str
    pid: int
    queues: Sequence[str]
    devices: Sequence[str]
    n_slots: int
    code_revision: str
    optimizers: Mapping[str, Any]
    workloads: Mapping[str, Any]
    environment: Mapping[str, Any]


def register_worker(connection: Connection, registration: Registration) -> str:
    """Add the worker, or renew what is known of it; returns the id of its environment."""
    data = json.dumps(dict(registration.environment), sort_keys=True)
    environment_id = hashlib.sha256(data.encode()).hexdigest()[:24]
    connection.execute(
        text("INSERT INTO environments (id, data) VALUES (:id, CAST(:data AS jsonb)) ON CONFLICT DO NOTHING"),
        {"id": environment_id, "data": data},
    )
    statement = text("""
        INSERT INTO workers (id, hostname, pid, queues, devices, n_slots, code_revision, environment_id, optimizers,
                             workloads)
        VALUES (:worker_id, :hostname, :pid, :queues, :devices, :n_slots, :code_revision, :environment_id,
                CAST(:optimizers AS jsonb), CAST(:workloads AS jsonb))
        ON CONFLICT (id) DO UPDATE
        SET state = CASE workers.state WHEN 'draining' THEN 'draining' ELSE 'online' END,
            heartbeat_at = clock_timestamp(), stopped_at = NULL, hostname = excluded.hostname,
            pid = excluded.pid, queues = excluded.queues, devices = excluded.devices, n_slots = excluded.n_slots,
            code_revision = excluded.code_revision, environment_id = excluded.environment_id,
            optimizers = excluded.optimizers, workloads = excluded.workloads
    """)
    arguments = {
        **vars(registration),
        "queues": list(registration.queues),
        "devices": list(registration.devices),
        "environment_id": environment_id,
        "optimizers": json.dumps(dict(registration.optimizers)),
        "workloads": json.dumps(dict(registration.workloads)),
    }
    connection.execute(statement, arguments)
    return environment_id


def heartbeat(connection: Connection, worker_id: UUID) -> str | None:
    """Say that the worker lives.

    Returns:
        Its state: "online", "draining", or "offline" where it has signed off, which a heartbeat that comes late does
        not undo; None where it is not registered.
    """
    statement = text("""
        UPDATE workers w SET heartbeat_at = clock_timestamp(), state = n.state, stopped_at = n.stopped_at
        FROM (SELECT id, CASE WHEN state <> 'offline' THEN state WHEN stopped_at > heartbeat_at THEN 'offline'
                              WHEN stopped_at IS NULL THEN 'draining' ELSE 'online' END AS state,
                     CASE WHEN state = 'offline' AND stopped_at > heartbeat_at THEN clock_timestamp() END AS stopped_at
              FROM workers WHERE id = :id FOR NO KEY UPDATE) n
        WHERE w.id = n.id RETURNING w.state
    """)
    return connection.execute(statement, {"id": worker_id}).scalar_one_or_none()


def sign_off(connection: Connection, worker_id: UUID) -> None:
    """Say that the worker has stopped in good order."""
    statement = text("UPDATE workers SET state = 'offline', stopped_at = clock_timestamp() WHERE id = :id")
    connection.execute(statement, {"id": worker_id})


def sweep_workers(connection: Connection, silence: timedelta) -> int:
    """Mark workers offline that were not heard of for `silence`; returns how many.

    Their `stopped_at` is their last heartbeat; of draining ones it stays empty, so that they drain on if they return.
    """
    statement = text("""
        UPDATE workers SET state = 'offline', stopped_at = CASE state WHEN 'online' THEN heartbeat_at END
        WHERE state <> 'offline' AND heartbeat_at < clock_timestamp() - CAST(:silence AS interval)
    """)
    return connection.execute(statement, {"silence": silence}).rowcount


def drain(connection: Connection, worker_id: UUID, is_draining: bool) -> str | None:
    """Let a worker that is there take no new trials, or take some again.

    Returns:
        Its state now: "draining", "online", or "offline", which stays; None where there is no such worker.
    """
    statement = text("""
        UPDATE workers SET state = CASE WHEN state = 'offline' THEN 'offline'
                                        WHEN :is_draining THEN 'draining' ELSE 'online' END
        WHERE id = :id RETURNING state, pg_notify('tangent', '[0, 0, "workers"]')
    """)
    row = connection.execute(statement, {"id": worker_id, "is_draining": is_draining}).one_or_none()
    return None if row is None else str(row.state)


def list_workers(connection: Connection, *, only_online: bool = False) -> list[dict[str, Any]]:
    """Workers, the latest first, with the trials that they run."""
    statement = text("""
        SELECT w.id, w.hostname, w.pid, w.state, w.queues, w.devices, w.n_slots, w.code_revision, w.started_at,
               w.heartbeat_at, w.stopped_at, e.data AS environment,
               extract(epoch FROM clock_timestamp() - w.heartbeat_at)::float AS heartbeat_age_s,
               coalesce((SELECT jsonb_agg(jsonb_build_object('study', t.study_id, 'trial', t.number, 'slot', t.slot)
                                          ORDER BY t.slot)
                         FROM trials t WHERE t.worker_id = w.id AND t.state = 'RUNNING'), '[]') AS trials
        FROM workers w JOIN environments e ON e.id = w.environment_id
        WHERE NOT :only_online OR w.state <> 'offline'
        ORDER BY (w.state = 'offline'), w.started_at DESC LIMIT 200
    """)
    return [dict(row) for row in connection.execute(statement, {"only_online": only_online}).mappings()]


def registered_catalog(connection: Connection) -> tuple[dict[str, Any], dict[str, Any]]:
    """What online workers have registered: optimizers and workloads by name, as dictionaries."""
    statement = text("SELECT optimizers, workloads FROM workers WHERE state <> 'offline' ORDER BY started_at")
    optimizers: dict[str, Any] = {}
    workloads: dict[str, Any] = {}
    for row in connection.execute(statement):
        optimizers.update(row.optimizers)
        workloads.update(row.workloads)
    return optimizers, workloads


@dataclass(frozen=True)
class QueueDepth:
    """How much work a queue has, and how many slots could take it.

    Attributes:
        n_claimable: Waiting trials of running studies.
        n_running: Trials that run on online workers.
        n_slots: Slots of online workers that listen to the queue.
    """

    queue: str
    n_claimable: int
    n_running: int
    n_slots: int


def queue_depths(connection: Connection) -> list[QueueDepth]:
    """Every queue that has work or workers."""
    statement = text("""
        WITH work AS (
            SELECT queue, sum(n_waiting) FILTER (WHERE state = 'RUNNING') AS waiting, sum(n_running) AS running
            FROM studies WHERE state IN ('RUNNING', 'PAUSED') OR n_running > 0 GROUP BY queue
        ), elsewhere AS (
            SELECT s.queue, count(*) AS n
            FROM trials t JOIN studies s ON s.id = t.study_id JOIN workers w ON w.id = t.worker_id
            WHERE t.state = 'RUNNING' AND w.state <> 'online' GROUP BY 1
        ), slots AS (
            SELECT unnest(queues) AS queue, sum(n_slots) AS n FROM workers WHERE state = 'online' GROUP BY 1
        )
        SELECT queue, coalesce(work.waiting, 0)::int AS n_claimable,
               (coalesce(work.running, 0) - coalesce(elsewhere.n, 0))::int AS n_running,
               coalesce(slots.n, 0)::int AS n_slots
        FROM work FULL JOIN slots USING (queue) LEFT JOIN elsewhere USING (queue) ORDER BY queue
    """)
    return [QueueDepth(**row) for row in connection.execute(statement).mappings()]
