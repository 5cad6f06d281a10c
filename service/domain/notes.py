"""Warnings that belong to a study as a whole: confounded comparisons, edges, dead dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain.arm_report import ArmReport
from service.domain.catalog import BUILT_IN
from service.domain.mechanism import Mechanism
from service.domain.report_input import ArmInput, ReportInput
from service.domain.wording import count, listing

DECOUPLED_BASELINE = {"AdamP": "AdamW", "SGDP": "SGDW"}
"""The optimizer that differs from a projecting one in nothing but the projection."""


def study_notes(source: ReportInput, arms: Sequence[ArmReport], mechanism: Mechanism) -> tuple[str, ...]:
    """All notes of a study, the confounders first."""
    return (
        *_missing_baselines(source.arms),
        *_mixed_decay(source),
        *_edge_notes(arms),
        *_dead_projections(mechanism),
        *_dead_decay_ratios(source.arms),
        *_invalid_endpoints(source),
    )


def _missing_baselines(arms: Sequence[ArmInput]) -> list[str]:
    present = {arm.optimizer for arm in arms}
    return [
        f"{optimizer} is compared without {baseline}: {optimizer} decouples weight decay, and only {baseline} among "
        "the arms can tell the projection from the decay."
        for optimizer, baseline in DECOUPLED_BASELINE.items()
        if optimizer in present and baseline not in present
    ]


def _mixed_decay(source: ReportInput) -> list[str]:
    optimizer = {arm.name: BUILT_IN.optimizers.get(arm.optimizer) for arm in source.arms}
    notes = []
    for pair in source.compare:
        coupled = [name for name in pair if (entry := optimizer[name]) and entry.decay == "coupled"]
        projecting = [name for name in pair if (entry := optimizer[name]) and entry.has_projection]
        if coupled and projecting:
            notes.append(
                f"{pair[1]} against {pair[0]} mixes two changes: {projecting[0]} projects, and it decouples the "
                f"weight decay, which {coupled[0]} adds to the gradient."
            )
    return notes


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


def _dead_decay_ratios(arms: Sequence[ArmInput]) -> list[str]:
    dead = [arm.name for arm in arms if "wd_ratio" in arm.dimensions and arm.search.get("weight_decay", 0) == 0]
    return [f"wd_ratio is searched in {listing(dead)} where weight_decay is 0: it has no effect."] if dead else []


def _invalid_endpoints(source: ReportInput) -> list[str]:
    numbers = [t.number for t in source.trials if t.test_value is not None and t.test_value <= 0]
    if not numbers:
        return []
    return [f"{count(len(numbers), 'run')} left out: the test endpoint is not positive (trial {numbers[0]} first)."]
