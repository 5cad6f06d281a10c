"""The table of accuracy: hyperparameters × shapes × layouts × groups × dtypes, on every path, against float64.

A trajectory is made once per cell and repeated by each path. Its gradients follow the reference, so that all see the
same ones. Columns of one element are left out: a large delta leaves them nothing to move by.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adamp import SGDP, AdamP
from tests.reference.adamp_reference import abs_cos, channels
from tests.unit.adamp.cases import KINDS, Case, gradient

DELTAS = (0.0, 0.1, 1.0, 1e9)
DECAYS = {AdamP: 0.05, SGDP: 0.01}
TABLE = [
    Case(optimizer, {"nesterov": nesterov, "weight_decay": decay, "delta": delta})
    for optimizer in (AdamP, SGDP)
    for nesterov, decay, delta in product((False, True), (0.0, DECAYS[optimizer]), DELTAS)
]
# Fewer of them where a weight's own rounding is the largest error.
TABLE_16_BIT = [case for case in TABLE if case.changes["delta"] in (0.1, 1e9) and case.changes["weight_decay"]]
NEAR = 1e-4
"""A cosine this close to its bound, relatively, may fall on either side by rounding."""


@dataclass(frozen=True)
class Place:
    """A parameter of the table: its shape, how it lies in memory, and its group's index."""

    shape: tuple[int, ...]
    layout: str = "contiguous"
    group: int = 0


PLACES = (
    Place(()),
    Place((7,)),
    Place((5, 3)),
    Place((1, 8)),
    Place((2, 3, 4)),
    Place((16, 300)),
    Place((33, 40), "transposed"),
    Place((6, 5), "sliced"),
    Place((32, 16, 3, 3)),
    Place((6, 4, 3, 3), "channels_last"),
    Place((4, 3), group=1),
    Place((4, 6, 3, 3), group=1),
    Place((4, 6, 3, 3), "channels_last", group=1),
)
GROUPS: list[dict[str, Any]] = [{}, {"channel_dim": 1, "lr": 0.12}]


@dataclass(frozen=True)
class Trajectory:
    """One cell's 20 steps.

    Attributes:
        places: The parameters.
        start: Weights, per place.
        grads: Per step, per place.
        end: The reference's weights, per place.
        decisions: Per step, per place.
        margins: Likewise: relative distance of the nearest cosine from its bound.
    """

    places: tuple[Place, ...]
    start: list[Tensor]
    grads: list[list[Tensor]]
    end: list[np.ndarray]
    decisions: list[list[str]]
    margins: list[list[float]]


def rounding(dtype: torch.dtype) -> Any:
    """What storage in 16 bits does to a weight after every step; nothing for the others."""
    if dtype.itemsize > 2:
        return lambda weight: weight
    return lambda weight: torch.from_numpy(np.asarray(weight)).float().to(dtype).double().numpy()


@cache
def make_trajectory(index: int, dtype: torch.dtype, places: tuple[Place, ...] = PLACES) -> Trajectory:
    """20 steps of the `index`-th case of TABLE."""
    case, generator = TABLE[index], torch.Generator().manual_seed(index)
    start = [torch.randn(p.shape, dtype=torch.float64, generator=generator).to(dtype) for p in places]
    hypers = [{**case.hyper, **GROUPS[place.group]} for place in places]
    twins = [case.reference(w.double().numpy(), store=rounding(dtype), **h) for w, h in zip(start, hypers, strict=True)]
    grads, decisions, margins = [], [], []
    for t in range(20):
        grads.append([draw(t + i, twin, generator).to(dtype) for i, twin in enumerate(twins)])
        seen = [(twin, grad.double().numpy()) for twin, grad in zip(twins, grads[-1], strict=True)]
        margins.append([margin(grad, twin) for twin, grad in seen])
        decisions.append([twin.step(grad) for twin, grad in seen])
    return Trajectory(places, start, grads, [np.asarray(twin.weight) for twin in twins], decisions, margins)


def draw(turn: int, twin: Any, generator: torch.Generator) -> Tensor:
    """The next gradient, in the view that the twin's channels have."""
    weight, dim = torch.from_numpy(np.asarray(twin.weight)), twin.hyper.get("channel_dim", 0)
    if weight.ndim < 2:
        return gradient("random", weight, generator)
    return gradient(KINDS[turn % len(KINDS)], weight.movedim(dim, 0), generator).movedim(0, dim)


def margin(grad: np.ndarray, twin: Any) -> float:
    """Infinite where no cosine is compared."""
    weight, delta, eps = twin.weight, twin.hyper["delta"], twin.hyper["eps"]
    if weight.ndim < 2 or delta == 0:
        return float("inf")
    dim = twin.hyper.get("channel_dim", 0)
    rows = zip(channels(grad, dim), channels(weight, dim), strict=True)
    views = [(max(abs_cos(g, w, eps) for g, w in rows), weight.size // weight.shape[dim])]
    views.append((abs_cos(grad, weight, eps), weight.size))
    return min(abs(cos * n**0.5 / delta - 1) for cos, n in views)


def lay_out(tensor: Tensor, layout: str) -> Tensor:
    """A copy with the same elements in another order of memory."""
    if layout == "channels_last":
        return tensor.clone(memory_format=torch.channels_last)
    if layout == "transposed":
        return tensor.T.contiguous().T
    if layout == "sliced":
        return tensor.repeat_interleave(2, dim=-1)[..., ::2]
    return tensor.clone()


@dataclass(frozen=True)
class Outcome:
    """What a path made of a trajectory.

    Attributes:
        weights: Per place, as float64.
        wrong: (step, place) of decisions that differ from the reference's away from the bound.
    """

    weights: list[np.ndarray]
    wrong: list[tuple[int, int]]


def repeat(index: int, trajectory: Trajectory, **execution: Any) -> Outcome:
    """Take the trajectory's steps with `execution`, such as fused=True."""
    case = TABLE[index]
    params = [
        torch.nn.Parameter(lay_out(w, p.layout)) for w, p in zip(trajectory.start, trajectory.places, strict=True)
    ]
    groups = [
        {"params": [q for q, p in zip(params, trajectory.places, strict=True) if p.group == i], **changes}
        for i, changes in enumerate(GROUPS)
    ]
    optimizer = case.optimizer(groups, **case.hyper, **execution)
    wrong = []
    for t, grads in enumerate(trajectory.grads):
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.clone()
        optimizer.step()
        told = optimizer.diagnostics()
        for j, key in enumerate(keys(trajectory.places)):
            is_near = trajectory.margins[t][j] <= NEAR
            if told[key].decision.name.lower() != trajectory.decisions[t][j] and not is_near:
                wrong.append((t, j))
    return Outcome([param.detach().double().numpy() for param in params], wrong)


def keys(places: tuple[Place, ...]) -> Iterator[tuple[int, int]]:
    """Where each place is in the optimizer's groups."""
    counts = [0] * len(GROUPS)
    for place in places:
        yield place.group, counts[place.group]
        counts[place.group] += 1


def errors(trajectory: Trajectory, outcome: Outcome) -> dict[str, float]:
    """Largest deviation from the reference, relative to the largest displacement, per place."""
    found = {}
    for place, start, end, ours in zip(
        trajectory.places, trajectory.start, trajectory.end, outcome.weights, strict=True
    ):
        displacement = np.abs(end - start.double().numpy()).max()
        found[f"{place.shape} {place.layout}"] = float(np.abs(ours - end).max() / displacement)
    return found


def roundings_apart(trajectory: Trajectory, outcome: Outcome, dtype: torch.dtype) -> tuple[float, float]:
    """Share of weights that differ from the reference's rounded ones, and by how many roundings of the largest."""
    pairs = list(zip(outcome.weights, trajectory.end, strict=True))
    n_different = sum(int(np.sum(ours != end)) for ours, end in pairs)
    ulps = [np.abs(ours - end).max() / (torch.finfo(dtype).eps * np.abs(end).max()) for ours, end in pairs]
    return n_different / sum(end.size for end in trajectory.end), float(max(ulps))
