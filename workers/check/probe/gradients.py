"""Start weights and gradients of a case, drawn in float64 and rounded so that lower precisions hold them exactly."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .cases import Case

WEIGHT_RMS = 0.125
_MIXED = ("channel", "channel", "channel", "random", "channel", "layer", "radial")


def start_weights(case: Case) -> list[Tensor]:
    """Weights in float64 that bfloat16 holds exactly."""
    if case.start is not None:
        return [torch.tensor(values, dtype=torch.float64) for values in case.start]
    generator = torch.Generator().manual_seed(case.seed)
    factor = {"zero-weight": 0.0, "tiny-weight": 2.0**-40}.get(case.situation, 1.0)
    drawn = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in case.shapes)
    return [(WEIGHT_RMS * weight).bfloat16().double() * factor for weight in drawn]


def draw_gradients(case: Case, step: int, weights: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    """The gradients of one step, in float64, that float32 holds exactly.

    Args:
        case: Says their kind and scale.
        step: From 0.
        weights: As they are before the step: what the gradients are orthogonal to. Not modified.
        group: Hyperparameters: channel_dim (0 where there is none), and delta for gradients near its threshold.
    """
    if case.pattern is not None:
        now = case.pattern[step % len(case.pattern)]
        return [torch.tensor(values, dtype=torch.float64) for values in now]
    generator = torch.Generator().manual_seed(case.seed + 7919 * (step + 1))
    is_zero = case.situation == "zero-gradient" and step < case.steps // 2
    factor = 0.0 if is_zero else case.scale
    kind = case.gradient if case.gradient != "mixed" else _MIXED[step % len(_MIXED)]
    gradients = []
    for weight in weights:
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        if kind == "near":
            grad = _near(drawn, weight, group, 0.98 if step % 2 == 0 else 1.02)
        else:
            grad = _of_kind(kind, drawn, weight, group.get("channel_dim", 0))
        gradients.append((factor * grad).float().double())
    return gradients


def _near(drawn: Tensor, weight: Tensor, group: dict[str, Any], share: float) -> Tensor:
    """A gradient the |cos| of whose channels are `share` of AdamP's threshold, forwards and backwards in turn."""
    channel_dim, delta = group.get("channel_dim", 0), group.get("delta", 0.0)
    across = _of_kind("channel", drawn, weight, channel_dim)
    if weight.ndim < 2 or not 0 < delta < 1:
        return across
    dims = other_dims(weight, channel_dim)
    cos = share * delta / math.sqrt(max(1, weight.numel()) / max(1, weight.size(channel_dim)))
    norms = [x.square().sum(dims, keepdim=True).sqrt().clamp_min(1e-300) for x in (across, weight)]
    signs = _in_turn(weight, channel_dim)
    along: Tensor = signs * cos * weight / norms[1]
    return across / norms[0] * math.sqrt(1 - cos**2) + along


def _of_kind(kind: str, drawn: Tensor, weight: Tensor, channel_dim: int) -> Tensor:
    if kind == "radial":
        rms = weight.square().mean().sqrt() if weight.numel() else torch.ones(())
        return weight / rms * (1 + 0.1 * drawn) if rms > 0 else drawn
    if kind == "random" or weight.ndim < 2:
        return drawn
    if kind == "channel":
        return _without(drawn, weight, other_dims(weight, channel_dim))
    # Each channel leans along its weight, in turn forwards and backwards, so that no channel is orthogonal.
    rms = weight.square().mean().sqrt().clamp_min(1e-300)
    return _without(drawn + 3 * _in_turn(weight, channel_dim) * weight / rms, weight, tuple(range(weight.ndim)))


def _in_turn(weight: Tensor, channel_dim: int) -> Tensor:
    """1 and -1 by channel."""
    signs = torch.ones(weight.size(channel_dim), dtype=weight.dtype)
    signs[1::2] = -1
    shape = [1] * weight.ndim
    shape[channel_dim] = -1
    return signs.reshape(shape)


def other_dims(weight: Tensor, channel_dim: int) -> tuple[int, ...]:
    """All dimensions but that of the channels."""
    return tuple(dim for dim in range(weight.ndim) if dim != channel_dim % weight.ndim)


def _without(vector: Tensor, weight: Tensor, dims: tuple[int, ...]) -> Tensor:
    """`vector` without its components along `weight`, each over `dims`."""
    square = weight.square().sum(dims, keepdim=True)
    dot = (vector * weight).sum(dims, keepdim=True)
    return vector - torch.where(square > 0, dot / square, torch.zeros_like(dot)) * weight


@dataclass(frozen=True)
class Branch:
    """What AdamP's rule decides on one tensor, in float64.

    Attributes:
        view: 0 none, 1 channel, 2 layer.
        margin: Relative distance of the deciding cosines from their thresholds; 1e9 where none decides.
    """

    view: int
    margin: float


def branch(grad: Tensor, weight: Tensor, group: dict[str, Any]) -> Branch:
    """Of an optimizer whose group has delta and wd_ratio; source: Heo et al., ICLR 2021, algorithms 1 and 2."""
    delta, eps, channel_dim = group["delta"], group.get("eps", 0.0), group.get("channel_dim", 0)
    if weight.ndim < 2 or weight.numel() == 0 or not 0 < delta < float("inf"):
        return Branch(0, 1e9)
    others = other_dims(weight, channel_dim)
    channel = _abs_cos(grad, weight, others, eps).max().item()
    layer = _abs_cos(grad, weight, tuple(range(weight.ndim)), eps).item()
    per_channel = delta / (weight.numel() / weight.size(channel_dim)) ** 0.5
    per_layer = delta / weight.numel() ** 0.5
    if channel < per_channel:
        return Branch(1, 1 - channel / per_channel)
    margin = min(channel / per_channel - 1, abs(layer / per_layer - 1))
    return Branch(2 if layer < per_layer else 0, margin)


def _abs_cos(a: Tensor, b: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    norms = [x.square().sum(dims).sqrt().clamp_min(eps) for x in (a, b)]
    return (a * b).sum(dims).abs() / norms[0] / norms[1]
