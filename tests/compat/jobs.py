"""What is run by both implementations: trajectories, continued checkpoints, and inputs that break one of them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.reference.adamp_reference import AdamPReference, SGDPReference, abs_cos, channels
from tests.unit.adamp.cases import ADAMP, KINDS, SGDP_, gradient, initial_weights

SHAPES = [(7,), (5, 3), (6, 4, 3, 3), (9, 1), (1, 8), (2, 3, 4), (16, 300), (32, 16, 3, 3), (64, 300)]
COLUMN = (9, 1)  # its |cos| is 1: exactly delta = 1's bound, and a larger delta leaves it nothing to move by
N_STEPS = {torch.float32: 20, torch.float64: 50}
SEEDS = {torch.float32: range(8), torch.float64: range(1)}

# wd_ratio is never 1: the authors' decisions are read from it. Without momentum lr is larger, so that the displacement
# is comparable to the weights, as it is in the other cases.
HYPER: dict[str, tuple[str, dict[str, Any]]] = {
    "AdamP": ("AdamP", {}),
    "AdamP, decay": ("AdamP", {"weight_decay": 0.05}),
    "AdamP, nesterov": ("AdamP", {"nesterov": True}),
    "AdamP, nesterov, decay, ratio 0": ("AdamP", {"nesterov": True, "weight_decay": 0.05, "wd_ratio": 0.0}),
    "AdamP, delta 0": ("AdamP", {"delta": 0.0, "weight_decay": 0.05}),
    "AdamP, delta 1": ("AdamP", {"delta": 1.0, "weight_decay": 0.05}),
    "AdamP, delta 1e9": ("AdamP", {"delta": 1e9, "weight_decay": 0.05}),
    "AdamP, delta 1, no decay": ("AdamP", {"delta": 1.0}),
    "AdamP, delta 1e9, no decay": ("AdamP", {"delta": 1e9}),
    "AdamP, nesterov, delta 0": ("AdamP", {"nesterov": True, "delta": 0.0}),
    "AdamP, nesterov, delta 1": ("AdamP", {"nesterov": True, "delta": 1.0, "weight_decay": 0.05}),
    "AdamP, nesterov, delta 1e9": ("AdamP", {"nesterov": True, "delta": 1e9, "weight_decay": 0.05}),
    "AdamP, other betas, eps 1e-3": ("AdamP", {"betas": (0.0, 0.5), "eps": 1e-3}),
    "SGDP, no momentum": ("SGDP", {"momentum": 0.0, "weight_decay": 0.01, "lr": 0.3}),
    "SGDP, no momentum, dampening": ("SGDP", {"momentum": 0.0, "dampening": 0.3, "lr": 0.3}),
    "SGDP, no momentum, delta 1": ("SGDP", {"momentum": 0.0, "delta": 1.0, "lr": 0.3}),
    "SGDP, no momentum, delta 1e9": ("SGDP", {"momentum": 0.0, "delta": 1e9, "lr": 0.3}),
    "SGDP, momentum, delta 0": ("SGDP", {"delta": 0.0, "weight_decay": 0.01}),
    "SGDP, momentum, dampening, delta 0": ("SGDP", {"delta": 0.0, "dampening": 0.3}),
    "SGDP, nesterov": ("SGDP", {"nesterov": True, "weight_decay": 0.01}),
    "SGDP, nesterov, no decay": ("SGDP", {"nesterov": True}),
    "SGDP, nesterov, delta 0": ("SGDP", {"nesterov": True, "delta": 0.0, "weight_decay": 0.01}),
    "SGDP, nesterov, delta 1": ("SGDP", {"nesterov": True, "delta": 1.0, "weight_decay": 0.01}),
    "SGDP, nesterov, delta 1e9": ("SGDP", {"nesterov": True, "delta": 1e9, "weight_decay": 0.01}),
    "SGDP, nesterov, delta 1, no decay": ("SGDP", {"nesterov": True, "delta": 1.0}),
    "SGDP, nesterov, delta 1e9, no decay": ("SGDP", {"nesterov": True, "delta": 1e9}),
}
ALIASED = ("SGDP", {"weight_decay": 0.01})  # the documented difference: momentum, projection, no nesterov


@dataclass(frozen=True)
class Trajectory:
    """A job together with what the float64 reference made of it.

    Attributes:
        job: For the runner.
        start: Weights before the first step, per parameter.
        reference: Weights after the last, per parameter.
        decisions: Per step, per parameter with two or more dimensions.
        margins: Likewise: smallest relative distance of a cosine from the bound that decided.
    """

    job: dict[str, Any]
    start: list[np.ndarray]
    reference: list[np.ndarray]
    decisions: list[list[str]]
    margins: list[list[float]]


def make_hyper(name: str) -> tuple[str, dict[str, Any]]:
    """The algorithm and all its hyperparameters."""
    algorithm, changes = HYPER[name]
    return algorithm, {**(ADAMP if algorithm == "AdamP" else SGDP_), **changes}


def make_trajectory(
    algorithm: str,
    hyper: dict[str, Any],
    dtype: torch.dtype,
    seed: int,
    *,
    shapes: Any = None,
    n_steps: int | None = None,
    is_aliased: bool = False,
) -> Trajectory:
    """Draw weights and gradients; the gradients follow the reference, so that every implementation sees the same.

    Args:
        is_aliased: The reference keeps SGDP's momentum as the authors' code does.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = shapes or [shape for shape in SHAPES if shape != COLUMN or hyper["delta"] < 1]
    weights = [w.to(dtype) for w in initial_weights(generator, shapes)]
    kind = AdamPReference if algorithm == "AdamP" else SGDPReference
    alias = {"is_aliased": True} if is_aliased else {}
    references: list[Any] = [kind(w.double().numpy(), **alias, **hyper) for w in weights]
    grads, decisions, margins = [], [], []
    for t in range(n_steps or N_STEPS[dtype]):
        grads.append([next_gradient(r.weight, t + i, dtype, generator) for i, r in enumerate(references)])
        pairs = [(r, g.double().numpy()) for r, g in zip(references, grads[-1], strict=True)]
        margins.append([margin(g, r.weight, hyper) for r, g in pairs if g.ndim > 1])
        taken = [r.step(g) for r, g in pairs]
        decisions.append([d for d, w in zip(taken, weights, strict=True) if w.ndim > 1])
    job = {"algorithm": algorithm, "hyper": hyper, "weights": weights, "grads": grads}
    return Trajectory(job, [w.double().numpy() for w in weights], [r.weight for r in references], decisions, margins)


def next_gradient(weight: np.ndarray, turn: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Channel, layer, none and random in turn."""
    return gradient(KINDS[turn % len(KINDS)], torch.from_numpy(np.asarray(weight)), generator).to(dtype)


def margin(grad: np.ndarray, weight: np.ndarray, hyper: dict[str, Any]) -> float:
    """How far the nearest of both cosines is from its bound, relative to the bound; infinite for delta 0."""
    if hyper["delta"] == 0:
        return float("inf")
    rows = zip(channels(grad, 0), channels(weight, 0), strict=True)
    channel_cos = max(abs_cos(g, w, hyper["eps"]) for g, w in rows)
    n_per_channel = weight.size // weight.shape[0]
    views = [(channel_cos, n_per_channel), (abs_cos(grad, weight, hyper["eps"]), weight.size)]
    return min(abs(cos * n**0.5 / hyper["delta"] - 1) for cos, n in views)


def probes() -> dict[str, dict[str, Any]]:
    """One-step jobs on inputs that the authors' code is known not to take."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 6, 3, 3, generator=generator)
    inputs = {
        "channels_last weight": image.contiguous(memory_format=torch.channels_last),
        "transposed weight": torch.randn(5, 3, generator=generator).T,
        "float16 weight": torch.ones(4, 4, dtype=torch.float16),
        "empty weight": torch.zeros(0, 3),
    }
    jobs = {name: probe(weight, torch.full_like(weight, 1e-3)) for name, weight in inputs.items()}
    dense = torch.randn(4, 3, generator=generator)
    jobs["sparse gradient"] = probe(dense, dense.to_sparse())
    jobs["complex weight"] = probe(dense.to(torch.complex64), dense.to(torch.complex64))
    return jobs


def probe(weight: Tensor, grad: Tensor) -> dict[str, Any]:
    """AdamP's first step."""
    return {"algorithm": "AdamP", "hyper": dict(ADAMP), "weights": [weight], "grads": [[grad]]}


def make_unlike() -> tuple[Trajectory, Trajectory]:
    """One job, judged by the paper's algorithm and by the authors' alias; the gradients follow the first."""
    algorithm, hyper = ALIASED[0], {**SGDP_, **ALIASED[1]}
    plain = make_trajectory(algorithm, hyper, torch.float64, 0, n_steps=20)
    aliased = []
    for start, grads in zip(plain.start, zip(*plain.job["grads"], strict=True), strict=True):
        reference = SGDPReference(start, is_aliased=True, **hyper)
        for grad in grads:
            reference.step(grad.numpy())
        aliased.append(reference.weight)
    return plain, replace(plain, reference=aliased)


def make_halves(
    name: str, dtype: torch.dtype, *, shapes: Any = None, n_steps: int = 20, seed: int = 7
) -> tuple[Trajectory, dict[str, Any], dict[str, Any]]:
    """A trajectory, the job of its first half, and that of its second (whose weights and state are to be set)."""
    trajectory = make_trajectory(*make_hyper(name), dtype, seed, shapes=shapes, n_steps=n_steps)
    grads = trajectory.job["grads"]
    half = n_steps // 2
    return trajectory, {**trajectory.job, "grads": grads[:half]}, {**trajectory.job, "grads": grads[half:]}
