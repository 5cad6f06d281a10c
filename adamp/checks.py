"""Rules for hyperparameters, parameters and gradients; every refusal comes before anything is touched."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import required

Group = Mapping[str, Any]

_STRIDED = {torch.strided}


def check_names(optimizer: str, group: Group, hyperparameters: Sequence[str]) -> None:
    """Refuse a misspelt hyperparameter in a parameter group; keys of one's own (`name`, `lr_scale`) may stay.

    Raises:
        ValueError: A key is not a hyperparameter but nearly one.
    """
    for key in group:
        if key in hyperparameters:
            continue
        if near := difflib.get_close_matches(key, hyperparameters, n=1, cutoff=0.85):
            raise ValueError(
                f"{optimizer} has no hyperparameter {key!r}; did you mean {near[0]!r}? "
                f"It has {', '.join(hyperparameters)}."
            )


def check_hyperparameters(optimizer: str, group: Group) -> None:
    """Check every hyperparameter that `group` holds, and the rules that bind several of them.

    Raises:
        ValueError: Names the rule, the value and the way out.
    """
    for name, check in _CHECKS.items():
        if name in group:
            check(name, group[name], optimizer)
    if group.get("nesterov") and "momentum" in group and (group["momentum"] == 0 or group["dampening"] != 0):
        raise ValueError(
            f"{optimizer}: nesterov=True needs momentum > 0 and dampening = 0, "
            f"got momentum={group['momentum']!r} and dampening={group['dampening']!r}; "
            "set them so or leave nesterov=False."
        )


def check_parameters(optimizer: str, params: Iterable[Tensor], channel_dim: int | None) -> None:
    """Refuse tensors that the update is not defined for.

    Raises:
        ValueError: A parameter is distributed, complex, integer or sparse, or lacks the dimension `channel_dim`.
    """
    for param in params:
        if _is_distributed(param):
            raise ValueError(
                f"{optimizer} decides on whole tensors, got one that torch distributes over ranks (a DTensor, or a "
                "parameter of FullyShardedDataParallel); train with DistributedDataParallel, or give that parameter "
                "to an optimizer of torch."
            )
        if not param.is_floating_point() or param.layout != torch.strided:
            raise ValueError(
                f"{optimizer} optimizes dense real floating-point tensors, got a parameter of dtype "
                f"{param.dtype} and layout {param.layout}; give it to another optimizer"
                " (view_as_real makes a complex tensor real)."
            )
        if channel_dim is not None and param.ndim > 1 and not -param.ndim <= channel_dim < param.ndim:
            raise ValueError(
                f"{optimizer}: channel_dim={channel_dim} is not a dimension of a parameter of shape "
                f"{tuple(param.shape)}; put that parameter into a group with a channel_dim of its own."
            )


def check_gradients(optimizer: str, params: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
    """Refuse gradients that the update is not defined for.

    Args:
        optimizer: Its name, for the message.
        params: Parameters, for the message.
        grads: Their gradients.

    Raises:
        RuntimeError: A gradient is sparse or complex.
    """
    if {grad.layout for grad in grads} <= _STRIDED and not any(map(Tensor.is_complex, grads)):
        return
    for param, grad in zip(params, grads, strict=True):
        if grad.layout != torch.strided or grad.is_complex():
            raise RuntimeError(
                f"{optimizer} needs dense real gradients, got one of dtype {grad.dtype} and layout "
                f"{grad.layout} for a parameter of shape {tuple(param.shape)}; no parameter was changed. "
                "Use sparse=False in the embedding, or give that parameter to torch.optim.SparseAdam."
            )


def is_missing(value: object) -> bool:
    """True for torch's placeholder of a value without default; by type, because copies of it lose identity."""
    return isinstance(value, type(required))


def _refuse(optimizer: str, name: str, value: object, rule: str) -> None:
    raise ValueError(f"{optimizer}: {name} must be {rule}, got {value!r}.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_lr(name: str, value: Any, optimizer: str) -> None:
    if is_missing(value):
        raise ValueError(f"{optimizer} has no default learning rate: give lr, or give it in every group.")
    if isinstance(value, Tensor):
        if value.numel() != 1 or not value.is_floating_point():
            _refuse(optimizer, name, value, "a number or a floating-point tensor with one element")
        value = value.item()
    _check_non_negative(name, value, optimizer)


def _check_non_negative(name: str, value: Any, optimizer: str) -> None:
    if not _is_number(value) or not 0 <= value < math.inf:
        _refuse(optimizer, name, value, "a finite number >= 0")


def _check_delta(name: str, value: Any, optimizer: str) -> None:
    # Infinity is meaningful: project always.
    if not _is_number(value) or not value >= 0:
        _refuse(optimizer, name, value, "a number >= 0 (0 never projects)")


def _check_betas(name: str, value: Any, optimizer: str) -> None:
    is_pair = isinstance(value, Sequence) and len(value) == 2
    if not is_pair or not all(_is_number(beta) and 0 <= beta < 1 for beta in value):
        _refuse(optimizer, name, value, "two numbers in [0, 1)")


def _check_momentum(name: str, value: Any, optimizer: str) -> None:
    if not _is_number(value) or not 0 <= value < 1:
        _refuse(optimizer, name, value, "a number in [0, 1), because weight decay divides by 1 - momentum")


def _check_dampening(name: str, value: Any, optimizer: str) -> None:
    if not _is_number(value) or not 0 <= value <= 1:
        _refuse(optimizer, name, value, "a number in [0, 1]")


def _check_flag(name: str, value: Any, optimizer: str) -> None:
    if not isinstance(value, bool):
        _refuse(optimizer, name, value, "True or False")


def _check_differentiable(name: str, value: Any, optimizer: str) -> None:
    _check_flag(name, value, optimizer)
    if value:
        raise ValueError(
            f"{optimizer} does not support differentiable=True: its step changes weights in place, without autograd."
        )


def _check_fused(name: str, value: Any, optimizer: str) -> None:
    if value is not None:
        _check_flag(name, value, optimizer)


def _is_distributed(param: Tensor) -> bool:
    """By name, because torch.distributed is not built everywhere; FSDP marks what it flattens into 1-d pieces."""
    is_dtensor = any(kind.__name__ == "DTensor" for kind in type(param).__mro__)
    return is_dtensor or bool(getattr(param, "_fsdp_flattened", False))


def _check_channel_dim(name: str, value: Any, optimizer: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(optimizer, name, value, "an integer, the dimension that counts output channels")


_CHECKS = {
    "lr": _check_lr,
    "betas": _check_betas,
    "momentum": _check_momentum,
    "dampening": _check_dampening,
    "eps": _check_non_negative,
    "weight_decay": _check_non_negative,
    "delta": _check_delta,
    "wd_ratio": _check_non_negative,
    "nesterov": _check_flag,
    "channel_dim": _check_channel_dim,
    "maximize": _check_flag,
    "capturable": _check_flag,
    "differentiable": _check_differentiable,
    "fused": _check_fused,
    "deterministic": _check_flag,
}
