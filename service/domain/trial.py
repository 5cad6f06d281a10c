"""What a trial is: its phase, its state, how it ended and what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

StudyId = NewType("StudyId", int)
TrialId = NewType("TrialId", int)

Params = Mapping[str, float | int | str | bool]


class Phase(StrEnum):
    """Why a trial runs; the phases of a cell follow one another in this order."""

    SEARCH = "search"
    SELECT = "select"
    CONFIRM = "confirm"
    CALIBRATE = "calibrate"
    REPRODUCE = "reproduce"


class TrialState(StrEnum):
    """Optuna's trial states."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def is_finished(self) -> bool:
        """True once no attempt will change the trial any more."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Outcome(StrEnum):
    """How a finished trial ended. Only the first three count towards a cell's budget."""

    FINISHED = "finished"
    DIVERGED = "diverged"
    PRUNED = "pruned"
    LOST = "lost"
    OUT_OF_MEMORY = "out_of_memory"
    WORKLOAD_ERROR = "workload_error"
    TIME_LIMIT = "time_limit"
    CANCELLED = "cancelled"

    @property
    def counts(self) -> bool:
        """True where the run says something about its parameters, so that it uses up budget."""
        return self in (Outcome.FINISHED, Outcome.DIVERGED, Outcome.PRUNED)

    @property
    def state(self) -> TrialState:
        """The trial state that goes with this outcome."""
        if self is Outcome.PRUNED:
            return TrialState.PRUNED
        return TrialState.COMPLETE if self.counts else TrialState.FAIL

    @property
    def is_retried(self) -> bool:
        """True where the infrastructure failed, so that the same parameters deserve another attempt."""
        return self in (Outcome.LOST, Outcome.OUT_OF_MEMORY)


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the report and the search see it.

    Attributes:
        number: Unique within the study; the trial's address in URLs.
        arm: Name of the arm.
        replicate: Counted from 0.
        cell_number: Position within the cell (one arm, one replicate), from 0; Optuna's trial number in search.
        config: `cell_number` of the search trial whose parameters this trial runs (its own in search).
        seed_index: Which of the phase's fresh seeds, from 0; 0 in search.
        seed: The derived seed of the run; equal for all arms at the same place of a replicate.
        value: Validation endpoint, positive and lower-is-better; None where the run did not finish.
        test_value: Test endpoint; only confirm runs have one.
        metrics: Further final numbers, such as validation and test accuracy.
        duration_s: Seconds of training, None until finished.
        cpu_s: Processor seconds of the training process, None until finished.
        n_steps: Completed training steps, None until finished.
    """

    number: int
    arm: str
    replicate: int
    phase: Phase
    cell_number: int
    config: int
    seed_index: int
    seed: int
    state: TrialState
    params: Params
    outcome: Outcome | None = None
    value: float | None = None
    test_value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    duration_s: float | None = None
    cpu_s: float | None = None
    n_steps: int | None = None


@dataclass(frozen=True)
class ValidationCurve:
    """What one trial's validation endpoint was at the end of each epoch; the sequences run side by side.

    Attributes:
        trial: The trial's number.
        epochs: Completed epochs, rising; 0 is the model before the first step.
        steps: Completed steps.
        values: Validation endpoint; None where it was no finite number.
    """

    trial: int
    epochs: tuple[int, ...]
    steps: tuple[int, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class LayerMeasurement:
    """What one parameter tensor did up to the end of one epoch; epoch 0 is the state before the first step.

    Attributes:
        trial: The trial's number.
        layer: The parameter's name, such as "conv1.weight".
        epoch: Completed epochs.
        weight_norm: Euclidean norm of the whole tensor.
        effective_lr: Learning rate / weight_norm**2.
        projection_rate: Share of the epoch's steps that were projected, 0 to 1; None without a projection.
        is_scale_invariant: True where a normalization follows the layer, so that the loss ignores the norm.
    """

    trial: int
    layer: str
    epoch: int
    weight_norm: float
    effective_lr: float
    projection_rate: float | None
    is_scale_invariant: bool
