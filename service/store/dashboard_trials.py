"""A page of a study's trials, sorted and filtered, by keyset: no page costs more than the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from service.domain.trial import StudyId
from service.domain.trial_filter import Condition

SORTS = {
    "number": "t.number::double precision",
    "value": "t.value",
    "test_value": "t.test_value",
    "duration_s": "t.duration_s",
    "n_steps": "t.n_steps::double precision",
    "replicate": "c.replicate::double precision",
}
_FIELDS = {
    "arm": "a.name",
    "optimizer": "t.optimizer",
    "phase": "t.phase",
    "state": "lower(t.state)",
    "outcome": "coalesce(t.outcome, '')",
    "number": "t.number",
    "replicate": "c.replicate",
    "config": "t.config",
    "attempt": "t.attempt",
    "value": "t.value",
    "test_value": "t.test_value",
    "n_steps": "t.n_steps",
    "duration_s": "t.duration_s",
    "cpu_s": "t.cpu_s",
}
_COLUMNS = """
    SELECT t.number, a.name AS arm, t.optimizer, c.replicate, t.phase, t.config, t.seed, t.state, t.outcome, t.reason,
           t.attempt, t.params, t.value, t.test_value, t.n_steps, t.duration_s, t.finished_at
    FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
"""


def page_of_trials(
    connection: Connection,
    study_id: StudyId,
    conditions: Sequence[Condition],
    *,
    sort: str = "number",
    is_descending: bool = False,
    after: tuple[float | None, int] | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Trials in order of (sort, number); those without the value that is sorted by come last.

    Args:
        sort: A key of SORTS.
        after: Sort value and number of the last trial of the page before.
        limit: At most so many.
    """
    where, arguments = _where(conditions)
    key = SORTS[sort]
    direction, beyond = ("DESC", "<") if is_descending else ("ASC", ">")
    if after is not None:
        arguments |= {"after_value": after[0], "after_number": after[1]}
        tie = f"t.number {beyond} :after_number"
        if sort == "number":
            where.append(tie)
        elif after[0] is None:
            where.append(f"({key} IS NULL AND {tie})")
        else:
            where.append(f"({key} {beyond} :after_value OR ({key} = :after_value AND {tie}) OR {key} IS NULL)")
    order = "t.number" if sort == "number" else key
    statement = (
        f"{_COLUMNS} WHERE {' AND '.join(['t.study_id = :study_id', *where])} "
        f"ORDER BY {order} {direction} NULLS LAST, t.number {direction} LIMIT :limit"
    )
    rows = connection.execute(text(statement), {**arguments, "study_id": study_id, "limit": limit})
    return [dict(row) for row in rows.mappings()]


def count_trials(connection: Connection, study_id: StudyId, conditions: Sequence[Condition]) -> int:
    """How many trials fulfil the conditions."""
    where, arguments = _where(conditions)
    statement = f"""
        SELECT count(*) FROM trials t JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id
        WHERE {" AND ".join(["t.study_id = :study_id", *where])}
    """
    return int(connection.execute(text(statement), {**arguments, "study_id": study_id}).scalar_one())


def _where(conditions: Sequence[Condition]) -> tuple[list[str], dict[str, Any]]:
    """Conditions as SQL; names and values are bound, operators and fields come from constants."""
    where, arguments = [], dict[str, Any]()
    for i, condition in enumerate(conditions):
        operator = {"!=": "<>"}.get(condition.operator, condition.operator)
        arguments[f"value_{i}"] = condition.value
        if condition.is_param:
            arguments[f"name_{i}"] = condition.field
            number = (
                f"CASE WHEN jsonb_typeof(t.params -> :name_{i}) = 'number' THEN (t.params ->> :name_{i})::float END"
            )
            where.append(f"{number} {operator} :value_{i}")
        else:
            where.append(f"{_FIELDS[condition.field]} {operator} :value_{i}")
    return where, arguments
