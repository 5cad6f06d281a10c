"""What goes into a training, what comes out of it, and who watches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from service.domain.space import Value
from service.domain.trial import Outcome, Params
from workers.layers import Layer


@dataclass(frozen=True)
class Run:
    """All that determines a training.

    Attributes:
        workload: A built-in name, or "module:Class" from the allow-list.
        options: The workload's options; what is missing is at its default.
        optimizer: A catalog name, or "module:Class" from the allow-list.
        params: Hyperparameters by their catalog names.
        seed: The training seed; initialisation, data order and split follow from it.
        device: "cpu", "cuda" or "cuda:1".
        reads_test_set: True for confirm runs only.
    """

    workload: str
    options: Mapping[str, Value]
    optimizer: str
    params: Params
    seed: int
    device: str = "cpu"
    reads_test_set: bool = False


@dataclass(frozen=True)
class Measurement:
    """A model before its first step (epoch 0) and at the end of each epoch. JSON-safe: None for what is not finite.

    Attributes:
        epoch: Completed epochs.
        step: Completed steps.
        value: Validation endpoint, floored.
        metrics: "validation_accuracy" and the like; "train_loss", the mean over the epoch's steps, from epoch 1 on.
        layers: By parameter name, tensors with more than one dimension: weight_norm; effective_lr, the learning rate
            of the last step (at epoch 0 of the first one) / weight_norm**2; projection_rate; channel_cos, the largest
            |cos(gradient, weight)| over the channels, and layer_cos, that of the whole tensor, both at the last step
            (None at epoch 0); channel_threshold and layer_threshold, under which an optimizer with a delta projects
            (None for the others); is_scale_invariant.
    """

    epoch: int
    step: int
    value: float | None
    metrics: Mapping[str, float]
    layers: Mapping[str, Layer]


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        outcome: FINISHED, DIVERGED or PRUNED.
        value: Validation endpoint, floored; None where the run diverged, or was pruned: then the observer knows it.
        test_value: Test endpoint, floored; None where the run diverged or does not read the test set.
        metrics: The final numbers that are finite.
        n_steps: Completed steps.
        duration_s: Seconds of training and evaluation, over all attempts that led here.
        cpu_s: Processor seconds of the process meanwhile, all threads.
        reason: Why the run has diverged, in a sentence; None for the others.
    """

    outcome: Outcome
    value: float | None
    test_value: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    n_steps: int = 0
    duration_s: float = 0.0
    cpu_s: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Start:
    """Where an attempt begins.

    Attributes:
        step: Steps that a checkpoint had completed; 0 where there was none.
        n_steps: Steps of the whole run.
        n_epochs: Epochs of the whole run.
        note: Why the run begins at step 0 although it was given a checkpoint's path; "" otherwise.
    """

    step: int
    n_steps: int
    n_epochs: int
    note: str = ""


class Observer(Protocol):
    """Who watches a run. An exception from any of these ends the run and reaches the caller of `train` unchanged."""

    def started(self, start: Start) -> None:
        """The model is built, and the checkpoint read where there is one."""

    def measured(self, measurement: Measurement) -> bool | None:
        """An epoch ended. A resumed run does not repeat the measurements before its checkpoint.

        Returns:
            True to end the run here, as pruned.
        """

    def should_stop(self) -> bool:
        """Asked after each step but the last; True writes a checkpoint and raises `Interrupted`."""

    def wants_checkpoint(self) -> bool:
        """Asked after each step but the last, where there is a path to write to; True writes a checkpoint."""


class Interrupted(Exception):  # noqa: N818 (a request that was met, no error)
    """The observer stopped the run.

    Attributes:
        step: Completed steps.
        is_saved: True where a checkpoint holds them.
    """

    def __init__(self, step: int, is_saved: bool) -> None:
        super().__init__(f"interrupted after step {step}")
        self.step = step
        self.is_saved = is_saved
