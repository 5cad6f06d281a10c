"""The updates in plain torch on a CPU, outside of torch.compile: what `functional` computes, several times faster.

A small tensor's time is the dispatch of operators, and `functional`, which never reads a value, calls a hundred of them
for each tensor. On a CPU decisions can be read at no cost: here what was not decided is not computed, and operators
are called on lists of tensors. Large models go through them in batches that stay in the cache.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamp.diagnostics import Decision, StepRecord
from adamp.functional import arithmetic_dtype, has_values
from adamp.projection import can_be_projected, channel_threshold, layer_threshold

BATCH = 1 << 18  # elements


class View(NamedTuple):
    """The group's hyperparameters of the projection; see `adamp.AdamP`."""

    delta: float
    eps: float
    wd_ratio: float
    channel_dim: int


class Decay(NamedTuple):
    """Learning rate and share of the weight that decay removes where the step is not projected."""

    lr: float
    rate: float


class Measured(NamedTuple):
    """What was decided on one tensor, and the |w|^2 of its channels (1-dim) or of the whole (0-dim)."""

    decision: Decision
    channel_cos: float
    layer_cos: float
    weight_sq: Tensor
    total_weight_sq: float


class _Batch(NamedTuple):
    """Tensors of one dtype: weights and gradients in the arithmetic's dtype, and their state."""

    params: list[Tensor]
    weights: list[Tensor]
    grads: list[Tensor]
    states: list[list[Any]]
    records: list[StepRecord]


def can_read(params: Sequence[Tensor], lr: float | Tensor) -> bool:
    """Whether everything lies on the CPU and has values, and torch.compile does not trace."""
    if torch.compiler.is_compiling() or (isinstance(lr, Tensor) and lr.device.type != "cpu"):
        return False
    return all(param.is_cpu and has_values(param) for param in params)


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
) -> None:
    """`functional.adamp` for tensors for which `can_read` holds."""
    decay = _decay(lr, weight_decay, 0.0)
    view = View(delta, eps, wd_ratio, channel_dim)
    for batch in _batches(params, grads, records, exp_avgs, exp_avg_sqs, state_steps, maximize=maximize):
        firsts, seconds, steps = batch.states
        torch._foreach_add_(steps, 1)
        times = [step.item() for step in steps]
        corrections = [math.sqrt(1 - beta2**t) for t in times]
        directions = _adam_directions(batch.grads, firsts, seconds, corrections, beta1, beta2, eps, nesterov)
        pairs = zip(times, corrections, strict=True)
        _move(batch, directions, [decay.lr / (1 - beta1**t) * correction for t, correction in pairs], decay, view)


def sgdp(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor | None],
    records: Sequence[StepRecord],
    *,
    view: View | None,
    lr: float | Tensor,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """`functional.sgdp`, or without a `view` `functional.sgdw`, for tensors for which `can_read` holds."""
    decay = _decay(lr, weight_decay, momentum)
    for batch in _batches(params, grads, records, momentum_buffers, maximize=maximize):
        directions = _momentum_directions(batch.grads, batch.states[0], momentum, dampening, nesterov)
        _move(batch, directions, [decay.lr] * len(directions), decay, view)


def _decay(lr: float | Tensor, weight_decay: float, momentum: float) -> Decay:
    lr = float(lr)
    return Decay(lr, lr * weight_decay / (1 - momentum))


def _batches(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    records: Sequence[StepRecord],
    *states: Sequence[Any],
    maximize: bool,
) -> Iterator[_Batch]:
    kinds: dict[torch.dtype, list[tuple[Any, ...]]] = {}
    for row in zip(params, grads, records, *states, strict=True):
        kinds.setdefault(row[0].dtype, []).append(row)
    for rows in kinds.values():
        begin, n_elements = 0, 0
        for i, (param, *_) in enumerate(rows):
            n_elements += param.numel()
            if n_elements >= BATCH or i == len(rows) - 1:
                yield _batch(rows[begin : i + 1], maximize=maximize)
                begin, n_elements = i + 1, 0


def _batch(rows: list[tuple[Any, ...]], *, maximize: bool) -> _Batch:
    params, grads, records, *states = map(list, zip(*rows, strict=True))
    dtype = arithmetic_dtype(params[0].dtype)
    weights = params if params[0].dtype == dtype else [param.to(dtype) for param in params]
    grads = [grad if grad.dtype == dtype else grad.to(dtype) for grad in grads]
    return _Batch(params, weights, list(torch._foreach_neg(grads)) if maximize else grads, states, records)


def _adam_directions(
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    corrections: list[float],
    beta1: float,
    beta2: float,
    eps: float,
    nesterov: bool,
) -> list[Tensor]:
    """Update the moments in place; returns m / (sqrt(v) + eps c), the step's quotient without its factor c."""
    torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)
    _scale(exp_avg_sqs, beta2)
    torch._foreach_addcmul_(exp_avg_sqs, grads, grads, value=1 - beta2)
    denominators = torch._foreach_sqrt(exp_avg_sqs)
    torch._foreach_add_(denominators, _tensor([eps * factor for factor in corrections], grads[0].dtype).unbind())
    numerators = torch._foreach_lerp(exp_avgs, grads, 1 - beta1) if nesterov else exp_avgs
    return list(torch._foreach_div(numerators, denominators))


def _scale(tensors: list[Tensor], factor: float) -> None:
    """In place. Times a number would take three times as long: torch would make it a tensor for each of `tensors`."""
    torch._foreach_mul_(tensors, _tensor(factor, tensors[0].dtype))


def _tensor(values: Any, dtype: torch.dtype) -> Tensor:
    """On the CPU, which need not be torch's default device."""
    return torch.tensor(values, dtype=dtype, device="cpu")


def _momentum_directions(
    grads: list[Tensor], buffers: list[Any], momentum: float, dampening: float, nesterov: bool
) -> list[Tensor]:
    """Update the buffers in place and return the directions; they may be the buffers, so do not write into them."""
    if momentum == 0:
        return list(torch._foreach_mul(grads, 1 - dampening)) if dampening else grads
    _scale(buffers, momentum)
    torch._foreach_add_(buffers, grads, alpha=1 - dampening)
    return list(torch._foreach_add(grads, buffers, alpha=momentum)) if nesterov else buffers


def _move(batch: _Batch, directions: list[Tensor], step_sizes: list[float], decay: Decay, view: View | None) -> None:
    """Set each parameter to (1 - decay) weight - step, projected where `view` finds it due."""
    weights = batch.weights
    measured = _measure(batch.grads, weights, view)
    _note(batch.records, measured, decay, view)
    removed: dict[int, Tensor] = {}
    for i, (weight, told) in enumerate(zip(weights, measured, strict=True)):
        if view is not None and told.decision is not Decision.NONE:
            removed[i] = weight * _factor(weight, directions[i], step_sizes[i], told, decay, view)
    free = [i for i in range(len(weights)) if i not in removed]
    if decay.rate > 0 and free:
        decayed = torch._foreach_mul([weights[i] for i in free], _tensor(decay.rate, weights[0].dtype))
        removed.update(zip(free, decayed, strict=True))
        free = []
    # What is removed joins the step before the subtraction, which rounds to the weight's last digit: once, not twice.
    bound, updates = list(removed), list(removed.values())
    if bound:
        _add(updates, [directions[i] for i in bound], [step_sizes[i] for i in bound])
        torch._foreach_sub_([weights[i] for i in bound], updates)
    if free:
        _add([weights[i] for i in free], [directions[i] for i in free], [-step_sizes[i] for i in free])
    if weights is not batch.params:
        torch._foreach_copy_(batch.params, weights)


def _add(tensors: list[Tensor], directions: list[Tensor], step_sizes: list[float]) -> None:
    """In place. Mostly all tensors took as many steps, and one call takes all."""
    if len(set(step_sizes)) == 1:
        torch._foreach_add_(tensors, directions, alpha=step_sizes[0])
        return
    for tensor, direction, step_size in zip(tensors, directions, step_sizes, strict=True):
        tensor.add_(direction, alpha=step_size)


def _factor(weight: Tensor, direction: Tensor, step_size: float, told: Measured, decay: Decay, view: View) -> Tensor:
    """What decay and projection remove of the weight, per channel and broadcastable, or of the whole."""
    products = weight * direction
    shape = [1] * weight.ndim
    if told.decision is Decision.CHANNEL:
        shape[view.channel_dim] = -1
        dots = products.sum(dim=_within_channel(weight, view.channel_dim))
    else:
        dots = products.sum()
    radial = dots / (told.weight_sq.sqrt() + view.eps) ** 2
    return (decay.rate * view.wd_ratio - step_size * radial).view(shape)


def _measure(grads: list[Tensor], weights: list[Tensor], view: View | None) -> list[Measured]:
    is_due = [view is not None and can_be_projected(weight) for weight in weights]
    found: list[Any] = [None] * len(weights)
    due = [i for i, is_one in enumerate(is_due) if is_one]
    free = [i for i, is_one in enumerate(is_due) if not is_one]
    if view is not None and due:
        for i, told in zip(due, _decide([grads[i] for i in due], [weights[i] for i in due], view), strict=True):
            found[i] = told
    if free:
        squares = torch.stack(torch._foreach_norm([weights[i] for i in free])).square()
        for i, square in zip(free, squares.tolist(), strict=True):
            found[i] = Measured(Decision.NONE, 0.0, 0.0, squares, square)
    return found


def _decide(grads: list[Tensor], weights: list[Tensor], view: View) -> Iterable[Measured]:
    """`projection.decide_projection` for all, in one table: each tensor's channels, then each tensor as a whole."""
    rows = []
    for grad, weight in zip(grads, weights, strict=True):
        dims = _within_channel(weight, view.channel_dim)
        norms = [torch.linalg.vector_norm(tensor, dim=dims) for tensor in (grad, weight)]
        rows.append(torch.stack([(grad * weight).sum(dim=dims), *norms]))
    table = torch.cat(rows, dim=1)
    table[1:].square_()
    sizes = [row.size(1) for row in rows]
    by_tensor = torch.split(table, sizes, dim=1)
    totals = torch.stack([part.sum(dim=1) for part in by_tensor], dim=1)
    channel_cos = torch.stack([cos.amax() for cos in torch.split(_abs_cos(table, view.eps), sizes)])  # it keeps a NaN
    layer_cos = _abs_cos(totals, view.eps)
    columns = (weights, by_tensor, channel_cos.tolist(), layer_cos.tolist(), totals[2].unbind(), totals[2].tolist())
    for weight, part, by_channel, by_layer, total, total_sq in zip(*columns, strict=True):
        decision = Decision.NONE
        if by_channel < channel_threshold(weight, delta=view.delta, channel_dim=view.channel_dim):
            decision = Decision.CHANNEL
        elif by_layer < layer_threshold(weight, delta=view.delta):
            decision = Decision.LAYER
        weight_sq = part[2] if decision is Decision.CHANNEL else total
        yield Measured(decision, by_channel, by_layer, weight_sq, total_sq)


def _within_channel(weight: Tensor, channel_dim: int) -> list[int]:
    """The dimensions of `weight` without that of the channels; sums over them need no view, so any strides do."""
    return [dim for dim in range(weight.ndim) if dim != channel_dim % weight.ndim]


def _abs_cos(products: Tensor, eps: float) -> Tensor:
    """As in `projection`, of rows g.w, g.g and w.w."""
    norms = products[1:].sqrt().clamp_min_(eps)
    cos = products[0].abs().div_(norms[0]).div_(norms[1])
    return cos.masked_fill_((norms[0] + norms[1]).isinf(), math.nan)


def _note(records: list[StepRecord], measured: list[Measured], decay: Decay, view: View | None) -> None:
    stats, counts = [], []
    for told in measured:
        square, is_projected = told.total_weight_sq, told.decision is not Decision.NONE
        effective_lr = decay.lr / square if square else math.inf if decay.lr else math.nan
        rate = decay.rate * view.wd_ratio if view is not None and is_projected else decay.rate
        stats.append((told.decision, told.channel_cos, told.layer_cos, math.sqrt(square), effective_lr, rate))
        counts.append((1, told.decision is Decision.CHANNEL, told.decision is Decision.LAYER))
    torch._foreach_copy_([record.stats for record in records], _tensor(stats, records[0].stats.dtype).unbind())
    torch._foreach_add_([record.counts for record in records], _tensor(counts, torch.int64).unbind())
