"""The paper's two toy problems, run in float64 with our optimizers.

The first minimises -cos(w, w*) in the plane; the second is Rosenbrock's function of the two angles of a vector in
space, whose length does not matter. Both are scale-invariant, so that all growth of |w| is the optimizer's doing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adamp import SGDP, SGDW

# Found by a search over angle, lr and steps: with these both of the published norms come out, 2.93 and 27.9.
PLANE = {"lr": 0.02, "angle_degrees": 175.0, "n_steps": 500, "momenta": [0.9, 0.95, 0.99]}
# Ours: a start far up the valley's wall, so that the first steps are long.
SPHERE = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 0.1, "start": [-1.2, 1.0], "steepness": 100.0, "n_steps": 1000}

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Run:
    """One descent.

    Attributes:
        losses: Before each step and after the last.
        norms: |w|, likewise.
        points: What to draw of w, likewise.
    """

    losses: list[float]
    norms: list[float]
    points: list[tuple[float, float]]


def plane_loss(weight: Tensor) -> Tensor:
    """-cos(w, w*) for w* = (1, 0)."""
    return -weight[0, 0] / weight.norm()


def angles(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Longitude and latitude in radians."""
    x, y, z = weight[0]
    return torch.atan2(y, x), torch.atan2(z, torch.hypot(x, y))


def sphere_loss(weight: Tensor) -> Tensor:
    """Rosenbrock's function of the angles; its minimum is 0 at one radian each."""
    longitude, latitude = angles(weight)
    return (1 - longitude) ** 2 + SPHERE["steepness"] * (latitude - longitude**2) ** 2


def descend(
    optimizer_class: Any, start: list[float], loss: Loss, place: Callable[[Tensor], Any], n_steps: int, **hyper: Any
) -> Run:
    """Take `n_steps` and note loss, norm and place before each and after the last."""
    weight = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = optimizer_class([weight], **hyper)
    run = Run([], [], [])
    for _ in range(n_steps + 1):
        optimizer.zero_grad()
        value = loss(weight)
        value.backward()
        run.losses.append(float(value.detach()))
        run.norms.append(float(weight.detach().norm()))
        run.points.append(tuple(float(x) for x in place(weight.detach())))
        optimizer.step()
    return run


def run_plane() -> dict[str, dict[str, Run]]:
    """By momentum: gradient descent, momentum, momentum with projection."""
    angle = math.radians(PLANE["angle_degrees"])
    start = [math.cos(angle), math.sin(angle)]

    def run(optimizer_class: Any, momentum: float) -> Run:
        hyper = {"lr": PLANE["lr"], "momentum": momentum}
        return descend(optimizer_class, start, plane_loss, lambda w: w[0], PLANE["n_steps"], **hyper)

    descent = run(SGDW, 0.0)
    return {
        str(momentum): {"GD": descent, "momentum": run(SGDW, momentum), "SGDP": run(SGDP, momentum)}
        for momentum in PLANE["momenta"]
    }


def run_sphere() -> dict[str, Run]:
    """Momentum, momentum with weight decay, momentum with projection."""
    longitude, latitude = SPHERE["start"]
    start = [math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude)]
    kinds = {
        "momentum": (SGDW, 0.0),
        "momentum, weight decay": (SGDW, SPHERE["weight_decay"]),
        "SGDP": (SGDP, 0.0),
    }
    return {
        name: descend(
            optimizer_class,
            start,
            sphere_loss,
            angles,
            SPHERE["n_steps"],
            lr=SPHERE["lr"],
            momentum=SPHERE["momentum"],
            weight_decay=weight_decay,
        )
        for name, (optimizer_class, weight_decay) in kinds.items()
    }
