"""Reports of checks that were uploaded: kept as they came, one row for each different one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from service.domain.checks import Check

_COLUMNS = "id, name, optimizer, baseline, candidate, verdict, exit_code, created_at, uploaded_at"


@dataclass(frozen=True)
class CheckRow:
    """A kept check.

    Attributes:
        baseline: In words, such as "main (0123456789ab)".
        candidate: Likewise.
        exit_code: Without --strict and --bisect.
        created_at: When it was made, by the clock of the machine that made it.
    """

    id: int
    name: str
    optimizer: str
    baseline: str
    candidate: str
    verdict: str
    exit_code: int
    created_at: datetime
    uploaded_at: datetime


def insert_check(connection: Connection, check: Check, report: Mapping[str, Any]) -> tuple[CheckRow, bool]:
    """Keep a check.

    Args:
        report: Its JSON form.

    Returns:
        The row, and False where the same report was there before.
    """
    statement = text(f"""
        INSERT INTO checks (name, optimizer, baseline, candidate, verdict, exit_code, report, content_hash, created_at)
        VALUES (:name, :optimizer, :baseline, :candidate, :verdict, :exit_code, CAST(:report AS jsonb), :hash, :at)
        ON CONFLICT (content_hash) DO NOTHING RETURNING {_COLUMNS}
    """)
    document = json.dumps(report, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(document.encode()).hexdigest()
    arguments = {
        "name": check.name,
        "optimizer": check.candidate.optimizer,
        "baseline": check.baseline.words,
        "candidate": check.candidate.words,
        "verdict": check.verdict.value,
        "exit_code": int(check.exit_code()),
        "report": document,
        "hash": digest,
        "at": datetime.fromisoformat(check.created_at),
    }
    if (row := connection.execute(statement, arguments).mappings().one_or_none()) is not None:
        return _row(row), True
    known = text(f"SELECT {_COLUMNS} FROM checks WHERE content_hash = :hash")
    return _row(connection.execute(known, {"hash": digest}).mappings().one()), False


def list_checks(
    connection: Connection, *, name: str | None = None, before: int | None = None, limit: int = 50
) -> list[CheckRow]:
    """Checks, the last uploaded first, with an id below `before`, at most `limit`."""
    statement = text(f"""
        SELECT {_COLUMNS} FROM checks
        WHERE (CAST(:before AS bigint) IS NULL OR id < :before) AND (CAST(:name AS text) IS NULL OR name = :name)
        ORDER BY id DESC LIMIT :limit
    """)
    rows = connection.execute(statement, {"before": before, "limit": limit, "name": name})
    return [_row(row) for row in rows.mappings()]


def get_check(connection: Connection, check_id: int) -> tuple[CheckRow, dict[str, Any]] | None:
    """The check and its report, or None."""
    statement = text(f"SELECT {_COLUMNS}, report FROM checks WHERE id = :id")
    row = connection.execute(statement, {"id": check_id}).mappings().one_or_none()
    return None if row is None else (_row(row), dict(row["report"]))


def _row(row: RowMapping) -> CheckRow:
    return CheckRow(**{key: value for key, value in row.items() if key != "report"})
