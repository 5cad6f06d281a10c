"""Rungs: what running trials have measured, and whether they may go on.

A slot writes each rung at once; the coordinator stores its decision on the trial; the slot obeys one epoch later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from service.domain.trial import StudyId, TrialId


@dataclass(frozen=True)
class Decision:
    """The coordinator's latest word on a running trial.

    Attributes:
        epoch: The last epoch that was looked at.
        prune: True where the trial ends, with the value that it had at `epoch`.
        value: Validation endpoint at `epoch`.
    """

    epoch: int
    prune: bool
    value: float | None


@dataclass(frozen=True)
class Rung:
    """A measurement of a running search trial that nobody has decided on yet."""

    trial_id: TrialId
    cell_id: int
    number: int
    epoch: int
    value: float | None


def undecided_rungs(connection: Connection, study_id: StudyId) -> list[Rung]:
    """What running search trials have measured since the last decision on them, by trial and epoch."""
    statement = text("""
        SELECT t.id AS trial_id, t.cell_id, t.number, m.epoch, m.value
        FROM trials t JOIN measurements m ON m.trial_id = t.id
        WHERE t.study_id = :study_id AND t.state = 'RUNNING' AND t.phase = 'search'
          AND m.epoch > coalesce((t.prune_decision ->> 'epoch')::int, 0)
          AND (t.prune_decision ->> 'prune')::boolean IS NOT TRUE
        ORDER BY t.id, m.epoch
    """)
    return [Rung(**row) for row in connection.execute(statement, {"study_id": study_id}).mappings()]


def rungs_of(
    connection: Connection, study_id: StudyId, numbers: Sequence[int] | None = None
) -> dict[int, dict[int, float | None]]:
    """Validation endpoints of search trials by number and epoch, from epoch 1; of a pruned trial up to its decision.

    Args:
        numbers: Of these trials only; None for all of the study.
    """
    statement = text("""
        SELECT t.number, m.epoch, m.value
        FROM trials t JOIN measurements m ON m.trial_id = t.id
        WHERE t.study_id = :study_id AND t.phase = 'search' AND m.epoch > 0
          AND (CAST(:numbers AS int[]) IS NULL OR t.number = ANY(CAST(:numbers AS int[])))
          AND ((t.prune_decision ->> 'prune')::boolean IS NOT TRUE OR m.epoch <= (t.prune_decision ->> 'epoch')::int)
        ORDER BY t.number, m.epoch
    """)
    arguments = {"study_id": study_id, "numbers": None if numbers is None else list(numbers)}
    found: dict[int, dict[int, float | None]] = {}
    for row in connection.execute(statement, arguments):
        found.setdefault(row.number, {})[row.epoch] = row.value
    return found


def save_decision(connection: Connection, trial_id: TrialId, decision: Decision) -> bool:
    """Store the decision; False where the trial no longer runs."""
    statement = text("""
        UPDATE trials SET prune_decision = CAST(:decision AS jsonb) WHERE id = :id AND state = 'RUNNING' RETURNING id
    """)
    arguments = {"id": trial_id, "decision": json.dumps(vars(decision))}
    return connection.execute(statement, arguments).one_or_none() is not None


def decision_on(connection: Connection, trial_id: TrialId) -> Decision | None:
    """The latest decision, or None."""
    row = connection.execute(text("SELECT prune_decision FROM trials WHERE id = :id"), {"id": trial_id}).one_or_none()
    return None if row is None or row.prune_decision is None else Decision(**row.prune_decision)
