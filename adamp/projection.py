"""Which weights look scale-invariant, and the removal of a step's component along them.

Every function here is a pure function of tensors. The decision stays in 0-dimensional tensors on the
weight's device, so that a step on a GPU never waits for the host.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class ProjectionDecision(NamedTuple):
    """What the raw gradient says about one tensor; at most one of the two booleans is true.

    Attributes:
        is_channel: 0-dim bool: project every channel by itself.
        is_layer: 0-dim bool: project the tensor as one vector.
        channel_cos: 0-dim: largest |cos(gradient, weight)| over the channels, in [0, 1] or NaN.
        layer_cos: 0-dim: |cos(gradient, weight)| of the whole tensor, in [0, 1] or NaN.
    """

    is_channel: Tensor
    is_layer: Tensor
    channel_cos: Tensor
    layer_cos: Tensor


def channel_threshold(weight: Tensor, *, delta: float, channel_dim: int = 0) -> float:
    """Bound on the channels' |cos|: delta / sqrt(elements of one channel)."""
    return delta / math.sqrt(weight.numel() // weight.size(channel_dim))


def layer_threshold(weight: Tensor, *, delta: float) -> float:
    """Bound on the whole tensor's |cos|: delta / sqrt(elements)."""
    return delta / math.sqrt(weight.numel())


def can_be_projected(weight: Tensor) -> bool:
    """Biases, gains and scalars (ndim < 2) are never projected; an empty tensor has no direction."""
    return weight.ndim > 1 and weight.numel() > 0


def decide_projection(
    grad: Tensor, weight: Tensor, *, delta: float, eps: float, channel_dim: int = 0
) -> ProjectionDecision:
    """Test whether `weight` looks scale-invariant, per channel first and then as a whole.

    A scale-invariant weight is orthogonal to its gradient, so a view counts as scale-invariant where
    |cos| < delta / sqrt(elements of one vector of that view), strictly. A NaN cosine is not below anything.

    Args:
        grad: Raw gradient (before momentum), the shape of `weight`. Not modified.
        weight: Weight before decay, for which `can_be_projected` holds. Not modified.
        delta: Dimensionless, >= 0; 0 never projects.
        eps: Lower bound of both norms in the cosine, >= 0.
        channel_dim: The dimension of `weight` that counts output channels.

    Source: Heo et al., ICLR 2021, algorithms 1 and 2, with the authors' max over channels.
    """
    dot, grad_sq, weight_sq = (
        _channel_dot(a, b, channel_dim) for a, b in ((grad, weight), (grad, grad), (weight, weight))
    )
    channel_cos = _abs_cos(dot, grad_sq, weight_sq, eps).amax()  # amax keeps a NaN
    layer_cos = _abs_cos(dot.sum(), grad_sq.sum(), weight_sq.sum(), eps)
    is_channel = channel_cos < channel_threshold(weight, delta=delta, channel_dim=channel_dim)
    is_layer = (layer_cos < layer_threshold(weight, delta=delta)) & ~is_channel
    return ProjectionDecision(is_channel, is_layer, channel_cos, layer_cos)


def project_onto_tangent(
    step: Tensor, weight: Tensor, *, per_channel: bool, eps: float, channel_dim: int = 0
) -> Tensor:
    """Remove from `step` its component along `weight`, so that the step does not grow the weight's norm.

    Args:
        step: Update direction before the learning rate, the shape of `weight`. Not modified.
        weight: Weight before decay. Not modified.
        per_channel: True treats each channel of `weight` as one vector; False the whole tensor.
        eps: Added to the norm; in the weight's unit, >= 0.
        channel_dim: The dimension of `weight` that counts output channels.

    Returns:
        New tensor, orthogonal to `weight` (per channel or as a whole) up to rounding and eps / norm.

    Source: Heo et al., ICLR 2021, eq. 11, with the authors' eps. Differences from the authors' code: none.
    """
    channel, layer = _radial_coefficients(step, weight, eps, channel_dim)
    return step - (channel if per_channel else layer) * weight


def project_as_decided(
    step: Tensor, weight: Tensor, decision: ProjectionDecision, *, eps: float, channel_dim: int = 0
) -> Tensor:
    """`project_onto_tangent` in the view that `decision` names, or `step` unchanged where it names none."""
    channel, layer = _radial_coefficients(step, weight, eps, channel_dim)
    coefficient = torch.where(decision.is_channel, channel, layer)
    # Selected rather than multiplied by zero: 0 * inf would spread a NaN into an unprojected step.
    return torch.where(decision.is_channel | decision.is_layer, step - coefficient * weight, step)


def _channel_dot(a: Tensor, b: Tensor, channel_dim: int) -> Tensor:
    """Inner products per channel, kept broadcastable. Sums over dimensions need no view, so any strides do."""
    kept = channel_dim % a.ndim
    return (a * b).sum(dim=[dim for dim in range(a.ndim) if dim != kept], keepdim=True)


def _abs_cos(dot: Tensor, a_sq: Tensor, b_sq: Tensor, eps: float) -> Tensor:
    # One division per norm: the product of two clamped norms could underflow.
    cos = dot.abs() / a_sq.sqrt().clamp_min(eps) / b_sq.sqrt().clamp_min(eps)
    # A norm beyond the dtype's range tells no angle: divided by it, every cosine would be 0 and be projected.
    return cos.masked_fill((a_sq + b_sq).isinf(), math.nan)


def _radial_coefficients(step: Tensor, weight: Tensor, eps: float, channel_dim: int) -> tuple[Tensor, Tensor]:
    """(step . weight) / (|weight| + eps)^2, per channel and for the whole tensor."""
    dot = _channel_dot(step, weight, channel_dim)
    weight_sq = _channel_dot(weight, weight, channel_dim)
    return dot / (weight_sq.sqrt() + eps) ** 2, dot.sum() / (weight_sq.sum().sqrt() + eps) ** 2
