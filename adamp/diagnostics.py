"""What the last step did to a parameter, kept on its device and read only when asked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamp.projection import ProjectionDecision, can_be_projected, channel_threshold, layer_threshold


class Decision(IntEnum):
    """The view in which a step was projected."""

    NONE = 0
    CHANNEL = 1
    LAYER = 2


@dataclass(frozen=True, slots=True)
class ParameterDiagnostics:
    """One parameter's last step, and its counts since the last `reset_diagnostics()`.

    Attributes:
        decision: View in which the last step was projected.
        channel_cos: Largest |cos(gradient, weight)| over the channels; None where the projection was not
            considered (ndim < 2, empty tensors, SGDW). NaN if the gradient or weight had one.
        channel_threshold: The bound it had to be under, with the group's present delta; None likewise.
        layer_cos: |cos(gradient, weight)| of the whole tensor; None likewise.
        layer_threshold: Its bound; None likewise.
        weight_norm: Euclidean norm of the whole tensor before the last step.
        effective_lr: lr / weight_norm^2, the step size seen by a scale-invariant weight's direction;
            infinite for a zero weight.
        decay: Share of the weight removed by weight decay in the last step (0.001 is 0.1 %).
        n_steps: Steps that this parameter took.
        n_projected_channel: How many of them were projected per channel.
        n_projected_layer: How many of them were projected as a whole.
    """

    decision: Decision
    channel_cos: float | None
    channel_threshold: float | None
    layer_cos: float | None
    layer_threshold: float | None
    weight_norm: float
    effective_lr: float
    decay: float
    n_steps: int
    n_projected_channel: int
    n_projected_layer: int

    @property
    def max_abs_cos(self) -> float | None:
        """The cosine of the view that decided: the channels' if they were projected, else the layer's."""
        return self.channel_cos if self.decision is Decision.CHANNEL else self.layer_cos

    @property
    def threshold(self) -> float | None:
        """The bound that belongs to `max_abs_cos`."""
        return self.channel_threshold if self.decision is Decision.CHANNEL else self.layer_threshold

    @property
    def share_projected(self) -> float:
        """Share of the counted steps that were projected in either view; NaN before the first."""
        n_projected = self.n_projected_channel + self.n_projected_layer
        return n_projected / self.n_steps if self.n_steps else math.nan


class StepRecord(NamedTuple):
    """One parameter's diagnostics on its own device; the update writes it, `read_record` reads it.

    Attributes:
        stats: Shape (6,), floating: decision, channel cos, layer cos, weight norm, effective lr, decay.
        counts: Shape (3,), int64: steps, projected per channel, projected as a whole.
    """

    stats: Tensor
    counts: Tensor


def new_record(weight: Tensor, dtype: torch.dtype) -> StepRecord:
    """A record of no step, on the device of `weight`."""
    stats = torch.zeros(6, dtype=dtype, device=weight.device)
    return StepRecord(stats, torch.zeros(3, dtype=torch.int64, device=weight.device))


def write_record(
    record: StepRecord,
    weight: Tensor,
    decision: ProjectionDecision | None,
    *,
    lr: float | Tensor,
    decay: float | Tensor,
) -> None:
    """Note one step in `record`, without a host sync.

    Args:
        record: Modified in place.
        weight: The weight before the step, in the arithmetic's dtype. Not modified.
        decision: None where the projection was not considered.
        lr: Learning rate, before Adam's bias correction.
        decay: Share of the weight that decay removes; a tensor must be 0-dimensional.
    """
    stats, counts = record
    weight_sq = (weight * weight).sum()
    for slot, value in ((3, weight_sq.sqrt()), (4, lr / weight_sq), (5, decay)):
        stats[slot] = value
    counts[0] += 1
    if decision is None:
        return
    counts[1] += decision.is_channel
    counts[2] += decision.is_layer
    code = decision.is_channel * Decision.CHANNEL + decision.is_layer * Decision.LAYER
    for slot, value in enumerate((code, decision.channel_cos, decision.layer_cos)):
        stats[slot] = value


def read_record(record: StepRecord, weight: Tensor, group: Mapping[str, Any]) -> ParameterDiagnostics:
    """The record's numbers with the thresholds of `group`. The only place that waits for the device."""
    code, channel_cos, layer_cos, weight_norm, effective_lr, decay = record.stats.tolist()
    n_steps, n_channel, n_layer = record.counts.tolist()
    is_considered = "delta" in group and can_be_projected(weight)
    bounds = _thresholds(weight, group["delta"], group["channel_dim"]) if is_considered else (None, None)
    return ParameterDiagnostics(
        decision=Decision(int(code)),
        channel_cos=channel_cos if is_considered else None,
        channel_threshold=bounds[0],
        layer_cos=layer_cos if is_considered else None,
        layer_threshold=bounds[1],
        weight_norm=weight_norm,
        effective_lr=effective_lr,
        decay=decay,
        n_steps=n_steps,
        n_projected_channel=n_channel,
        n_projected_layer=n_layer,
    )


def _thresholds(weight: Tensor, delta: float, channel_dim: int) -> tuple[float, float]:
    per_channel = channel_threshold(weight, delta=delta, channel_dim=channel_dim)
    return per_channel, layer_threshold(weight, delta=delta)
