"""A look at a sequential study: is every declared pair decided, or do more replicates have to run?"""

from __future__ import annotations

from typing import Any

from service.domain.arm_report import describe_arm
from service.domain.comparison import Comparison, compare_pairs
from service.domain.plain import to_plain
from service.domain.report_input import ReportInput
from service.domain.ruling import VerdictKind

_UNDECIDED = (VerdictKind.INCONCLUSIVE, VerdictKind.NO_VERDICT, VerdictKind.NOT_COMPARABLE)


def take_look(source: ReportInput) -> dict[str, Any]:
    """What the ledger keeps of a look.

    Args:
        source: The study with its `looks`, all its replicates so far being complete.

    Returns:
        JSON data: `replicates`; `is_decided`, true where each pair's verdict is one of the table's that need no more
        replicates; `pairs` with the verdict's kind, the effect, its interval over all looks and Holm's p.
    """
    compared = compare_pairs(source, {arm.name: describe_arm(source, arm).standing for arm in source.arms})
    is_decided = all(pair.verdict.kind not in _UNDECIDED for pair in compared)
    return {"replicates": source.replicates, "is_decided": is_decided, "pairs": [_pair(pair) for pair in compared]}


def _pair(pair: Comparison) -> dict[str, Any]:
    effect = pair.measurement.effect
    return {
        "baseline": pair.measurement.baseline,
        "challenger": pair.measurement.challenger,
        "kind": pair.verdict.kind.value,
        "effect": effect.mean,
        "interval_95": to_plain(effect.interval_95),
        "holm_p": pair.holm_p,
    }
