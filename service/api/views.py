"""What the API answers: the JSON forms of studies, trials, workers and the catalog."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.domain.plain import to_plain
from service.domain.trial import Outcome, Phase, TrialState
from service.store.studies import StudyRow
from service.studies import StudyView, Validation


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Counts(_View):
    """Trials by state; the diverged ones are among the complete, the cancelled ones among those of n_fail."""

    n_waiting: int
    n_running: int
    n_complete: int
    n_pruned: int
    n_fail: int
    n_diverged: int
    n_cancelled: int


class StudySummary(_View):
    """A study in a list."""

    id: int
    name: str
    state: str = Field(description="RUNNING, PAUSED, FINISHED, FAILED or CANCELLED.")
    reason: str | None = Field(description="Why it ended, where it did not finish.")
    workload: str
    device: str
    spec_hash: str
    code_revision: str | None = Field(description="Hash of the training code; fixed by the first trial.")
    parent_id: int | None
    revision: int = Field(description="Number of the study's last event.")
    counts: Counts
    n_planned: int = Field(description="Trainings of the whole study.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class StudyPage(_View):
    """Studies, newest first."""

    studies: list[StudySummary]
    next_page_token: str | None = Field(description="Send it as page_token for the next page; null at the end.")


class ProgressView(_View):
    """One arm in one phase."""

    arm: str
    phase: Phase
    n_planned: int
    n_waiting: int
    n_running: int
    n_counted: int = Field(description="Trials that finished, diverged or were pruned.")
    n_failed: int = Field(description="Trials that failed; cancelled ones are not among them.")
    n_cancelled: int
    n_diverged: int
    best: float | None = Field(description="Lowest validation endpoint so far.")
    cpu_s: float
    duration_s: float


class CellView(_View):
    """One arm in one replicate."""

    arm: str
    replicate: int
    state: str = Field(description="search, select, confirm, finished or failed.")
    winner: int | None = Field(description="cell_number of the search trial that won.")
    reason: str | None


class AmendmentView(_View):
    """Replicates that were added to a study after it was frozen."""

    replicates: int
    after_look: bool = Field(description="True where results of confirm runs could be read before.")
    at: datetime


class StudyDetail(StudySummary):
    """A study with its progress."""

    spec: dict[str, Any] = Field(description="The study file with every default written out.")
    progress: list[ProgressView]
    cells: list[CellView]
    n_counted: int
    eta_s: float | None = Field(description="Seconds to the last training at the recent pace; null where unknown.")
    registered_replicates: int = Field(description="Replicates of the file as it was frozen.")
    amendments: list[AmendmentView] = Field(description="Replicates that were added later, oldest first.")


class RetriedView(StudyDetail):
    """A study after a retry."""

    retried: list[int] = Field(description="Numbers of the trials that wait again.")


class PowerView(_View):
    """Chance to see a true change of that size."""

    change: float
    power: float


class SpreadView(_View):
    """Noise of a paired difference on the log scale."""

    within: float = Field(description="Standard deviation of one pair of runs on a common seed.")
    between: float = Field(description="Of the true replicate means: what more seeds cannot remove.")
    n_pairs: int = Field(description="Earlier comparisons behind the two; 0 for what is typical.")


class CostView(_View):
    """What a study takes: from earlier trainings of the same workload, else guessed from the catalog."""

    n_trainings: int
    device_s: float = Field(description="Seconds of one slot for all trainings.")
    n_slots: int = Field(description="Slots that listen to the study's queue now.")
    wall_s: float | None = Field(description="device_s over the slots; null where there is none.")
    assumed_sd: float = Field(description="Spread of replicate means behind `power`, log scale.")
    alpha: float = Field(description="Level of the test behind `power`.")
    power: list[PowerView]
    run_s: float = Field(description="Mean seconds of one training.")
    n_measured: int = Field(description="Earlier trainings behind device_s; 0 where it is the catalog's guess.")
    spread: SpreadView


class ValidationView(_View):
    """A study file that could run."""

    name: str
    spec: dict[str, Any]
    spec_hash: str
    cost: CostView
    warnings: list[str]


class SubmittedView(ValidationView):
    """A study that was accepted."""

    id: int
    state: str
    revision: int


class TrialView(_View):
    """A trial in a list."""

    number: int
    arm: str
    optimizer: str
    replicate: int
    phase: Phase
    cell_number: int
    config: int
    seed_index: int
    seed: int
    state: TrialState
    outcome: Outcome | None
    reason: str | None
    attempt: int
    params: dict[str, Any]
    value: float | None
    test_value: float | None
    metrics: dict[str, Any]
    n_steps: int | None
    duration_s: float | None
    cpu_s: float | None
    content_key: str | None
    prune_decision: dict[str, Any] | None = Field(
        description="The coordinator's last word where a pruner looks: epoch, prune, and the value at that epoch."
    )
    revalidation: str | None
    source_study: int | None
    source_number: int | None
    worker_id: UUID | None
    slot: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class TrialPage(_View):
    """Trials by number."""

    trials: list[TrialView]
    next_page_token: str | None


class AttemptView(_View):
    """One execution of a trial."""

    attempt: int
    worker_id: UUID | None
    hostname: str | None
    slot: int | None
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: str | None
    traceback: str | None
    log_tail: str | None
    resumed_from_step: int | None
    environment: dict[str, Any] | None


class MeasurementView(_View):
    """The end of one epoch; epoch 0 is the state before the first step."""

    epoch: int
    attempt: int
    step: int
    value: float | None
    metrics: dict[str, Any]
    layers: dict[str, Any]


class TrialDetail(TrialView):
    """A trial with its attempts and measurements."""

    attempts: list[AttemptView]
    measurements: list[MeasurementView]


class LoginLink(_View):
    """A link that signs in once."""

    path: str
    expires_s: int


class CatalogView(_View):
    """What a study file may name."""

    optimizers: list[dict[str, Any]]
    workloads: list[dict[str, Any]]
    samplers: list[dict[str, Any]]
    pruners: list[dict[str, Any]]


class WorkerTrial(_View):
    """A trial that a worker runs now."""

    study: int
    trial: int
    slot: int | None


class WorkerView(_View):
    """A worker, as it registered."""

    id: UUID
    hostname: str
    pid: int
    state: str = Field(description="online, draining or offline.")
    queues: list[str]
    devices: list[str]
    n_slots: int
    code_revision: str
    started_at: datetime
    heartbeat_at: datetime
    heartbeat_age_s: float
    stopped_at: datetime | None
    environment: dict[str, Any]
    trials: list[WorkerTrial]


class WorkerList(_View):
    """Workers, those online first."""

    workers: list[WorkerView]


class EventView(_View):
    """Something that happened to a study; `id` of the server-sent event is the revision."""

    revision: int
    kind: str = Field(
        description="submitted, trials_added, trial, cell, look, study, settings, requeue or control (docs/control.md)."
    )
    data: dict[str, Any]
    created_at: datetime


def study_summary(row: StudyRow, n_cancelled: int) -> dict[str, Any]:
    """`StudySummary` of a row; `n_cancelled` of its trials ended as cancelled."""
    return {
        **{name: getattr(row, name) for name in StudySummary.model_fields if hasattr(row, name)},
        "counts": {**row.counts, "n_cancelled": n_cancelled},
        "workload": row.study.workload,
        "device": row.study.device,
        "n_planned": row.study.n_runs,
    }


def study_detail(view: StudyView) -> dict[str, Any]:
    """`StudyDetail` of a view."""
    return {
        **study_summary(view.row, sum(entry.n_cancelled for entry in view.progress)),
        "spec": view.row.study.to_dict(),
        "progress": [to_plain(entry) for entry in view.progress],
        "cells": view.cells,
        "n_counted": view.n_counted,
        "eta_s": view.eta_s,
        "registered_replicates": view.row.registered_replicates,
        "amendments": list(view.row.amendments),
    }


def validation_view(validation: Validation) -> dict[str, Any]:
    """`ValidationView` of a validation."""
    return {
        "name": validation.study.name,
        "spec": validation.study.to_dict(),
        "spec_hash": validation.study.spec_hash,
        "cost": {**to_plain(validation.cost), "n_slots": validation.n_slots, "wall_s": validation.wall_s},
        "warnings": list(validation.warnings),
    }


def submitted_view(row: StudyRow, validation: Validation) -> dict[str, Any]:
    """`SubmittedView` of a study that was just added."""
    return {**validation_view(validation), "id": row.id, "state": row.state, "revision": row.revision}
