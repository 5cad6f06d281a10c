"""Workloads by name: what is trained. The contract comes first; the built-in ones live in modules of this package."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from service.domain import catalog
from service.domain.space import Value
from workers.plugins import import_class

ENDPOINT_FLOOR = 1e-7
"""Smallest endpoint: the resolution of a float32 probability near one. Endpoints are compared as logarithms."""


@dataclass(frozen=True)
class Evaluation:
    """A model on one part of the data.

    Attributes:
        value: The endpoint as computed: it may be nan, inf or 0; the loop floors it and judges it.
        metrics: Further numbers, without a prefix, such as "accuracy"; the loop adds "validation_" or "test_".
    """

    value: float
    metrics: Mapping[str, float] = field(default_factory=dict)


class Workload(ABC):
    """One training task at one seed: it owns data, model, loss, schedule and endpoint, and knows no optimizer.

    What an implementation promises:

    - It follows from (options, seed, device) alone. Seeds come from `service.domain.seeds.stream_seed` with the streams
      "split", "init" and "order"; the optimizer's name never enters, so that all arms train on the same things.
    - The test set is fixed: no seed changes it. Only `test` reads it.
    - `loss(epoch, index)` depends on its arguments, the model and torch's global generators, and on nothing that
      happened before: a resumed run asks for the middle of an epoch without having asked for its beginning.
    - All state that training changes lies in `model` and in torch's global generators. The loop seeds the generators
      (stream "init" before the constructor, "noise" after it) and saves them with the model.
    - The endpoint is positive and lower is better: a loss, or 1 - score floored at half an example.
    - Evaluations leave the model in training mode, draw no random numbers and build no graph.
    - `scale_invariant` names each weight whose length the loss ignores, because a normalization follows its layer.

    A class that workers add by their allow-list keeps the same promises and sets `description`.

    Attributes:
        description: The catalog's entry: name, options, metrics, chance level.
        model: On the device, in training mode, parameters in float32 unless the workload says otherwise.
        n_epochs: Passes over the training data; each ends with a validation. At least 1.
        n_steps_per_epoch: Optimizer steps of one epoch. At least 1.
        scale_invariant: Names of parameters, as in `model.named_parameters()`.
    """

    description: ClassVar[catalog.Workload]
    model: nn.Module
    n_epochs: int
    n_steps_per_epoch: int
    scale_invariant: frozenset[str] = frozenset()

    @abstractmethod
    def __init__(self, options: Mapping[str, Value], seed: int, device: torch.device) -> None:
        """Load the data and build the model.

        Args:
            options: One value for each of the description's options.
            seed: The run's training seed.
            device: Where the data and the model are put.
        """

    @abstractmethod
    def loss(self, epoch: int, index: int) -> Tensor:
        """Training loss of one step: a scalar with a graph.

        Args:
            epoch: Counted from 0.
            index: The step within the epoch, 0 <= index < n_steps_per_epoch.
        """

    @abstractmethod
    def validate(self) -> Evaluation:
        """Evaluate on the run's validation split."""

    @abstractmethod
    def test(self) -> Evaluation:
        """Evaluate on the fixed test set."""

    def lr_factor(self, step: int) -> float:
        """Learning rate of a step as a multiple of the base learning rate: a half cosine from 1 to almost 0.

        Args:
            step: Counted from 0 over the whole run.
        """
        return 0.5 * (1.0 + math.cos(math.pi * step / self.n_steps))

    @property
    def n_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.n_epochs * self.n_steps_per_epoch


_BUILT_IN = {
    "digits-cnn": "workers.workloads.digits:DigitsCnn",
    "digits-mlp": "workers.workloads.digits:DigitsMlp",
}


def load(name: str, allowed: Sequence[str] = ()) -> type[Workload]:
    """The class of a workload; its module is imported now and not before.

    Args:
        name: A built-in name, or "module:Class" where `allowed` holds exactly that text.
        allowed: The worker's allow-list.

    Raises:
        NotAllowedError: Neither built in nor on the allow-list.
        InvalidPluginError: It cannot be imported or is no workload.
    """
    return import_class(name, _BUILT_IN, allowed, base=Workload)  # type: ignore[type-abstract]


def complete_options(description: catalog.Workload, options: Mapping[str, Value]) -> dict[str, Value]:
    """The options with defaults filled in.

    Raises:
        ValueError: An option is unknown, missing or outside its range.
    """
    known = {option.name: option for option in description.options}
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"{description.name} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    complete: dict[str, Value] = {}
    for name, option in known.items():
        value = options.get(name, option.default)
        if value is None:
            raise ValueError(f"{description.name} needs a value for its option {name!r}")
        if problem := option.problem_with(value):
            raise ValueError(f"{description.name}: {problem}")
        complete[name] = value
    return complete
