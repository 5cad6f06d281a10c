"""Requests that may be made once: noted by a key of theirs, forgotten after a day."""

from __future__ import annotations

from sqlalchemy import Connection, text


def note_once(connection: Connection, key: str, route: str) -> bool:
    """Note that a key was used on a route; False where it had been used before."""
    statement = text("""
        INSERT INTO idempotency_keys (key, route, body_hash, status) VALUES (:key, :route, '', 204)
        ON CONFLICT DO NOTHING RETURNING key
    """)
    return connection.execute(statement, {"key": key, "route": route}).one_or_none() is not None
