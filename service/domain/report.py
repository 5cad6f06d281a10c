"""The comparison of a study's arms, recomputable from stored values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.domain.arm_report import ArmReport, describe_arm
from service.domain.comparison import Comparison, compare_pairs
from service.domain.mechanism import Mechanism, describe_mechanism
from service.domain.notes import study_notes
from service.domain.plain import to_plain
from service.domain.report_input import ArmInput, ReportInput

__all__ = ["SCHEMA", "ArmInput", "ArmReport", "Comparison", "Report", "ReportInput", "build_report"]

SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """A study's result.

    Attributes:
        source: What it was built from.
        comparisons: The declared pairs, in the order of the study file.
        arms: In the order of the study file.
        mechanism: What the optimizers did to the weights.
        notes: Warnings for the reader, each a sentence.
    """

    source: ReportInput
    comparisons: tuple[Comparison, ...]
    arms: tuple[ArmReport, ...]
    mechanism: Mechanism
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form: full floats, null for what is undefined or infinite, raw per-seed values included."""
        source = self.source
        return {
            "schema": SCHEMA,
            "study": source.study,
            "spec_hash": source.spec_hash,
            "workload": source.workload,
            "metric": source.metric,
            "chance_level": source.chance_level,
            "margin": source.margin,
            "budget": {
                "trials_per_cell": source.trials_per_cell,
                "select_top": source.select_top,
                "select_seeds": source.select_seeds,
                "confirm_seeds": source.confirm_seeds,
                "replicates": source.replicates,
                "cost_per_replicate_s": source.cost_per_replicate_s,
            },
            "was_extended_after_look": source.was_extended_after_look,
            "is_finished": source.is_finished,
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
            "arms": to_plain(self.arms),
            "mechanism": self.mechanism.to_dict(),
            "notes": list(self.notes),
        }


def build_report(source: ReportInput) -> Report:
    """Compare the arms of a study as far as its trials allow; never fails on a degenerate result.

    Args:
        source: The study with its trials; checked when it was made.
    """
    arms = tuple(describe_arm(source, arm) for arm in source.arms)
    comparisons = compare_pairs(source, {arm.name: arm.standing for arm in arms})
    mechanism = describe_mechanism([arm.name for arm in source.arms], source.trials, source.layers)
    return Report(source, comparisons, arms, mechanism, study_notes(source, arms, mechanism))
