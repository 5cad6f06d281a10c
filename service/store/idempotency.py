"""Answers to requests that carried an idempotency key, kept in the transaction that did what was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

KEPT = timedelta(hours=24)
"""How long an answer is kept."""


@dataclass(frozen=True)
class Answer:
    """An answer as it was sent.

    Attributes:
        body_hash: Of the request.
        body: Of the answer.
    """

    body_hash: str
    status: int
    headers: Mapping[str, str]
    body: str


def begin(connection: Connection, key: str, route: str) -> bool:
    """Be the only one that answers this key until the transaction ends; False where another is at it."""
    statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    return bool(connection.execute(statement, {"name": f"{key}\n{route}"}).scalar_one())


def find(connection: Connection, key: str, route: str) -> Answer | None:
    """The answer that was kept, or None."""
    statement = text("""
        SELECT body_hash, status, headers, body FROM idempotency_keys
        WHERE key = :key AND route = :route AND created_at > clock_timestamp() - :kept
    """)
    row = connection.execute(statement, {"key": key, "route": route, "kept": KEPT}).mappings().one_or_none()
    return None if row is None else Answer(**row)


def keep(connection: Connection, key: str, route: str, answer: Answer) -> None:
    """Keep an answer, committed together with what it says was done; one that is too old is replaced."""
    statement = text("""
        INSERT INTO idempotency_keys (key, route, body_hash, status, headers, body)
        VALUES (:key, :route, :body_hash, :status, CAST(:headers AS jsonb), :body)
        ON CONFLICT (key, route) DO UPDATE
        SET body_hash = excluded.body_hash, status = excluded.status, headers = excluded.headers,
            body = excluded.body, created_at = clock_timestamp()
    """)
    arguments = {**vars(answer), "headers": json.dumps(dict(answer.headers)), "key": key, "route": route}
    connection.execute(statement, arguments)


def sweep_keys(connection: Connection) -> int:
    """Delete answers that were kept long enough; returns how many."""
    statement = text("DELETE FROM idempotency_keys WHERE created_at <= clock_timestamp() - :kept")
    return connection.execute(statement, {"kept": KEPT}).rowcount
