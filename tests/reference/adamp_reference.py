"""AdamP and SGDP transcribed from the equations, in float64 numpy, one channel at a time.

Deliberately slow and obvious: an oracle for the optimizers. It imports nothing of ours. Source: Heo et al.,
ICLR 2021 (arXiv:2006.08217), algorithms 1 and 2, with eps and the maximum over channels as in the authors'
package 0.3.0.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def abs_cos(a: Array, b: Array, eps: float) -> float:
    """|cos| of two vectors, each norm at least eps."""
    norm_a = max(math.sqrt(float(np.sum(a * a))), eps)
    norm_b = max(math.sqrt(float(np.sum(b * b))), eps)
    return abs(float(np.sum(a * b))) / (norm_a * norm_b)


def project(vector: Array, weight: Array, eps: float) -> Array:
    """vector - n (n . vector) with n = weight / (|weight| + eps)."""
    n = weight / (math.sqrt(float(np.sum(weight * weight))) + eps)
    return vector - n * float(np.sum(n * vector))


def channels(tensor: Array, channel_dim: int) -> Iterator[Array]:
    """Views of the channels, writable."""
    moved = np.moveaxis(tensor, channel_dim, 0)
    for i in range(moved.shape[0]):
        yield moved[i]


def decide(grad: Array, weight: Array, delta: float, eps: float, channel_dim: int) -> str:
    """'channel', 'layer' or 'none'."""
    if weight.ndim <= 1 or weight.size == 0:
        return "none"
    pairs = zip(channels(grad, channel_dim), channels(weight, channel_dim), strict=True)
    cosines = [abs_cos(g, w, eps) for g, w in pairs]
    n_per_channel = weight.size // len(cosines)
    if all(cos < delta / math.sqrt(n_per_channel) for cos in cosines):
        return "channel"
    if abs_cos(grad, weight, eps) < delta / math.sqrt(weight.size):
        return "layer"
    return "none"


class _Reference:
    """The parts that both algorithms share: projection, decay, step."""

    def __init__(self, weight: Any, store: Callable[[Array], Array] = lambda w: w, **hyper: Any) -> None:
        self.weight: Array = np.array(weight, dtype=np.float64)
        self.store = store  # rounds the weight as its storage does
        self.hyper = hyper

    def _finish(self, grad: Array, direction: Array, step_size: float, decay: float) -> str:
        hyper = self.hyper
        eps, channel_dim = hyper["eps"], hyper.get("channel_dim", 0)
        decision = decide(grad, self.weight, hyper["delta"], eps, channel_dim)
        direction = direction.copy()
        if decision == "channel":
            for u, w in zip(channels(direction, channel_dim), channels(self.weight, channel_dim), strict=True):
                u[...] = project(u, w, eps)
        if decision == "layer":
            direction = project(direction, self.weight, eps)
        self.projected = direction
        if hyper["weight_decay"] > 0:
            ratio = 1.0 if decision == "none" else hyper["wd_ratio"]
            self.weight = self.weight * (1 - decay * ratio)
        self.weight = self.store(self.weight - step_size * direction)
        return decision


class AdamPReference(_Reference):
    """hyper: lr, betas, eps, weight_decay, delta, wd_ratio, nesterov, channel_dim (0 if absent)."""

    def __init__(self, weight: Any, **hyper: Any) -> None:
        super().__init__(weight, **hyper)
        self.t = 0
        self.m = np.zeros_like(self.weight)
        self.v = np.zeros_like(self.weight)

    def step(self, grad: Any) -> str:
        g = np.array(grad, dtype=np.float64)
        b1, b2 = self.hyper["betas"]
        lr = self.hyper["lr"]
        self.t += 1
        self.m = b1 * self.m + (1 - b1) * g
        self.v = b2 * self.v + (1 - b2) * g**2
        den = np.sqrt(self.v) / math.sqrt(1 - b2**self.t) + self.hyper["eps"]
        numerator = b1 * self.m + (1 - b1) * g if self.hyper["nesterov"] else self.m
        return self._finish(g, numerator / den, step_size=lr / (1 - b1**self.t), decay=lr * self.hyper["weight_decay"])


class SGDPReference(_Reference):
    """hyper: lr, momentum, dampening, weight_decay, nesterov, eps, delta, wd_ratio, channel_dim.

    `is_aliased` reproduces the authors' code without nesterov, where projecting the step also projects the
    stored momentum.
    """

    def __init__(self, weight: Any, *, is_aliased: bool = False, **hyper: Any) -> None:
        super().__init__(weight, **hyper)
        self.is_aliased = is_aliased
        self.buf = np.zeros_like(self.weight)

    def step(self, grad: Any) -> str:
        g = np.array(grad, dtype=np.float64)
        mu, lr = self.hyper["momentum"], self.hyper["lr"]
        self.buf = mu * self.buf + (1 - self.hyper["dampening"]) * g
        u = g + mu * self.buf if self.hyper["nesterov"] else self.buf
        decision = self._finish(g, u, step_size=lr, decay=lr * self.hyper["weight_decay"] / (1 - mu))
        if self.is_aliased and not self.hyper["nesterov"]:
            self.buf = self.projected
        return decision
