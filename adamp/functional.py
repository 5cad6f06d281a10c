"""The updates as functions of tensors.

The optimizer classes validate and gather; these compute. A faster path (native, Triton) has to keep this
contract: parameters, state and records are modified in place, gradients are not; arithmetic is float64 for
float64 weights and float32 for everything else; no host sync for tensors on a GPU. Call them under
`torch.no_grad()`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from adamp.diagnostics import StepRecord, write_record
from adamp.projection import ProjectionDecision, can_be_projected, decide_projection, project_as_decided


def arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the computation and of the state for weights of `dtype`.

    16-bit weights get float32: eps = 1e-8 is zero in float16, and a bfloat16 second moment cannot decay,
    because 0.999 v rounds to v.
    """
    return torch.float64 if dtype == torch.float64 else torch.float32


def has_values(tensor: Tensor) -> bool:
    """Whether numbers can be read from it; not from a fake tensor, on which torch's tools plan memory and time."""
    return not isinstance(tensor, FakeTensor)


def zeros_for(param: Tensor) -> Tensor:
    """Fresh state for `param`: its shape and strides, the arithmetic's dtype."""
    return torch.zeros_like(param, dtype=arithmetic_dtype(param.dtype), memory_format=torch.preserve_format)


def adamp(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    state_steps: Sequence[Tensor],
    records: Sequence[StepRecord],
    *,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    delta: float,
    wd_ratio: float,
    nesterov: bool,
    channel_dim: int,
    maximize: bool,
    capturable: bool = False,
) -> None:
    """One AdamP step of every parameter; see `adamp.AdamP` for the mathematics.

    Args:
        params: Weights, real floating point, any strides. Modified in place.
        grads: Gradients, the shapes of `params`. Not modified.
        exp_avgs: First moments, in `arithmetic_dtype`. Modified in place.
        exp_avg_sqs: Second moments, likewise.
        state_steps: 0-dim float32 tensors: steps taken before this one. Incremented in place. On the CPU, or with
            `capturable` on the parameters' devices.
        records: Diagnostics, modified in place.
        lr: Number or 1-element tensor.
        beta1: Decay of the first moment, [0, 1).
        beta2: Decay of the second moment, [0, 1).
        eps: See `adamp.AdamP`, as for all that follow.
        weight_decay: >= 0.
        delta: >= 0.
        wd_ratio: >= 0.
        nesterov: Look one step ahead.
        channel_dim: Dimension of the output channels.
        maximize: Ascend instead of descending.
        capturable: Never read a step on the host, as a CUDA graph and torch.compile need.
    """
    lr = _scalar(lr)
    for param, raw_grad, exp_avg, exp_avg_sq, state_step, record in zip(
        params, grads, exp_avgs, exp_avg_sqs, state_steps, records, strict=True
    ):
        weight, grad = _prepare(param, raw_grad, maximize=maximize)
        first, second = _bias_corrections(state_step, beta1, beta2, exp_avg.dtype, capturable=capturable)
        direction = _adam_direction(grad, exp_avg, exp_avg_sq, second, beta1, beta2, eps, nesterov)
        decision = _decide(grad, weight, delta, eps, channel_dim)
        if decision is not None:
            direction = project_as_decided(direction, weight, decision, eps=eps, channel_dim=channel_dim)
        rate = lr * weight_decay if weight_decay > 0 else 0.0
        decay = _decay(rate, wd_ratio, decision, weight)
        write_record(record, weight, decision, lr=lr, decay=decay)
        _apply(param, weight, direction * (lr / first), decay)


def sgdp(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor | None],
    records: Sequence[StepRecord],
    *,
    lr: float | Tensor,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    eps: float,
    delta: float,
    wd_ratio: float,
    channel_dim: int,
    maximize: bool,
) -> None:
    """One SGDP step of every parameter; see `adamp.SGDP` for the mathematics.

    Args:
        params: Weights, real floating point, any strides. Modified in place.
        grads: Gradients, the shapes of `params`. Not modified.
        momentum_buffers: In `arithmetic_dtype`, modified in place; None only where `momentum` is 0.
        records: Diagnostics, modified in place.
        lr: Number or 1-element tensor.
        momentum: [0, 1).
        dampening: [0, 1].
        weight_decay: See `adamp.SGDP`, as for all that follow.
        nesterov: Look one step ahead.
        eps: >= 0.
        delta: >= 0.
        wd_ratio: >= 0.
        channel_dim: Dimension of the output channels.
        maximize: Ascend instead of descending.
    """
    lr = _scalar(lr)
    for param, raw_grad, buffer, record in zip(params, grads, momentum_buffers, records, strict=True):
        weight, grad = _prepare(param, raw_grad, maximize=maximize)
        direction = _momentum_direction(grad, buffer, momentum, dampening, nesterov)
        decision = _decide(grad, weight, delta, eps, channel_dim)
        if decision is not None:
            direction = project_as_decided(direction, weight, decision, eps=eps, channel_dim=channel_dim)
        rate = lr * weight_decay / (1 - momentum) if weight_decay > 0 else 0.0
        decay = _decay(rate, wd_ratio, decision, weight)
        write_record(record, weight, decision, lr=lr, decay=decay)
        _apply(param, weight, direction * lr, decay)


def sgdw(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor | None],
    records: Sequence[StepRecord],
    *,
    lr: float | Tensor,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """One SGDW step of every parameter: `sgdp` without the projection and its decision."""
    lr = _scalar(lr)
    for param, raw_grad, buffer, record in zip(params, grads, momentum_buffers, records, strict=True):
        weight, grad = _prepare(param, raw_grad, maximize=maximize)
        direction = _momentum_direction(grad, buffer, momentum, dampening, nesterov)
        decay = lr * weight_decay / (1 - momentum) if weight_decay > 0 else 0.0
        write_record(record, weight, None, lr=lr, decay=decay)
        _apply(param, weight, direction * lr, decay)


def _scalar(lr: float | Tensor) -> float | Tensor:
    """A 1-element tensor without dimensions, so that it cannot broadcast a scalar weight into a vector."""
    return lr.detach().reshape(()) if isinstance(lr, Tensor) else lr


def _prepare(param: Tensor, grad: Tensor, *, maximize: bool) -> tuple[Tensor, Tensor]:
    """Weight and descent gradient in the arithmetic's dtype; the parameter itself where no cast is needed."""
    dtype = arithmetic_dtype(param.dtype)
    grad = grad.to(dtype)
    return param.to(dtype), -grad if maximize else grad


def _bias_corrections(
    state_step: Tensor, beta1: float, beta2: float, dtype: torch.dtype, *, capturable: bool
) -> tuple[float | Tensor, float | Tensor]:
    """Count the step; returns 1 - beta1^t and sqrt(1 - beta2^t), computed in double."""
    state_step.add_(1)
    if not (capturable or torch.compiler.is_compiling()) and has_values(state_step):
        t = state_step.item()
        return 1 - beta1**t, math.sqrt(1 - beta2**t)
    steps = state_step.double()
    return (1 - beta1**steps).to(dtype), (1 - beta2**steps).sqrt().to(dtype)


def _adam_direction(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    correction: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    nesterov: bool,
) -> Tensor:
    """Update the moments in place and return their quotient, a new tensor."""
    # The differences 1 - beta are taken in Python's double precision; in float32 they cost four digits.
    exp_avg.mul_(beta1).add_(grad, alpha=1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    denominator = exp_avg_sq.sqrt().div_(correction).add_(eps)
    numerator = exp_avg.mul(beta1).add_(grad, alpha=1 - beta1) if nesterov else exp_avg
    return numerator / denominator


def _momentum_direction(
    grad: Tensor, buffer: Tensor | None, momentum: float, dampening: float, nesterov: bool
) -> Tensor:
    """Update the buffer in place and return the direction; it may be the buffer, so do not write into it."""
    if buffer is None:
        return grad.mul(1 - dampening)
    buffer.mul_(momentum).add_(grad, alpha=1 - dampening)
    return grad.add(buffer, alpha=momentum) if nesterov else buffer


def _decide(grad: Tensor, weight: Tensor, delta: float, eps: float, channel_dim: int) -> ProjectionDecision | None:
    if not can_be_projected(weight):
        return None
    return decide_projection(grad, weight, delta=delta, eps=eps, channel_dim=channel_dim)


def _decay(
    rate: float | Tensor, wd_ratio: float, decision: ProjectionDecision | None, weight: Tensor
) -> float | Tensor:
    """The share of the weight to remove: `rate`, times `wd_ratio` where the step was projected."""
    if decision is None or (isinstance(rate, float) and rate == 0):
        return rate
    # new_full is a fill on the device; a tensor made from a number would be a copy that waits for it.
    is_projected = decision.is_channel | decision.is_layer
    return torch.where(is_projected, weight.new_full((), wd_ratio), weight.new_full((), 1.0)) * rate


def _apply(param: Tensor, weight: Tensor, update: Tensor, decay: float | Tensor) -> None:
    """Set param to (1 - decay) weight - update; `update` is ours to overwrite.

    Decay joins the update before the subtraction: 1 - 1e-6 rounded to float32 would be 3 % off.
    """
    if isinstance(decay, Tensor) or decay > 0:
        update.add_(weight * decay)
    if weight is param:
        param.sub_(update)
    else:
        param.copy_(weight - update)
