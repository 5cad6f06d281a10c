"""Identical trainings: found by their content key, taken over, and checked now and then by running one again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from service.domain.trial import Outcome, TrialId
from service.store.leases import Finish, finish_trial


@dataclass(frozen=True)
class Twin:
    """A finished training that is the same as one to be run.

    Attributes:
        study: Its study's id; with `number` what a person calls it.
        epochs: Validation endpoint by epoch.
    """

    trial_id: TrialId
    study: int
    number: int
    outcome: Outcome
    value: float | None
    test_value: float | None
    metrics: Mapping[str, float]
    n_steps: int | None
    duration_s: float | None
    cpu_s: float | None
    epochs: Mapping[int, float | None]

    @property
    def name(self) -> str:
        """Such as "study 7, trial 12"."""
        return f"study {self.study}, trial {self.number}"


def find_twin(connection: Connection, trial_id: TrialId, attempt: int, content_key: str) -> Twin | None:
    """The oldest training of that key that ran in the same environment as this attempt, or None.

    One that was itself taken over is none, nor is any of a key that was once run again with another result.
    """
    statement = text("""
        SELECT t.id AS trial_id, t.study_id AS study, t.number, t.outcome, t.value, t.test_value, t.metrics, t.n_steps,
               t.duration_s, t.cpu_s,
               (SELECT coalesce(jsonb_object_agg(m.epoch, m.value), '{}') FROM measurements m
                WHERE m.trial_id = t.id) AS epochs
        FROM trials t
        JOIN attempts ran ON ran.trial_id = t.id AND ran.attempt = t.attempt
        JOIN attempts mine ON mine.trial_id = :trial_id AND mine.attempt = :attempt
             AND mine.environment_id = ran.environment_id
        WHERE t.content_key = :key AND t.outcome IN ('finished', 'diverged') AND t.source_trial_id IS NULL
          AND NOT EXISTS (SELECT FROM trials d WHERE d.content_key = :key AND d.revalidation = 'different')
        ORDER BY t.id LIMIT 1
    """)
    arguments = {"trial_id": trial_id, "attempt": attempt, "key": content_key}
    row = connection.execute(statement, arguments).mappings().one_or_none()
    if row is None:
        return None
    epochs = {int(epoch): value for epoch, value in row["epochs"].items()}
    return Twin(**{**row, "outcome": Outcome(row["outcome"]), "epochs": epochs})


def take_over(connection: Connection, trial_id: TrialId, attempt: int, content_key: str, twin: Twin) -> bool:
    """End a trial with its twin's result and measurements; False where the lease is lost and nothing was written.

    Its durations are the twin's, too: a budget in seconds counts what a training costs, not who paid.
    """
    same = ("outcome", "value", "test_value", "metrics", "n_steps", "duration_s", "cpu_s")
    finish = Finish(
        **{name: getattr(twin, name) for name in same}, content_key=content_key, reason=f"taken from {twin.name}"
    )
    if not finish_trial(connection, trial_id, attempt, finish):
        return False
    copy = text("""
        INSERT INTO measurements (trial_id, epoch, attempt, step, value, metrics, layers)
        SELECT :trial_id, epoch, :attempt, step, value, metrics, layers FROM measurements WHERE trial_id = :source
        ON CONFLICT (trial_id, epoch) DO NOTHING
    """)
    connection.execute(copy, {"trial_id": trial_id, "attempt": attempt, "source": twin.trial_id})
    mark = text("UPDATE trials SET source_trial_id = :source WHERE id = :trial_id")
    connection.execute(mark, {"trial_id": trial_id, "source": twin.trial_id})
    return True


def note_revalidation(connection: Connection, trial_id: TrialId, twin: Twin, *, is_equal: bool) -> None:
    """Say on a trial that was run although it had a twin whether both are equal to the last bit.

    Where they differ, neither is taken over any more. To be called after the trial's end, in a transaction of its own.
    """
    ids = [trial_id] if is_equal else sorted([trial_id, twin.trial_id])
    statement = text("""
        UPDATE trials SET revalidation = :verdict
        WHERE id IN (SELECT id FROM trials WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE)
    """)
    connection.execute(statement, {"ids": ids, "verdict": "equal" if is_equal else "different"})


def reuse_of(connection: Connection, study_id: int) -> dict[str, Any]:
    """How much was taken from other studies: n_reused, n_equal, n_different, saved_s, `studies` (their ids)."""
    statement = text("""
        SELECT count(t.source_trial_id) AS n_reused,
               count(*) FILTER (WHERE t.revalidation = 'equal') AS n_equal,
               count(*) FILTER (WHERE t.revalidation = 'different') AS n_different,
               coalesce(sum(t.duration_s) FILTER (WHERE t.source_trial_id IS NOT NULL), 0) AS saved_s,
               coalesce(array_agg(DISTINCT o.study_id) FILTER (WHERE o.study_id IS NOT NULL), '{}') AS studies
        FROM trials t LEFT JOIN trials o ON o.id = t.source_trial_id
        WHERE t.study_id = :study_id
    """)
    return dict(connection.execute(statement, {"study_id": study_id}).mappings().one())
