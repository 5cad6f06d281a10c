"""The order in which a report's tables are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.output.budget_table import budget
from service.output.tables import (
    Table,
    arms,
    effects,
    improvement,
    mechanism,
    sensitivity,
    times,
    tunability,
    winners,
)


def all_tables(report: Mapping[str, Any]) -> list[Table]:
    """Every table that has rows, in reading order."""
    makers = (arms, effects, improvement, budget, tunability, times, sensitivity, mechanism, winners)
    return [table for maker in makers if (table := maker(report)).rows]
