"""Warnings that belong to a study as a whole: confounded comparisons, edges, dead dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain.arm_report import ArmReport
from service.domain.lint import confounders, mixed_environments
from service.domain.mechanism import Mechanism
from service.domain.report_input import ReportInput
from service.domain.report_registration import NOT_PREREGISTERED, reuse_warnings
from service.domain.wording import count, listing


def study_notes(source: ReportInput, arms: Sequence[ArmReport], mechanism: Mechanism) -> tuple[str, ...]:
    """All notes of a study, the confounders first."""
    return (
        *([] if source.registration.is_preregistered else [NOT_PREREGISTERED]),
        *confounders(source.arms, source.compare, source.pruner),
        *reuse_warnings(source.reuse),
        *mixed_environments(source.environments),
        *_edge_notes(arms),
        *_dead_projections(mechanism),
        *_invalid_endpoints(source),
    )


def _edge_notes(arms: Sequence[ArmReport]) -> list[str]:
    notes = []
    for arm in arms:
        for edge in arm.edges:
            opening = "Range too narrow" if edge.is_narrow else "Winners near an edge"
            notes.append(f"{opening}: {arm.name}, {edge.text}.")
    return notes


def _dead_projections(mechanism: Mechanism) -> list[str]:
    idle = [line.arm for line in mechanism.arms if line.projection_rate == 0]
    if not idle:
        return []
    return [f"No projection fired in {listing(idle)}: delta and wd_ratio had no effect on the median layer."]


def _invalid_endpoints(source: ReportInput) -> list[str]:
    numbers = [t.number for t in source.trials if t.test_value is not None and t.test_value <= 0]
    if not numbers:
        return []
    return [f"{count(len(numbers), 'run')} left out: the test endpoint is not positive (trial {numbers[0]} first)."]
