"""Advisory locks: which coordinator looks after which study."""

from __future__ import annotations

from sqlalchemy import Connection, text

_STUDY = 0x7461
_SWEEP = 0x7462


def try_lock_study(session: Connection, study_id: int) -> bool:
    """Take the study for this session, until it ends or `unlock_study`; False where another session has it."""
    statement = text("SELECT pg_try_advisory_lock(:space, CAST(:key AS int))")
    return bool(session.execute(statement, {"space": _STUDY, "key": study_id % 2**31}).scalar_one())


def unlock_study(session: Connection, study_id: int) -> None:
    """Let another coordinator have the study."""
    session.execute(text("SELECT pg_advisory_unlock(:space, CAST(:key AS int))"), {"space": _STUDY, "key": study_id})


def try_lock_sweep(connection: Connection) -> bool:
    """Be the only sweeper until the transaction ends; False where another is at it."""
    return bool(connection.execute(text("SELECT pg_try_advisory_xact_lock(:space, 0)"), {"space": _SWEEP}).scalar_one())
