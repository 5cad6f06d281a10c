"""What an optimizer's constructor and groups take, and how they refuse the rest."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .bench import Bench, Make
from .notes import Notes

_VALUES: tuple[Any, ...] = (
    *(None, True, False, "x", -1, -2, -3, 0, 1, 2, 3, -0.5, 0.0, 0.5, 1.0, 1.5, float("nan"), float("inf")),
    *((), (0.5,), (0.5, 0.9), [0.5, 0.9], (0.5, 0.9, 0.9), (1.0, 0.9), (0.9, 1.0), (0.9, -0.1), (-0.1, 0.9), ("a", 0)),
    *((True, 0.9), (float("nan"), 0.9), (0.0, 0.0), {"a": 1}),
)
_TENSORS: tuple[Any, ...] = (0.01, -1.0, float("nan"), 1, [0.01], [[0.01]], [0.1, 0.2], [], True)
_FEW: tuple[Any, ...] = (-1.0, "x", None, True, (1.0, 0.9), 7)
_EMPTY: dict[str, Any] = {}


def arguments_of(make: Make) -> list[str]:
    """Names of the constructor's arguments besides the parameters."""
    found = list(inspect.signature(make.optimizer).parameters.values())[1:]  # type: ignore[attr-defined]
    return [entry.name for entry in found if entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL)]


def constructors(make: Make, notes: Notes) -> None:
    """Every argument with values of every kind, flags with every other argument; if it takes them, also a step."""
    cls = make.optimizer  # type: ignore[attr-defined]
    for entry in inspect.signature(cls).parameters.values():
        notes.note(f"signature.{entry.name}", f"{entry.kind.name}, default {entry.default!r}")
    notes.trial("defaults", lambda: make([nn.Parameter(torch.ones(2))]).defaults)
    for label, given in (("without arguments", _EMPTY), ("with lr alone", {"lr": 0.5})):
        notes.trial(label, lambda given=given: _settings(cls([nn.Parameter(torch.ones(2))], **given)))  # type: ignore[misc]
    in_group = {"params": [nn.Parameter(torch.ones(2))], "lr": 0.5}
    notes.trial("lr in the group alone", lambda: _settings(cls([in_group])))
    tensors = [(f"tensor({value!r})", _tensor(value)) for value in _TENSORS]
    for name in arguments_of(make):
        for label, value in [*((repr(value), value) for value in _VALUES), *tensors]:
            notes.trial(f"{name}={label}", lambda name=name, value=value: _made(make, {name: value}))  # type: ignore[misc]
        notes.trial(f"{name}=-1.0 and no parameters", lambda name=name: make([], **{name: -1.0}))  # type: ignore[misc]
    flags = [entry.name for entry in inspect.signature(cls).parameters.values() if isinstance(entry.default, bool)]
    for flag, name, value in itertools.product(flags, arguments_of(make), (0, 1)):
        if flag != name:
            given = {flag: True, name: value}
            notes.trial(f"{flag}=True, {name}={value}", lambda given=given: _made(make, given))  # type: ignore[misc]
    for label, params in _PARAMETERS.items():
        notes.trial(f"parameters: {label}", lambda params=params: _settings(make(params())))  # type: ignore[misc]
    notes.trial("repr", lambda: repr(make([nn.Parameter(torch.ones(2))])).removeprefix(cls.__name__))


def groups(make: Make, notes: Notes) -> None:
    """Groups added in mid-run: each argument in them, misspelt ones, and what is no group; refusals leave nothing."""
    for name in arguments_of(make):
        for value in _FEW:
            _added(make, notes, f"{name}={value!r}", lambda name=name, value=value: {name: value})  # type: ignore[misc]
        for wrong in (f"{name}s", name[:-1], name.upper(), f"my_{name}_of_my_own"):
            _added(make, notes, f"{wrong}=1", lambda wrong=wrong: {wrong: 1})  # type: ignore[misc]
        further = {"own": 1, "lr": 0.5, f"{name}s": 1}
        _added(make, notes, f"own=1, lr=0.5, {name}s=1", lambda further=further: further)  # type: ignore[misc]
    for label, params in _PARAMETERS.items():
        _added(make, notes, label, lambda params=params: {"params": params()})  # type: ignore[misc]
    _added(make, notes, "nothing", dict)
    for what in (None, 3, [], [nn.Parameter(torch.ones(2))], _EMPTY):
        bench = Bench(make).steps(1)
        notes.trial(f"add_param_group({type(what).__name__})", lambda b=bench, w=what: b.optimizer.add_param_group(w))  # type: ignore[misc]
        notes.trial(f"after add_param_group({type(what).__name__})", lambda b=bench: b.steps(1).told())  # type: ignore[misc]


def _added(make: Make, notes: Notes, label: str, group: Callable[[], dict[str, Any]]) -> None:
    bench = Bench(make).steps(1)
    further = nn.Parameter(torch.full((3, 4), 0.5, dtype=torch.float64))
    notes.trial(f"add_param_group({label})", lambda: bench.optimizer.add_param_group({"params": [further], **group()}))
    further.grad = torch.arange(12, dtype=torch.float64).reshape(3, 4) - 5
    notes.trial(
        f"after add_param_group({label})", lambda: [_settings(bench.steps(1).optimizer), bench.weights, further]
    )


def _made(make: Make, given: dict[str, Any]) -> Any:
    bench = Bench(make, given)
    found = _settings(bench.optimizer)
    if any(isinstance(value, torch.Tensor) and not value.is_floating_point() for value in given.values()):
        return [found]  # its products are rounded to 32 bit, in whatever order they are taken
    try:
        bench.steps(1)
    except Exception as error:  # noqa: BLE001 — as above: it is observed
        return [found, type(error).__name__]
    return [found, bench.weights]


def _settings(optimizer: Any) -> list[dict[str, Any]]:
    """The groups, with the number of their parameters."""
    return [{**group, "params": len(group["params"])} for group in optimizer.param_groups]


def _parameter(*shape: int) -> torch.Tensor:
    return nn.Parameter(torch.ones(shape))


def _of_fsdp() -> torch.Tensor:
    """With the mark that torch sets on parameters that FullyShardedDataParallel has flattened."""
    param = _parameter(2, 2)
    param._fsdp_flattened = True  # type: ignore[attr-defined]
    return param


def _tensor(value: Any) -> torch.Tensor:
    """In 64 bit where it is no whole number: the step must not round it."""
    tensor = torch.tensor(value)
    return tensor.double() if tensor.is_floating_point() else tensor


def _twice() -> Any:
    same = _parameter(2, 2)
    return [same, same]


def _again() -> Any:
    same = _parameter(2, 2)
    return [{"params": [same]}, {"params": [same]}]


_PARAMETERS: dict[str, Callable[[], Any]] = {
    "none": list,
    "one tensor": lambda: _parameter(2, 2),
    "a number": lambda: [1.0],
    "words": lambda: ["weight"],
    "one twice": _twice,
    "one in two groups": _again,
    "not a leaf": lambda: [_parameter(2, 2) * 2],
    "without gradient": lambda: [torch.ones(2, 2)],
    "integers": lambda: [torch.ones(2, 2, dtype=torch.int64)],
    "of a DTensor's name": lambda: [
        torch.ones(2, 2).as_subclass(type("DTensor", (torch.Tensor,), {})).requires_grad_()
    ],
    "of FullyShardedDataParallel": lambda: [_of_fsdp()],
    "complex": lambda: [torch.ones(2, 2, dtype=torch.complex64)],
    "sparse": lambda: [torch.ones(2, 2).to_sparse()],
    "a set": lambda: {_parameter(2, 2)},
    "a generator": lambda: (_parameter(n, 2) for n in (1, 2)),
    "named": lambda: [("a", _parameter(2, 2)), ("b", _parameter(3))],
    "half named": lambda: [("a", _parameter(2, 2)), _parameter(3)],
    "a group without params": lambda: [_EMPTY],
    "named groups": lambda: [{"params": [("a", _parameter(2, 2))]}, {"params": [("b", _parameter(3))]}],
    "vectors alone": lambda: [_parameter(3), _parameter()],
    "empty": lambda: [_parameter(0, 3)],
    "16 bit": lambda: [torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)],
    "meta": lambda: [torch.ones(2, 2, device="meta", requires_grad=True)],
}
