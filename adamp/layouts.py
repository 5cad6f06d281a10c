"""How a dense tensor lies in memory, as the native step sees it."""

from collections.abc import Sequence
from typing import NamedTuple


class MemoryOrder(NamedTuple):
    """Element (o, c, i) lies at (o * channels + c) * inner + i; channel c is everything with that c."""

    outer: int
    channels: int
    inner: int


def memory_order(shape: Sequence[int], stride: Sequence[int], channel_dim: int) -> MemoryOrder | None:
    """Order of a dense, non-overlapping tensor; None for any other, say a slice or an expanded tensor.

    Args:
        shape: Sizes.
        stride: Strides in elements.
        channel_dim: The dimension of the channels; a tensor without dimensions is one channel.
    """
    if 0 in shape:
        return MemoryOrder(1, 0, 1)
    sizes = [(step, size, dim) for dim, (size, step) in enumerate(zip(shape, stride, strict=True)) if size != 1]
    channels, outer, inner, expected = 1, 1, 1, 1
    for step, size, dim in sorted(sizes):
        if step != expected:
            return None
        expected *= size
        if dim == channel_dim % len(shape):
            channels, inner = size, outer
            outer = 1
        else:
            outer *= size
    if channels == 1:
        outer, inner = 1, outer
    return MemoryOrder(outer, channels, inner)


def is_same_layout(shape: Sequence[int], a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether strides `a` and `b` put the elements in the same places; those of dimensions of size 1 do not count."""
    return 0 in shape or all(x == y or size == 1 for size, x, y in zip(shape, a, b, strict=True))
