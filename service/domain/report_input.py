"""What a report is built from: a study's constants, its trials, and the cells that they form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from service.domain.catalog import BUILT_IN, Catalog
from service.domain.plan import is_budget_spent
from service.domain.report_cell import Cell, endpoint, has_diverged, in_order
from service.domain.report_registration import AS_SUBMITTED, NO_REUSE, Registration, Reuse
from service.domain.space import Dimension, searched, space_from_dict, space_to_dict
from service.domain.study import SearchPlan, Study
from service.domain.trial import LayerMeasurement, Phase, TrialRecord, ValidationCurve

__all__ = ["REPORTED_PHASES", "ArmInput", "Cell", "ReportInput", "arm_inputs", "endpoint", "has_diverged"]

REPORTED_PHASES = (Phase.SEARCH, Phase.SELECT, Phase.CONFIRM)


@dataclass(frozen=True)
class ArmInput:
    """One arm as declared.

    Attributes:
        optimizer: The optimizer's name in the catalog, such as "AdamP".
        family: "sgd", "adam" or "other".
        search: The arm's space in the study file's form, `{"lr": {"log": [1e-4, 1e-1]}, "delta": 0.1}`; entries that
            are no range are fixed values.
    """

    name: str
    optimizer: str
    family: str
    search: Mapping[str, Any]

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The searched dimensions, by name."""
        return searched(space_from_dict(self.search))


@dataclass(frozen=True)
class ReportInput:
    """All that `build_report` reads.

    Attributes:
        study: The study's name.
        spec_hash: Identifies the frozen spec.
        workload: The workload's name.
        metric: The reported endpoint, such as "test NLL": positive, lower is better.
        chance_level: Endpoint of a model that knows nothing, > 0; a diverged confirm run counts as this.
        margin: m > 0, on the log of the endpoint.
        trials_per_cell: T.
        wall_s: Seconds from the study's first start to its end; None before that.
        search_budget: An end of a cell's search before T trials, as in `SearchPlan`; None where T alone ends it.
        select_top: Configurations that are re-run in select.
        select_seeds: Fresh seeds of each.
        confirm_seeds: S.
        replicates: R as planned, those added included.
        compare: Declared pairs, baseline first; Holm's correction runs over all of them.
        trials: Any order; calibrate and reproduce runs are ignored.
        layers: Measurements of the confirm runs; may be empty.
        cost_per_replicate_s: Seconds that one more replicate of the study takes; None where unknown.
        registration: What was fixed before the first trial, and what came later.
        reuse: What was taken from other studies.
        is_finished: True where no trial will be added any more (finished, failed or cancelled): replicates that are
            incomplete are then left out and named, instead of holding the verdict back.
        options: The workload's options.
        sampler: The search's sampler; its trials are independent only where this is "random".
        pruner: The search's pruner.
        device: The device class of all runs.
        seed: The spec's seed; None where unknown.
        code_revision: Hash of the training code; None where unknown.
        curves: Validation endpoints by epoch of the confirm runs; may be empty.
        importances: Share of each searched hyperparameter by arm (`service.importance`); may be empty.
        environments: Versions and machines on which attempts ran, each a flat mapping; may be empty.

    Raises:
        ValueError: A constant outside its range, or a pair or trial that names an unknown arm or replicate.
    """

    study: str
    spec_hash: str
    workload: str
    metric: str
    chance_level: float
    margin: float
    trials_per_cell: int
    select_top: int
    select_seeds: int
    confirm_seeds: int
    replicates: int
    arms: tuple[ArmInput, ...]
    compare: tuple[tuple[str, str], ...]
    trials: Sequence[TrialRecord]
    layers: Sequence[LayerMeasurement] = ()
    cost_per_replicate_s: float | None = None
    wall_s: float | None = None
    search_budget: Mapping[str, float] | None = None
    registration: Registration = AS_SUBMITTED
    reuse: Reuse = NO_REUSE
    is_finished: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    sampler: str = "random"
    pruner: str = "none"
    device: str = "cpu"
    seed: int | None = None
    code_revision: str | None = None
    curves: Sequence[ValidationCurve] = ()
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    environments: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        for name, value in (("chance_level", self.chance_level), ("margin", self.margin)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value!r}")
        names = {arm.name for arm in self.arms}
        if unknown := {name for pair in self.compare for name in pair} - names:
            raise ValueError(f"compare names unknown arms {sorted(unknown)}; the arms are {sorted(names)}")
        for trial in (trial for trial in self.trials if trial.phase in REPORTED_PHASES):
            if trial.arm not in names or not 0 <= trial.replicate < self.replicates:
                place = f"arm {trial.arm!r}, replicate {trial.replicate}"
                raise ValueError(f"trial {trial.number} belongs to {place}, which the study does not have")

    @classmethod
    def from_study(
        cls,
        study: Study,
        trials: Sequence[TrialRecord],
        catalog: Catalog = BUILT_IN,
        *,
        layers: Sequence[LayerMeasurement] = (),
        cost_per_replicate_s: float | None = None,
        wall_s: float | None = None,
        registration: Registration = AS_SUBMITTED,
        reuse: Reuse = NO_REUSE,
        is_finished: bool = False,
        code_revision: str | None = None,
        curves: Sequence[ValidationCurve] = (),
        environments: Sequence[Mapping[str, Any]] = (),
        spec_hash: str | None = None,
    ) -> ReportInput:
        """Take the constants from a study's spec; the other arguments are the attributes of the same name.

        Args:
            study: As it runs, with replicates that were added later.
            catalog: Knows the study's workload and the families of its optimizers.
            spec_hash: Of the frozen file; by default the study's own.

        Raises:
            KeyError: The catalog does not have the workload.
            ValueError: As for the class.
        """
        workload = catalog.workloads[study.workload]
        return cls(
            study=study.name,
            spec_hash=spec_hash or study.spec_hash,
            workload=study.workload,
            metric=f"test {workload.endpoint}",
            chance_level=workload.chance_level,
            margin=study.margin,
            trials_per_cell=study.search.trials,
            select_top=study.select_top,
            select_seeds=study.select_seeds,
            confirm_seeds=study.confirm_seeds,
            replicates=study.replicates,
            arms=arm_inputs(study, catalog),
            compare=study.compare,
            trials=trials,
            layers=layers,
            cost_per_replicate_s=cost_per_replicate_s,
            wall_s=wall_s,
            search_budget=study.search.budget,
            registration=registration,
            reuse=reuse,
            is_finished=is_finished,
            options=study.options,
            sampler=study.search.sampler,
            pruner=study.search.pruner,
            device=study.device,
            seed=study.seed,
            code_revision=code_revision,
            curves=curves,
            environments=environments,
        )

    @cached_property
    def cells(self) -> Mapping[tuple[str, int], Cell]:
        """Every cell of the study by (arm, replicate), the empty ones included."""
        grouped: dict[tuple[str, int], list[TrialRecord]] = {}
        for trial in self.trials:
            if trial.phase in REPORTED_PHASES:
                grouped.setdefault((trial.arm, trial.replicate), []).append(trial)
        places = [(arm.name, replicate) for arm in self.arms for replicate in range(self.replicates)]
        return {place: Cell(place[1], tuple(in_order(grouped.get(place, [])))) for place in places}

    def cells_of(self, arm: str) -> list[Cell]:
        """The arm's cells, by replicate."""
        return [self.cells[arm, replicate] for replicate in range(self.replicates)]

    @property
    def was_extended_after_look(self) -> bool:
        """True where replicates were added after a look at the result."""
        return self.registration.was_extended_after_look

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of replicates at which a sequential study is looked at; empty for any other."""
        return self.registration.planned_looks

    @property
    def runs_per_replicate(self) -> int:
        """Most trainings of one replicate, over all arms."""
        per_cell = self.trials_per_cell + self.select_top * self.select_seeds + self.confirm_seeds
        return len(self.arms) * per_cell

    def has_searched(self, cell: Cell) -> bool:
        """True where the cell's search is over: T trials that count, or what `search_budget` allows."""
        plan = SearchPlan(trials=self.trials_per_cell, budget=self.search_budget)
        return len(cell.searched) >= plan.trials or is_budget_spent(plan, cell.searched)


def arm_inputs(study: Study, catalog: Catalog = BUILT_IN) -> tuple[ArmInput, ...]:
    """The study's arms as the report takes them."""
    return tuple(
        ArmInput(arm.name, arm.optimizer, _family(arm.optimizer, catalog), space_to_dict(arm.space))
        for arm in study.arms
    )


def _family(optimizer: str, catalog: Catalog) -> str:
    entry = catalog.optimizers.get(optimizer)
    return entry.family if entry else "other"
