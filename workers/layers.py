"""What the layers of a model did: weight norms, effective learning rates, angles and projections, once per epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adamp.projection import decide_projection

Layer = Mapping[str, float | bool | None]

_EPS = 1e-12
"""Lower bound of the norms in a cosine: it keeps a zero gradient from giving NaN, and changes nothing else."""
_NO_ANGLE: Layer = {"channel_cos": None, "layer_cos": None}
_NO_BOUND: Layer = {"channel_threshold": None, "layer_threshold": None}


class LayerMeter:
    """Measures every parameter tensor with more than one dimension.

    Projections are counted by the optimizers that project (`diagnostics()` of `adamp`); the meter sets those counts
    to zero when an epoch ends. Nothing else is written, and no step depends on them. Angles between gradient and weight
    are measured here, for every optimizer in the same way, whether it projects or not.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, scale_invariant: frozenset[str]) -> None:
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
        self._names = {weight: name for name, weight in self._weights.items()}
        self._optimizer = optimizer
        self._scale_invariant = scale_invariant
        self._counts_before: dict[str, tuple[int, int]] = {}
        self._angles: dict[str, Layer] = {}

    def look_at_gradients(self) -> None:
        """Note |cos(gradient, weight)| of each weight, as the projection would see it: just before a step is taken.

        Called before the last step of an epoch, whose `measure` tells what was noted. Waits for the device once.
        """
        groups = self._groups()
        found = {
            name: decide_projection(weight.grad, weight.detach(), delta=0.0, eps=_EPS, channel_dim=_channel_dim(group))
            for name, weight in self._weights.items()
            if weight.grad is not None and weight.numel() and (group := groups.get(weight)) is not None
        }
        cosines = [(decision.channel_cos, decision.layer_cos) for decision in found.values()]
        read = torch.stack([cos.float() for pair in cosines for cos in pair]).tolist() if cosines else []
        self._angles = {
            name: {"channel_cos": finite_or_none(channel), "layer_cos": finite_or_none(layer)}
            for name, channel, layer in zip(found, read[::2], read[1::2], strict=True)
        }

    def measure(self) -> dict[str, Layer]:
        """One entry per weight tensor, in the model's order; JSON-safe: None for what is not finite."""
        norms = torch._foreach_norm([weight.detach() for weight in self._weights.values()])
        groups, counts, angles, bounds = self._groups(), self._counts(), self._angles, self._bounds()
        self._begin_epoch()
        return {
            name: {
                "weight_norm": finite_or_none(norm),
                "effective_lr": finite_or_none(float(groups[weight]["lr"]) / norm**2) if norm > 0 else None,
                "projection_rate": _share(*counts[name]) if name in counts else None,
                **angles.get(name, _NO_ANGLE),
                **bounds.get(name, _NO_BOUND),
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

    def _groups(self) -> dict[Tensor, dict[str, Any]]:
        return {parameter: group for group in self._optimizer.param_groups for parameter in group["params"]}

    def _counts(self) -> dict[str, tuple[int, int]]:
        """Steps and projected steps of this epoch, by name, of the weights whose projection was considered."""
        n_steps, n_projected = Counter[str](), Counter[str]()
        for name, (before, before_projected) in self._counts_before.items():
            n_steps[name], n_projected[name] = before, before_projected
        for name, entry in self._diagnostics().items():
            n_steps[name] += entry.n_steps
            n_projected[name] += entry.n_projected_channel + entry.n_projected_layer
        return {name: (n_steps[name], n_projected[name]) for name in n_steps}

    def _bounds(self) -> dict[str, Layer]:
        """The bounds that the cosines must be under for a projection, of the weights that it considers."""
        return {
            name: {"channel_threshold": entry.channel_threshold, "layer_threshold": entry.layer_threshold}
            for name, entry in self._diagnostics().items()
        }

    def _diagnostics(self) -> dict[str, Any]:
        """What an optimizer that projects says about the weights that it considers, by name."""
        read = getattr(self._optimizer, "diagnostics", None)
        groups = self._optimizer.param_groups
        found = {groups[i]["params"][j]: entry for (i, j), entry in (read() if callable(read) else {}).items()}
        return {
            self._names[weight]: entry
            for weight, entry in found.items()
            if weight in self._names and entry.layer_threshold is not None
        }

    def _begin_epoch(self) -> None:
        self._counts_before, self._angles = {}, {}
        reset = getattr(self._optimizer, "reset_diagnostics", None)
        if callable(reset):
            reset()


def _channel_dim(group: Mapping[str, Any]) -> int:
    return int(group.get("channel_dim", 0))


def _share(n_steps: int, n_projected: int) -> float | None:
    return n_projected / n_steps if n_steps else None


def finite_or_none(value: float) -> float | None:
    """The value where JSON can hold it, else None."""
    return value if math.isfinite(value) else None
