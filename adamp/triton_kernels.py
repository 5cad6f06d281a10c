"""The step on a GPU as three Triton kernels over tables on the device; `adamp.triton_plan` fills these and launches.

1. `sweep`, a program per segment of a row (a row is one channel): updates the moments and sums g.w, g.g, w.w and
   w.u. If the tensor's last step was not projected, it also writes the unprojected step w1, which needs no sums.
2. `decide`, a program per tensor: adds the sums in a fixed order, decides, and writes the diagnostics.
3. `finish`, programs as in 1: returns at once where w1 is what the decision asks for; else writes the weight.

A wrong expectation costs time and changes no bit, because the projected weight is always computed from w1:

    w1 = w - (lam w + s u),    w2 = w1 + kappa (w1 + s u),    kappa = (lam (1 - wd_ratio) + s c) / (1 - lam)

with s the step size, lam the decay and c = (w.u) / (|w| + eps)^2 of the row or the tensor. Where w1 cannot be kept
(16-bit weights would round it, lam >= 1/2 loses w) the sweep writes no weight. Nothing is atomic and no program
waits for another, so results are reproducible; nothing is read on the host.

Bytes per float32 parameter: 28 unprojected, as in AdamW; 24 and then 16, often from the cache, projected.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from adamp.triton_arithmetic import (
    abs_cos,
    coefficient,
    column,
    direction,
    jit,
    learning_rate,
    offsets,
    pointers,
    rates,
    row_sum,
    segment,
    tl,
)


# fmt: off
@jit
def sweep(
    tensors, dynamic, owners, sums, modes, lr, lr_tensor,
    beta1, add1, beta2, add2, log_beta1, log_beta2, eps, weight_decay, sign, nesterov_add,
    DTYPE: tl.constexpr, IS_ADAM: tl.constexpr, HAS_FIRST: tl.constexpr, NESTEROV: tl.constexpr,
    IS_TWO_STAGE: tl.constexpr, HAS_LR_TENSOR: tl.constexpr, SEGMENT: tl.constexpr, BLOCK: tl.constexpr,
):
    # fmt: on
    """Update moments, sum statistics, and write w1 where the tensor's mode is 0."""
    program = tl.program_id(0)
    i = tl.load(owners + program).to(tl.int64)
    channel, begin, end = segment(tensors, i, program, SEGMENT)
    channels, inner, cols = column(tensors, i, 6), column(tensors, i, 7), column(tensors, i, 8)
    weights, grads, firsts, seconds = pointers(tensors, dynamic, i, DTYPE)
    step_size, decay, correction = rates(
        tensors, dynamic, i, lr, lr_tensor, weight_decay, log_beta1, log_beta2, IS_ADAM, HAS_LR_TENSOR, False
    )
    is_written = (tl.load(modes + i) == 0) & (decay < 0.5) & IS_TWO_STAGE
    g_w, g_g = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    w_w, w_u = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    while begin < end:
        at = begin + tl.arange(0, BLOCK)
        mask = at < end
        at = offsets(at, channel, channels, inner, cols)
        grad = tl.load(grads + at, mask=mask, other=0.0).to(tl.float32) * sign
        weight = tl.load(weights + at, mask=mask, other=0.0).to(tl.float32)
        first, second = add1 * grad, grad
        if HAS_FIRST:
            first = beta1 * tl.load(firsts + at, mask=mask, other=0.0) + first
            tl.store(firsts + at, first, mask=mask)
        if IS_ADAM:
            second = beta2 * tl.load(seconds + at, mask=mask, other=0.0) + add2 * (grad * grad)
            tl.store(seconds + at, second, mask=mask)
        step = direction(grad, first, second, beta1, nesterov_add, correction, eps, IS_ADAM, NESTEROV)
        step = tl.where(mask, step, 0.0)
        g_w += grad * weight
        g_g += grad * grad
        w_w += weight * weight
        w_u += weight * step
        if is_written:
            tl.store(weights + at, (weight - (decay * weight + step_size * step)).to(DTYPE), mask=mask)
        begin += BLOCK
    sums += program.to(tl.int64) * 4
    tl.store(sums, tl.sum(g_w))
    tl.store(sums + 1, tl.sum(g_g))
    tl.store(sums + 2, tl.sum(w_w))
    tl.store(sums + 3, tl.sum(w_u))


# fmt: off
@jit
def decide(
    tensors, dynamic, sums, modes, orders, coefficients, lr, lr_tensor, weight_decay, wd_ratio, delta, eps,
    HAS_LR_TENSOR: tl.constexpr, IS_TWO_STAGE: tl.constexpr, ROWS: tl.constexpr,
):
    # fmt: on
    """Write each tensor's order (decision + 4 if no weight was written), coefficient, next mode and diagnostics."""
    i = tl.program_id(0).to(tl.int64)
    channels, cols, n_segments = column(tensors, i, 6), column(tensors, i, 8), column(tensors, i, 9)
    sums += column(tensors, i, 10) * 4
    g_w, g_g = tl.zeros([ROWS], tl.float32), tl.zeros([ROWS], tl.float32)
    w_w, w_u = tl.zeros([ROWS], tl.float32), tl.zeros([ROWS], tl.float32)
    highest, n_over, n_nan = g_w, tl.zeros([ROWS], tl.int32), tl.zeros([ROWS], tl.int32)
    bound = delta / tl.sqrt_rn(cols.to(tl.float32))
    begin = channels * 0
    while begin < channels:
        rows = begin + tl.arange(0, ROWS)
        mask = rows < channels
        row_gw, row_gg = row_sum(sums, rows, mask, n_segments, 0, ROWS), row_sum(sums, rows, mask, n_segments, 1, ROWS)
        row_ww, row_wu = row_sum(sums, rows, mask, n_segments, 2, ROWS), row_sum(sums, rows, mask, n_segments, 3, ROWS)
        cos = abs_cos(row_gw, row_gg, row_ww, eps)
        # Counted rather than compared with the maximum: a maximum may drop a NaN, and NaN must not project.
        n_over += tl.where(mask & ((cos < bound) == 0), 1, 0)
        n_nan += tl.where(mask & (cos != cos), 1, 0)  # triton has no isnan
        highest = tl.maximum(highest, tl.where(mask, cos, 0.0))
        g_w += row_gw
        g_g += row_gg
        w_w += row_ww
        w_u += row_wu
        begin += ROWS
    norm_sq = tl.sum(w_w)
    layer_cos = abs_cos(tl.sum(g_w), tl.sum(g_g), norm_sq, eps)
    is_layer = layer_cos < delta / tl.sqrt_rn((cols * channels).to(tl.float32))
    decision = tl.where(tl.sum(n_over) == 0, 1, tl.where(is_layer, 2, 0))
    decision = tl.where(column(tensors, i, 11) != 0, decision, 0)
    rate = learning_rate(lr, lr_tensor, HAS_LR_TENSOR)
    is_written = (tl.load(modes + i) == 0) & (rate * weight_decay < 0.5) & IS_TWO_STAGE
    tl.store(orders + i, decision + tl.where(is_written, 0, 4))
    tl.store(modes + i, tl.where(decision == 0, 0, 1))
    tl.store(coefficients + i, coefficient(tl.sum(w_u), norm_sq, eps))
    channel_cos = tl.where(tl.sum(n_nan) > 0, float("nan"), tl.max(highest))
    decay = rate * weight_decay * tl.where(decision != 0, wd_ratio, 1.0)
    write_record(tensors, i, decision, channel_cos, layer_cos, norm_sq, rate, decay)
    count_step(tensors, dynamic, i)


@jit
def write_record(tensors, i, decision, channel_cos, layer_cos, w_w, lr, decay):
    """See `adamp.diagnostics.StepRecord`."""
    stats = column(tensors, i, 4).to(tl.pointer_type(tl.float32))
    counts = column(tensors, i, 5).to(tl.pointer_type(tl.int64))
    tl.store(stats + 3, tl.sqrt_rn(w_w))
    tl.store(stats + 4, tl.where(w_w == 0, float("inf"), tl.div_rn(lr, tl.where(w_w == 0, 1.0, w_w))))
    tl.store(stats + 5, decay)
    tl.store(counts, tl.load(counts) + 1)
    if column(tensors, i, 11) != 0:
        tl.store(stats, decision.to(tl.float32))
        tl.store(stats + 1, channel_cos)
        tl.store(stats + 2, layer_cos)
        tl.store(counts + 1, tl.load(counts + 1) + tl.where(decision == 1, 1, 0))
        tl.store(counts + 2, tl.load(counts + 2) + tl.where(decision == 2, 1, 0))


@jit
def count_step(tensors, dynamic, i):
    """Count a step that is kept on the device."""
    step = column(tensors, i, 3)
    if (step != 0) & (tl.load(dynamic + 2 * i + 1) == 0):
        place = step.to(tl.pointer_type(tl.float32))
        tl.store(place, tl.load(place) + 1)


@jit
def row_coefficient(sums, program, begin, n_segments, eps, SEGMENT: tl.constexpr):
    """`coefficient` of the row that a program belongs to."""
    row = program.to(tl.int64) - begin // SEGMENT
    w_w, w_u, part = tl.load(sums + row * 4 + 2), tl.load(sums + row * 4 + 3), n_segments * 0 + 1
    while part < n_segments:
        w_w += tl.load(sums + (row + part) * 4 + 2)
        w_u += tl.load(sums + (row + part) * 4 + 3)
        part += 1
    return coefficient(w_u, w_w, eps)


# fmt: off
@jit
def finish(
    tensors, dynamic, owners, sums, orders, coefficients, lr, lr_tensor,
    beta1, add1, log_beta1, log_beta2, eps, weight_decay, wd_ratio, sign, nesterov_add,
    DTYPE: tl.constexpr, IS_ADAM: tl.constexpr, HAS_FIRST: tl.constexpr, NESTEROV: tl.constexpr,
    IS_TWO_STAGE: tl.constexpr, HAS_LR_TENSOR: tl.constexpr, SEGMENT: tl.constexpr, BLOCK: tl.constexpr,
):
    # fmt: on
    """Write the weights that the sweep left, and those that it wrote unprojected where they are to be projected."""
    program = tl.program_id(0)
    i = tl.load(owners + program).to(tl.int64)
    order = tl.load(orders + i)
    if order == 0:
        return
    channel, begin, end = segment(tensors, i, program, SEGMENT)
    channels, inner, cols = column(tensors, i, 6), column(tensors, i, 7), column(tensors, i, 8)
    weights, grads, firsts, seconds = pointers(tensors, dynamic, i, DTYPE)
    step_size, decay, correction = rates(
        tensors, dynamic, i, lr, lr_tensor, weight_decay, log_beta1, log_beta2, IS_ADAM, HAS_LR_TENSOR, True
    )
    radial = tl.load(coefficients + i)
    if order % 4 == 1:
        radial = row_coefficient(sums, program, begin, column(tensors, i, 9), eps, SEGMENT)
    while begin < end:
        at = begin + tl.arange(0, BLOCK)
        mask = at < end
        at = offsets(at, channel, channels, inner, cols)
        grad, second = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
        if NESTEROV or not HAS_FIRST:
            grad = tl.load(grads + at, mask=mask, other=0.0).to(tl.float32) * sign
        first = tl.load(firsts + at, mask=mask, other=0.0) if HAS_FIRST else add1 * grad
        if IS_ADAM:
            second = tl.load(seconds + at, mask=mask, other=0.0)
        step = direction(grad, first, second, beta1, nesterov_add, correction, eps, IS_ADAM, NESTEROV)
        weight = tl.load(weights + at, mask=mask, other=0.0).to(tl.float32)
        weight = stepped(weight, step, order, step_size, decay, wd_ratio, radial, IS_TWO_STAGE)
        tl.store(weights + at, weight.to(DTYPE), mask=mask)
        begin += BLOCK


@jit
def stepped(weight, step, order, step_size, decay, wd_ratio, radial, IS_TWO_STAGE: tl.constexpr):
    """The weight after the step, from w, or from w1 where the sweep wrote that."""
    is_projected = order % 4 != 0
    if IS_TWO_STAGE and decay < 0.5:
        if order >= 4:
            weight = weight - (decay * weight + step_size * step)
        if is_projected:
            kappa = (decay * (1 - wd_ratio) + step_size * radial) / (1 - decay)
            weight += kappa * (weight + step_size * step)
    else:
        share = decay
        if is_projected:
            share = decay * wd_ratio - step_size * radial
        weight = weight - (share * weight + step_size * step)
    return weight
