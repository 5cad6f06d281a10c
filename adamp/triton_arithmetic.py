"""What the Triton kernels share: the guarded import of triton, the tables' columns, and the arithmetic."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations  # triton reads the annotations, and they must not need triton

import importlib
from typing import Any

triton: Any
tl: Any
try:
    triton, tl = importlib.import_module("triton"), importlib.import_module("triton.language")
    WHY_NOT = None
except (ImportError, RuntimeError, OSError) as error:  # RuntimeError, OSError: a broken driver or library
    triton = tl = None
    WHY_NOT = f"triton cannot be imported ({type(error).__name__}: {error})"


def jit(function: Any) -> Any:
    """`triton.jit`, or the function itself, never called, where there is no triton."""
    return triton.jit(function) if triton is not None else function


# Of the table `tensors`: one row of int64 per tensor. `step` is 0 where steps are counted on the CPU.
COLUMNS = (
    *("weight", "first", "second", "step", "stats", "counts"),  # addresses
    *("channels", "inner", "cols", "segments", "begin", "is_considered"),
)


@jit
def column(tensors, i, which: tl.constexpr):
    """One entry of the table; `which` counts through COLUMNS."""
    return tl.load(tensors + i * 12 + which)


@jit
def pointers(tensors, dynamic, i, DTYPE: tl.constexpr):
    """Weight, gradient, first and second moment."""
    weight = column(tensors, i, 0).to(tl.pointer_type(DTYPE))
    grad = tl.load(dynamic + 2 * i).to(tl.pointer_type(DTYPE))
    first = column(tensors, i, 1).to(tl.pointer_type(tl.float32))
    second = column(tensors, i, 2).to(tl.pointer_type(tl.float32))
    return weight, grad, first, second


@jit
def segment(tensors, i, program, SEGMENT: tl.constexpr):
    """Channel of a program, and the first and last element within it."""
    cols, n_segments = column(tensors, i, 8), column(tensors, i, 9)
    place = program - column(tensors, i, 10)
    begin = place % n_segments * SEGMENT
    return place // n_segments, begin, tl.minimum(begin + SEGMENT, cols)


@jit
def offsets(at, channel, channels, inner, cols):
    """Where elements `at` of a channel lie: memory order is (outer, channels, inner)."""
    if inner == cols:
        return channel * inner + at
    return (at // inner * channels + channel) * inner + at % inner


@jit
def one_minus_power(log_base, t):
    """1 - exp(t log_base) for log_base < 0 to a few float32 roundings; 1 - exp(x) itself loses all digits near 0."""
    x = log_base * t
    y = tl.maximum(x, -0.5)
    series = 1 + y / 5 * (1 + y / 6 * (1 + y / 7 * (1 + y / 8)))
    series = y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * series)))
    return tl.where(x > -0.5, -series, 1 - tl.exp(x))


@jit
def learning_rate(lr, lr_tensor, HAS_LR_TENSOR: tl.constexpr):
    """The number, or what the tensor holds now."""
    if HAS_LR_TENSOR:
        return tl.load(lr_tensor).to(tl.float32)
    return lr


# fmt: off
@jit
def rates(
    tensors, dynamic, i, lr, lr_tensor, weight_decay, log_beta1, log_beta2,
    IS_ADAM: tl.constexpr, HAS_LR_TENSOR: tl.constexpr, IS_COUNTED: tl.constexpr,
):
    # fmt: on
    """Step size, decay and sqrt(1 - beta2^t); IS_COUNTED: a step on the device counts the present one already."""
    step_size = learning_rate(lr, lr_tensor, HAS_LR_TENSOR)
    decay, correction = step_size * weight_decay, 1.0
    if IS_ADAM:
        t = tl.load(dynamic + 2 * i + 1).to(tl.float32)
        if t == 0:
            t = tl.load(column(tensors, i, 3).to(tl.pointer_type(tl.float32)))
            if not IS_COUNTED:
                t += 1
        step_size = tl.div_rn(step_size, one_minus_power(log_beta1, t))
        correction = tl.sqrt_rn(one_minus_power(log_beta2, t))
    return step_size, decay, correction


@jit
def direction(grad, first, second, beta1, add1, correction, eps, IS_ADAM: tl.constexpr, NESTEROV: tl.constexpr):
    """The step before lr; `correction` is sqrt(1 - beta2^t). For SGD beta1 is the momentum and add1 is 1."""
    step = first
    if NESTEROV:
        step = beta1 * first + add1 * grad
    if IS_ADAM:
        step = tl.div_rn(step, tl.div_rn(tl.sqrt_rn(second), correction) + eps)
    return step


@jit
def coefficient(w_u, w_w, eps):
    """(w.u) / (|w| + eps)^2; 0 for a zero weight with eps = 0, which has no direction."""
    norm = tl.sqrt_rn(w_w) + eps
    return tl.where(norm > 0, tl.div_rn(w_u, norm * norm), 0.0)


@jit
def abs_cos(g_w, g_g, w_w, eps):
    """|cos| of gradient and weight, each norm at least eps; NaN if a norm is beyond float32's range."""
    cos = tl.div_rn(
        tl.div_rn(tl.abs(g_w), tl.maximum(tl.sqrt_rn(g_g), eps)), tl.maximum(tl.sqrt_rn(w_w), eps)
    )
    return tl.where(g_g + w_w < float("inf"), cos, float("nan"))


@jit
def row_sum(sums, rows, mask, n_segments, which: tl.constexpr, ROWS: tl.constexpr):
    """A statistic (g.w, g.g, w.w, w.u) of each row: its segments' sums in order."""
    total = tl.zeros([ROWS], tl.float32)
    part = n_segments * 0
    while part < n_segments:
        total += tl.load(sums + (rows * n_segments + part) * 4 + which, mask=mask, other=0.0)
        part += 1
    return total
