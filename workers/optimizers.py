"""Optimizers by name: from a trial's parameters to an instance, and from an allow-listed class to a catalog entry.

Every arm is built alike: one parameter group that holds all parameters, weight decay on all of them, biases and the
scales and shifts of normalizations included. That is what `Optimizer(model.parameters(), ...)` does, what torch's
defaults do, and what the experiments of the AdamP paper do; many recipes exempt 1-d tensors instead. Because it is
the same for all arms, no verdict rests on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor
from torch.optim import Optimizer

from service.domain import catalog
from service.domain.catalog import BUILT_IN, Hyperparameter, constructor_arguments
from service.domain.space import Dimension, Value, log
from workers.plugins import InvalidPluginError, import_class

_FUSED, _OURS = {"SGD", "Adam", "AdamW"}, {"SGDW", "SGDP", "AdamP"}
_EXECUTION = {name: {"fused": True} for name in _FUSED} | {name: {"deterministic": True} for name in _OURS}
"""How a step is computed: torch's own by the quickest of their three implementations, deterministic on CPU and GPU;
ours by the quickest path that does not depend on former steps' guesses, so that a resumed trial ends with its bits."""

_SWITCHES = {"maximize", "foreach", "fused", "capturable", "differentiable", "deterministic"}
"""Constructor arguments that choose an implementation or a direction, so that no study searches them."""

_BETAS = ("beta1", "beta2")


def build_optimizer(
    name: str, params: Mapping[str, Value], model_parameters: Iterable[Tensor], *, allowed: Sequence[str] = ()
) -> Optimizer:
    """An optimizer for a model, with the parameters of one trial.

    Args:
        name: A catalog name, or "module:Class" where `allowed` holds exactly that text.
        params: Hyperparameters by their catalog names, such as `one_minus_beta1`.
        model_parameters: All of them go into one group.
        allowed: The worker's allow-list.

    Raises:
        NotAllowedError: Neither built in nor on the allow-list.
        InvalidPluginError: It cannot be imported or is no optimizer.
        ValueError: It has no hyperparameter of that name, or refuses the value.
    """
    cls: Callable[..., Optimizer] = _load(name, allowed)
    entry = BUILT_IN.optimizers.get(name) or _describe(name, _load(name, allowed))
    if unknown := [key for key in params if entry.hyperparameter(key) is None]:
        known = ", ".join(parameter.name for parameter in entry.hyperparameters)
        raise ValueError(f"{name} has no hyperparameter {unknown[0]!r}; it has {known}")
    return cls(list(model_parameters), **constructor_arguments(params), **_EXECUTION.get(name, {}))


def describe_optimizer(name: str, *, allowed: Sequence[str]) -> catalog.Optimizer:
    """The catalog entry of an allow-listed class, read from its constructor's signature.

    Numbers, bools and texts become hyperparameters with their defaults; a pair `betas` becomes beta1 and beta2;
    whatever else has a default is left at it. Searched by default is `lr` alone, from a tenth to a hundred times its
    default.

    Raises:
        NotAllowedError: It is not on the allow-list.
        InvalidPluginError: It cannot be imported, is no optimizer, or needs an argument that no study could give.
    """
    return _describe(name, _load(name, allowed))


def _load(name: str, allowed: Sequence[str]) -> type[Optimizer]:
    built_in = {key: entry.import_name for key, entry in BUILT_IN.optimizers.items()}
    return import_class(name, built_in, allowed, base=Optimizer)


def _describe(name: str, cls: type[Optimizer]) -> catalog.Optimizer:
    arguments = list(inspect.signature(cls).parameters.values())[1:]
    hyperparameters = [entry for argument in arguments for entry in _hyperparameters(name, argument)]
    space: dict[str, Dimension | Value] = {
        entry.name: entry.default for entry in hyperparameters if entry.name in _BETAS and entry.default is not None
    }
    for entry in hyperparameters:
        if entry.name == "lr" and isinstance(entry.default, float):
            space["lr"] = log(entry.default / 10, entry.default * 100)
    return catalog.Optimizer(name, "other", "unknown", False, tuple(hyperparameters), space, name)


def _hyperparameters(name: str, argument: inspect.Parameter) -> list[Hyperparameter]:
    default = argument.default
    if argument.name == "betas" and isinstance(default, tuple) and len(default) == len(_BETAS):
        return [
            hyperparameter for beta, value in zip(_BETAS, default, strict=True) for hyperparameter in _beta(beta, value)
        ]
    if argument.name in _SWITCHES or argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
        return []
    if argument.name == "lr":
        value = float(default) if isinstance(default, (int, float)) else None
        return [Hyperparameter("lr", default=value, low=0.0, is_low_open=True)]
    if default is argument.empty:
        raise InvalidPluginError(f"{name} needs an argument {argument.name!r} that no study could give")
    # A whole default says nothing: `weight_decay=0` takes fractions.
    kinds = {bool: "bool", int: "float", float: "float", str: "str"}
    kind = kinds.get(type(default))
    return [] if kind is None else [Hyperparameter(argument.name, kind=kind, default=default)]


def _beta(name: str, default: float) -> list[Hyperparameter]:
    return [
        Hyperparameter(name, default=default, low=0.0, high=1.0, is_high_open=True),
        Hyperparameter(f"one_minus_{name}", default=1.0 - default, low=0.0, high=1.0, is_low_open=True),
    ]
