"""Tables that drive the tests: shapes, gradients, valid inputs, and refused inputs with their messages."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from adamp import SGDP, SGDW, AdamP
from tests.reference.adamp_reference import AdamPReference, SGDPReference

SHAPES = [(), (7,), (5, 3), (6, 4, 3, 3), (9, 1), (1, 8), (2, 3, 4), (16, 300), (0, 3), (3, 0), (0,)]
KINDS = ["channel", "layer", "none", "random"]

# Large learning rates: the displacement is then comparable to the weights, and rounding small beside it.
ADAMP = {
    "lr": 0.1,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "delta": 0.1,
    "wd_ratio": 0.1,
    "nesterov": False,
}
SGDP_ = {
    "lr": 0.05,
    "momentum": 0.9,
    "dampening": 0.0,
    "weight_decay": 0.0,
    "nesterov": False,
    "eps": 1e-8,
    "delta": 0.1,
    "wd_ratio": 0.1,
}


@dataclass(frozen=True)
class Case:
    """A valid input: optimizer, its slow twin, and what differs from the base hyperparameters."""

    optimizer: Any
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def hyper(self) -> dict[str, Any]:
        return {**(ADAMP if self.optimizer is AdamP else SGDP_), **self.changes}

    @property
    def reference(self) -> Any:
        return AdamPReference if self.optimizer is AdamP else SGDPReference

    def __str__(self) -> str:
        changes = ",".join(f"{name}={value}" for name, value in self.changes.items())
        return f"{self.optimizer.__name__}({changes})"


VALID = [
    Case(AdamP),
    Case(AdamP, {"weight_decay": 0.05}),
    Case(AdamP, {"nesterov": True, "weight_decay": 0.05, "wd_ratio": 0.0}),
    Case(AdamP, {"delta": 0.0, "weight_decay": 0.05}),
    Case(AdamP, {"delta": 1.0, "weight_decay": 0.05, "wd_ratio": 1.0}),
    Case(AdamP, {"delta": 1e9, "weight_decay": 0.05}),
    Case(AdamP, {"betas": (0.0, 0.5), "eps": 1e-3}),
    Case(SGDP),
    Case(SGDP, {"weight_decay": 0.01}),
    Case(SGDP, {"nesterov": True, "weight_decay": 0.01}),
    Case(SGDP, {"dampening": 0.3, "delta": 1.0, "weight_decay": 0.01}),
    Case(SGDP, {"momentum": 0.0, "weight_decay": 0.01}),
    Case(SGDP, {"momentum": 0.0, "dampening": 0.3}),
    Case(SGDP, {"delta": 0.0, "weight_decay": 0.01}),
    Case(SGDP, {"delta": 1e9, "weight_decay": 0.01}),
]


def gradient(kind: str, weight: Tensor, generator: torch.Generator) -> Tensor:
    """A gradient that the default delta takes for `kind`, where the shape of `weight` permits it.

    channel: orthogonal to every row. layer: partly along each row, but orthogonal as a whole. none: partly
    against every row. The parts along the rows are small: where a large delta projects them all the same,
    rounding errors of the weight's direction grow by that much in a step.
    """
    noise = torch.randn(weight.shape, dtype=torch.float64, generator=generator)
    if kind == "random" or weight.ndim < 2 or weight.numel() == 0:
        return noise
    rows, noise_rows = weight.reshape(weight.shape[0], -1), noise.reshape(weight.shape[0], -1)
    norms = rows.norm(dim=1, keepdim=True)
    unit = rows / norms
    tangent = noise_rows - unit * (unit * noise_rows).sum(1, keepdim=True)
    along = -torch.ones_like(norms) if kind == "none" else torch.zeros_like(norms)
    if kind == "layer":
        along[1::2] = 1
        along[0::2] = -norms[1::2].sum() / norms[0::2].sum()
    return (tangent + 0.5 * along * unit).reshape(weight.shape)


def initial_weights(generator: torch.Generator, shapes: Any = SHAPES) -> list[Tensor]:
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


# (optimizer, keyword arguments, what the message must say)
REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (AdamP, {"lr": -1.0}, r"AdamP: lr must be a finite number >= 0, got -1\.0"),
    (AdamP, {"lr": float("nan")}, r"AdamP: lr must be a finite number >= 0, got nan"),
    (AdamP, {"lr": float("inf")}, r"AdamP: lr must be a finite number >= 0, got inf"),
    (AdamP, {"lr": "1e-3"}, r"AdamP: lr must be a finite number >= 0, got '1e-3'"),
    (AdamP, {"lr": torch.tensor([0.1, 0.2])}, r"AdamP: lr must be a number or .* one element, got tensor\(\[0\.1"),
    (AdamP, {"lr": torch.tensor(-0.1)}, r"AdamP: lr must be a finite number >= 0, got -0\.1"),
    (AdamP, {"betas": (1.0, 0.999)}, r"AdamP: betas must be two numbers in \[0, 1\), got \(1\.0, 0\.999\)"),
    (AdamP, {"betas": (0.9, -0.1)}, r"AdamP: betas must be two numbers in \[0, 1\)"),
    (AdamP, {"betas": 0.9}, r"AdamP: betas must be two numbers in \[0, 1\), got 0\.9"),
    (AdamP, {"betas": (0.9,)}, r"AdamP: betas must be two numbers in \[0, 1\)"),
    (AdamP, {"eps": -1e-8}, r"AdamP: eps must be a finite number >= 0, got -1e-08"),
    (AdamP, {"weight_decay": -0.1}, r"AdamP: weight_decay must be a finite number >= 0, got -0\.1"),
    (AdamP, {"delta": -0.1}, r"AdamP: delta must be a number >= 0 \(0 never projects\), got -0\.1"),
    (AdamP, {"delta": float("nan")}, r"AdamP: delta must be a number >= 0"),
    (AdamP, {"wd_ratio": -0.1}, r"AdamP: wd_ratio must be a finite number >= 0, got -0\.1"),
    (AdamP, {"nesterov": 1}, r"AdamP: nesterov must be True or False, got 1"),
    (AdamP, {"maximize": None}, r"AdamP: maximize must be True or False, got None"),
    (AdamP, {"channel_dim": 0.5}, r"AdamP: channel_dim must be an integer"),
    (AdamP, {"channel_dim": 2}, r"AdamP: channel_dim=2 is not a dimension of .* shape \(2, 3\); put that param"),
    (AdamP, {"channel_dim": -3}, r"AdamP: channel_dim=-3 is not a dimension of .* shape \(2, 3\)"),
    (SGDP, {}, r"SGDP has no default learning rate: give lr, or give it in every group"),
    (SGDP, {"lr": 0.1, "momentum": 1}, r"SGDP: momentum must be .*\[0, 1\), because weight decay divides by 1 - m"),
    (SGDP, {"lr": 0.1, "momentum": -0.1}, r"SGDP: momentum must be a number in \[0, 1\).* got -0\.1"),
    (SGDP, {"lr": 0.1, "dampening": 1.5}, r"SGDP: dampening must be a number in \[0, 1\], got 1\.5"),
    (SGDP, {"lr": 0.1, "nesterov": True}, r"SGDP: nesterov=True needs momentum > 0 and dampening = 0, got mom"),
    (SGDP, {"lr": 0.1, "nesterov": True}, r"; set them so or leave nesterov=False\.$"),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "nesterov": True}, r"got .*dampening=0\.1; set them so"),
    (SGDP, {"lr": 0.1, "delta": -1}, r"SGDP: delta must be a number >= 0"),
    (SGDP, {"lr": 0.1, "eps": None}, r"SGDP: eps must be a finite number >= 0, got None"),
    (SGDW, {}, r"SGDW has no default learning rate"),
    (SGDW, {"lr": 0.1, "momentum": 1.0}, r"SGDW: momentum must be a number in \[0, 1\)"),
    (SGDW, {"lr": 0.1, "weight_decay": True}, r"SGDW: weight_decay must be a finite number >= 0, got True"),
]
