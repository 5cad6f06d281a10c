"""Checks of optimizer code, as uploaded: judged by their shape, kept, listed. Nothing they name is run here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.domain.checks import SCHEMA, Check
from service.errors import InvalidInputError, NotFoundError
from service.store import checks as store
from service.store.checks import CheckRow
from service.store.database import Connection

MAX_TEXT = 300
_CHECK: TypeAdapter[Check] = TypeAdapter(Check)


def read_check(document: Mapping[str, Any]) -> Check:
    """A report as `Check.to_dict` writes it; its verdicts are recomputed, not believed.

    Raises:
        InvalidInputError: With everything that is wrong with its shape.
    """
    if document.get("schema") != SCHEMA:
        raise InvalidInputError(
            "the report cannot be read", [("schema", f"must be {SCHEMA}, got {str(document.get('schema'))[:100]}")]
        )
    try:
        check = _CHECK.validate_json(json.dumps(document), strict=True)  # as JSON: enums are texts, tuples are lists
    except ValidationError as error:
        problems = [(_place(entry["loc"]), str(entry["msg"])) for entry in error.errors(include_url=False)]
        raise InvalidInputError("the report of the check has not the right shape", problems) from error
    if problems := _problems(check):
        raise InvalidInputError("the report of the check says something impossible", problems)
    return check


def keep(connection: Connection, document: Mapping[str, Any]) -> tuple[CheckRow, bool]:
    """Keep a report; returns its row, and False where the same one was there before. Raises as `read_check`."""
    check = read_check(document)
    return store.insert_check(connection, check, check.to_dict())


def list_page(
    connection: Connection, *, name: str | None = None, before: int | None = None, limit: int = 50
) -> tuple[list[CheckRow], int | None]:
    """A page of checks, newest first, and the `before` of the next page, None at the end."""
    rows = store.list_checks(connection, name=name, before=before, limit=limit + 1)
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def show(connection: Connection, check_id: int) -> tuple[CheckRow, dict[str, Any]]:
    """A check and its report; raises NotFoundError."""
    found = store.get_check(connection, check_id)
    if found is None:
        raise NotFoundError(f"there is no check {check_id}")
    return found


def _problems(check: Check) -> list[tuple[str, str]]:
    """What the types allow and a report cannot say."""
    found = []
    sides = (("baseline", check.baseline), ("candidate", check.candidate))
    texts = [("name", check.name)]
    texts += [
        (f"{role}.{key}", getattr(side, key)) for role, side in sides for key in ("given", "optimizer", "revision")
    ]
    found += [(where, f"must have at most {MAX_TEXT} characters") for where, text in texts if len(text) > MAX_TEXT]
    found += [(where, "must not be empty") for where, text in texts[:1] if not text]
    if not _is_aware(check.created_at):
        found.append(("created_at", "must be a time in ISO 8601 with its offset"))
    layers = [layer.layer for layer in check.layers]
    if len(set(layers)) < len(layers):
        found.append(("layers", "names a layer twice"))
    if "\\u0000" in json.dumps(check.to_dict()):
        found.append(("", "must not contain the character U+0000, which Postgres cannot keep"))
    return found


def _is_aware(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _place(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
