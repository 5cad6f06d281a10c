"""What the layers of a model did: weight norms, effective learning rates and projection rates, once per epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Layer = Mapping[str, float | bool | None]


class LayerMeter:
    """Measures every parameter tensor with more than one dimension.

    Projections are counted by the optimizers that project (`diagnostics()` of `adamp`); the meter sets those counts
    to zero when an epoch ends. Nothing else is written, and no step depends on them.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, scale_invariant: frozenset[str]) -> None:
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
        self._names = {weight: name for name, weight in self._weights.items()}
        self._optimizer = optimizer
        self._scale_invariant = scale_invariant
        self._counts_before: dict[str, tuple[int, int]] = {}

    def measure(self) -> dict[str, Layer]:
        """One entry per weight tensor, in the model's order; JSON-safe: None for what is not finite."""
        norms = torch._foreach_norm([weight.detach() for weight in self._weights.values()])
        lrs, counts = self._learning_rates(), self._counts()
        self._begin_epoch()
        return {
            name: {
                "weight_norm": finite_or_none(norm),
                "effective_lr": finite_or_none(lrs[weight] / norm**2) if norm > 0 else None,
                "projection_rate": _share(*counts[name]) if name in counts else None,
                "is_scale_invariant": name in self._scale_invariant,
            }
            for (name, weight), norm in zip(self._weights.items(), torch.stack(norms).tolist(), strict=True)
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold so that the rates of a resumed epoch come out the same."""
        return self._counts()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, with an optimizer that has counted nothing yet."""
        self._counts_before = {name: (n_steps, n_projected) for name, (n_steps, n_projected) in state.items()}

    def _learning_rates(self) -> dict[Tensor, float]:
        groups = self._optimizer.param_groups
        return {parameter: float(group["lr"]) for group in groups for parameter in group["params"]}

    def _counts(self) -> dict[str, tuple[int, int]]:
        """Steps and projected steps of this epoch, by name, of the weights whose projection was considered."""
        n_steps, n_projected = Counter[str](), Counter[str]()
        for name, (before, before_projected) in self._counts_before.items():
            n_steps[name], n_projected[name] = before, before_projected
        for (i, j), entry in self._diagnostics().items():
            weight = self._optimizer.param_groups[i]["params"][j]
            if weight in self._names and entry.layer_threshold is not None:
                n_steps[self._names[weight]] += entry.n_steps
                n_projected[self._names[weight]] += entry.n_projected_channel + entry.n_projected_layer
        return {name: (n_steps[name], n_projected[name]) for name in n_steps}

    def _diagnostics(self) -> Mapping[tuple[int, int], Any]:
        read = getattr(self._optimizer, "diagnostics", None)
        return read() if callable(read) else {}

    def _begin_epoch(self) -> None:
        self._counts_before = {}
        reset = getattr(self._optimizer, "reset_diagnostics", None)
        if callable(reset):
            reset()


def _share(n_steps: int, n_projected: int) -> float | None:
    return n_projected / n_steps if n_steps else None


def finite_or_none(value: float) -> float | None:
    """The value where JSON can hold it, else None."""
    return value if math.isfinite(value) else None
