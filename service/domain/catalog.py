"""What can be compared: optimizers with their hyperparameters and default ranges, and workloads with their options.

The built-in entries stand here, as data that the API, the coordinator and the workers share. Workers may register
more; those travel as the same dictionaries (`to_dict`, `from_dict`).

Default ranges: the conventions measured for this project on scikit-learn's digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.domain.space import Dimension, Space, Value, log, space_from_dict, space_to_dict


@dataclass(frozen=True)
class Hyperparameter:
    """One argument of an optimizer, or option of a workload.

    Attributes:
        name: torch's name, or `one_minus_beta1`, `one_minus_beta2`, `one_minus_momentum`.
        kind: "float", "int", "bool" or "str".
        default: Value where nothing else is said; None where one must be given.
        low: Smallest value allowed (inclusive unless `is_low_open`).
        high: Largest value allowed (inclusive unless `is_high_open`).
    """

    name: str
    kind: str = "float"
    default: Value | None = None
    low: float = -math.inf
    high: float = math.inf
    is_low_open: bool = False
    is_high_open: bool = False

    def problem_with(self, value: object) -> str | None:
        """Why `value` is not allowed, or None."""
        if self.kind == "bool":
            return None if isinstance(value, bool) else f"{self.name} must be true or false, got {value!r}"
        if self.kind == "str":
            return None if isinstance(value, str) else f"{self.name} must be text, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{self.name} must be a finite number, got {value!r}"
        if self.kind == "int" and not float(value).is_integer():
            return f"{self.name} must be a whole number, got {value!r}"
        too_low = value <= self.low if self.is_low_open else value < self.low
        too_high = value >= self.high if self.is_high_open else value > self.high
        return f"{self.name} must be in {self.interval}, got {value!r}" if too_low or too_high else None

    def normalized(self, value: Value) -> Value:
        """The value with 15.0 written as 15 where a whole number is wanted: code counts with it."""
        is_whole = self.kind == "int" and isinstance(value, float) and value.is_integer()
        return int(value) if is_whole else value

    @property
    def interval(self) -> str:
        """The allowed range in mathematical notation, such as "[0, 1)"."""
        left = "(" if self.is_low_open or math.isinf(self.low) else "["
        right = ")" if self.is_high_open or math.isinf(self.high) else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"

    def to_dict(self) -> dict[str, Any]:
        """JSON form; infinite ends become null."""
        return {
            "name": self.name,
            "kind": self.kind,
            "default": self.default,
            "low": None if math.isinf(self.low) else self.low,
            "high": None if math.isinf(self.high) else self.high,
            "is_low_open": self.is_low_open,
            "is_high_open": self.is_high_open,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Hyperparameter:
        """Read the JSON form."""
        low, high = data.get("low"), data.get("high")
        ends = {"low": -math.inf if low is None else low, "high": math.inf if high is None else high}
        return cls(**{**data, **ends})


@dataclass(frozen=True)
class Optimizer:
    """An optimizer that arms may name.

    Attributes:
        family: "sgd" or "adam" for the built-in ones, else "other"; colours in pictures follow it.
        decay: "coupled" (L2 added to the gradient), "decoupled", or "unknown".
        has_projection: True for SGDP and AdamP.
        default_space: What an arm searches, and fixes, where its file does not say otherwise.
        import_name: Where the class lives, "module:Class".
    """

    name: str
    family: str
    decay: str
    has_projection: bool
    hyperparameters: tuple[Hyperparameter, ...]
    default_space: Space
    import_name: str

    def hyperparameter(self, name: str) -> Hyperparameter | None:
        """The hyperparameter of that name, or None."""
        return next((entry for entry in self.hyperparameters if entry.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "name": self.name,
            "family": self.family,
            "decay": self.decay,
            "has_projection": self.has_projection,
            "hyperparameters": [entry.to_dict() for entry in self.hyperparameters],
            "default_space": space_to_dict(self.default_space),
            "import_name": self.import_name,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Optimizer:
        """Read the JSON form."""
        hyperparameters = tuple(Hyperparameter.from_dict(entry) for entry in data["hyperparameters"])
        space = space_from_dict(data["default_space"])
        return cls(**{**data, "hyperparameters": hyperparameters, "default_space": space})


@dataclass(frozen=True)
class Workload:
    """A training task that studies may name; its code is registered by workers under the same name.

    Attributes:
        endpoint: What is compared, such as "NLL": positive, lower is better, used on the log scale.
        chance_level: The endpoint of a model that knows nothing; a diverged run counts as this.
        options: What a study file may set.
        metrics: Names of the further numbers that a run reports.
        cpu_s_per_run: Rough processor seconds of one run with default options, for the first estimate of a cost.
        device_classes: Where it runs: "cpu", "cuda".
    """

    name: str
    title: str
    endpoint: str
    chance_level: float
    options: tuple[Hyperparameter, ...] = ()
    metrics: tuple[str, ...] = ()
    cpu_s_per_run: float = 1.0
    device_classes: tuple[str, ...] = ("cpu", "cuda")

    def option(self, name: str) -> Hyperparameter | None:
        """The option of that name, or None."""
        return next((entry for entry in self.options if entry.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**self.__dict__, "options": [entry.to_dict() for entry in self.options]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Workload:
        """Read the JSON form."""
        options = tuple(Hyperparameter.from_dict(entry) for entry in data["options"])
        rest = {"metrics": tuple(data["metrics"]), "device_classes": tuple(data["device_classes"])}
        return cls(**{**data, "options": options, **rest})


@dataclass(frozen=True)
class Catalog:
    """All optimizers and workloads that a study may name, by name."""

    optimizers: Mapping[str, Optimizer] = field(default_factory=dict)
    workloads: Mapping[str, Workload] = field(default_factory=dict)

    def extended(self, optimizers: Mapping[str, Optimizer], workloads: Mapping[str, Workload]) -> Catalog:
        """A catalog with what workers registered; built-in entries win where a name is taken."""
        return Catalog({**optimizers, **self.optimizers}, {**workloads, **self.workloads})


def _lr() -> Hyperparameter:
    return Hyperparameter("lr", default=None, low=0.0, is_low_open=True)


_WEIGHT_DECAY = Hyperparameter("weight_decay", default=0.0, low=0.0)
_EPS = Hyperparameter("eps", default=1e-8, low=0.0, is_low_open=True)
_NESTEROV = Hyperparameter("nesterov", kind="bool", default=False)
_SGD = (
    _lr(),
    Hyperparameter("momentum", default=0.9, low=0.0, high=1.0, is_high_open=True),
    Hyperparameter("one_minus_momentum", default=0.1, low=0.0, high=1.0, is_low_open=True),
    Hyperparameter("dampening", default=0.0, low=0.0, high=1.0),
    _WEIGHT_DECAY,
    _NESTEROV,
)
_ADAM = (
    _lr(),
    Hyperparameter("beta1", default=0.9, low=0.0, high=1.0, is_high_open=True),
    Hyperparameter("one_minus_beta1", default=0.1, low=0.0, high=1.0, is_low_open=True),
    Hyperparameter("beta2", default=0.999, low=0.0, high=1.0, is_high_open=True),
    Hyperparameter("one_minus_beta2", default=0.001, low=0.0, high=1.0, is_low_open=True),
    _EPS,
    _WEIGHT_DECAY,
)
_PROJECTION = (
    Hyperparameter("delta", default=0.1, low=0.0),
    Hyperparameter("wd_ratio", default=0.1, low=0.0, high=1.0),
)
_SGD_SPACE: Space = {
    "lr": log(1e-3, 1.0),
    "weight_decay": log(1e-6, 1e-2),
    "one_minus_momentum": 0.1,
    "nesterov": True,
}
_ADAM_SPACE: Space = {"lr": log(1e-4, 1e-1), "weight_decay": log(1e-6, 1e-2), "one_minus_beta1": 0.1}
_ADAMW_SPACE: Space = {**_ADAM_SPACE, "weight_decay": log(1e-4, 1.0)}
_PROJECTION_SPACE: Space = {"delta": 0.1, "wd_ratio": 0.1}

_BUILT_IN_OPTIMIZERS = (
    Optimizer("SGD", "sgd", "coupled", False, _SGD, _SGD_SPACE, "torch.optim:SGD"),
    Optimizer("SGDW", "sgd", "decoupled", False, _SGD, _SGD_SPACE, "adamp:SGDW"),
    Optimizer(
        "SGDP",
        "sgd",
        "decoupled",
        True,
        (*_SGD, _EPS, *_PROJECTION),
        {**_SGD_SPACE, **_PROJECTION_SPACE},
        "adamp:SGDP",
    ),
    Optimizer("Adam", "adam", "coupled", False, _ADAM, _ADAM_SPACE, "torch.optim:Adam"),
    Optimizer("AdamW", "adam", "decoupled", False, _ADAM, _ADAMW_SPACE, "torch.optim:AdamW"),
    Optimizer(
        "AdamP",
        "adam",
        "decoupled",
        True,
        (*_ADAM, *_PROJECTION, _NESTEROV),
        {**_ADAMW_SPACE, **_PROJECTION_SPACE},
        "adamp:AdamP",
    ),
)


def _digits(name: str, title: str, epochs: int, width: int, cpu_s_per_run: float) -> Workload:
    options = (
        Hyperparameter("epochs", kind="int", default=epochs, low=1, high=1000),
        Hyperparameter("batch_size", kind="int", default=64, low=8, high=512),
        Hyperparameter("width", kind="int", default=width, low=2, high=512),
    )
    metrics = ("validation_accuracy", "test_accuracy", "train_loss")
    return Workload(name, title, "NLL", math.log(10), options, metrics, cpu_s_per_run)


# Epochs and widths: of the settings tried, those with the least (variance between seeds of the log endpoint's paired
# difference) x (cost); larger and longer ones saturate, and a few test examples then decide the endpoint.
_BUILT_IN_WORKLOADS = (
    _digits("digits-cnn", "scikit-learn digits, convolutional network with BatchNorm", 10, 8, 0.35),
    _digits("digits-mlp", "scikit-learn digits, multilayer perceptron with BatchNorm", 15, 32, 0.2),
)

BUILT_IN = Catalog(
    {entry.name: entry for entry in _BUILT_IN_OPTIMIZERS},
    {entry.name: entry for entry in _BUILT_IN_WORKLOADS},
)

_COMPLEMENTS = {"one_minus_beta1": "beta1", "one_minus_beta2": "beta2", "one_minus_momentum": "momentum"}


def conflicting_names(space: Space) -> list[tuple[str, str]]:
    """Pairs of entries that set the same argument twice, such as momentum and one_minus_momentum."""
    return [(a, b) for a, b in _COMPLEMENTS.items() if a in space and b in space]


def constructor_arguments(params: Mapping[str, Value]) -> dict[str, Any]:
    """Turn a trial's parameters into keyword arguments of the optimizer's class.

    `one_minus_x` becomes `x`; beta1 and beta2 become `betas`, with torch's default for the one not given.
    """
    values: dict[str, Any] = {}
    for name, value in params.items():
        if name in _COMPLEMENTS:
            values[_COMPLEMENTS[name]] = 1.0 - float(value)
        else:
            values[name] = value
    if "beta1" in values or "beta2" in values:
        values["betas"] = (values.pop("beta1", 0.9), values.pop("beta2", 0.999))
    return values


def merged_space(optimizer: Optimizer, overrides: Mapping[str, Dimension | Value]) -> dict[str, Dimension | Value]:
    """The optimizer's default space with an arm's own entries; an entry replaces its complement too."""
    replaced = {_COMPLEMENTS.get(name, name) for name in overrides}
    kept = {k: v for k, v in optimizer.default_space.items() if _COMPLEMENTS.get(k, k) not in replaced}
    return {**kept, **overrides}
