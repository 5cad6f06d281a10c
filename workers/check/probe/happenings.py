"""What may happen to an optimizer between two steps, and gradients and weights at the ends of the numbers."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from .bench import Bench, Make
from .cases import ODD, SMALL, Shape
from .notes import MEASURED, Notes, tolerance
from .refusals import arguments_of

Happening = Callable[[Bench], Any]


def happenings(make: Make, notes: Notes, methods: Sequence[str]) -> None:
    """Something happens after three steps, once and again, with steps between; weights, state and answers."""
    for label, happen in [*_HAPPENINGS.items(), *_changes(make)]:
        bench = Bench(make, n_groups=2, methods=methods).steps(3)
        for time in ("once", "again"):
            notes.trial(f"{label}, {time}", lambda bench=bench, happen=happen: happen(bench))  # type: ignore[misc]
            notes.floor = tolerance(param.dtype for param in bench.params)
            notes.trial(f"{label}, {time}, then", lambda bench=bench: bench.steps(2).told(), MEASURED)  # type: ignore[misc]
        notes.floor = 0.0


def extremes(make: Make, notes: Notes, methods: Sequence[str]) -> None:
    """Single steps at arguments, gradients and weights that are zero, huge, tiny, infinite or no numbers."""
    for label, arguments in _arguments(make).items():
        for size in _SIZES if not arguments else _FEW_SIZES:
            for shapes in (SMALL, ODD):
                notes.trial(
                    f"{label}, {size}, {len(shapes)} tensors",
                    lambda a=arguments, s=shapes, x=_SIZES[size]: _stepped(make, a, s, x, methods),  # type: ignore[misc]
                    MEASURED,
                )


def _stepped(
    make: Make, arguments: dict[str, Any], shapes: tuple[Shape, ...], size: tuple[float, float], methods: Sequence[str]
) -> dict[str, Any]:
    weight, grad = size
    bench = Bench(make, arguments, shapes=shapes, methods=methods)
    with torch.no_grad():
        for param in bench.params:
            param.mul_(weight)
    bench.give(grad)
    bench.step()
    first = [bench.weights.clone(), bench.answers()]
    return {"first": first, "second": bench.steps(1, grad).weights}


_SIZES = {
    "plain": (1.0, 1.0),
    "no gradient": (1.0, 0.0),
    "no weight": (0.0, 1.0),
    "huge gradient": (1.0, 1e200),
    "huge": (1e200, 1e200),
    "tiny": (1e-200, 1e-200),
    "infinite gradient": (1.0, float("inf")),
    "gradients that are no numbers": (1.0, float("nan")),
}


_FEW_SIZES = ("plain", "no gradient")


def _arguments(make: Make) -> dict[str, dict[str, Any]]:
    """Each number at zero, at one and beyond; and lr and weight decay at one together."""
    known = arguments_of(make)
    found: dict[str, dict[str, Any]] = {"as configured": {}}
    for name in known:
        for value in (0.0, 1.0, 4.0, float("inf")):
            with contextlib.suppress(Exception):
                make([torch.ones(2, 2, requires_grad=True)], **{name: value})
                found[f"{name}={value}"] = {name: value}
    if {"lr", "weight_decay"} <= set(known):
        found["lr and weight decay 1"] = {"lr": 1.0, "weight_decay": 1.0}
    return found


def _changes(make: Make) -> Iterator[tuple[str, Happening]]:
    """Every hyperparameter of the first group, changed as a schedule would: halved, or turned."""

    def change(name: str) -> Happening:
        def act(bench: Bench) -> Any:
            group = bench.optimizer.param_groups[0]
            group[name] = _other(group[name])
            return group[name]

        return act

    for name in Bench(make).optimizer.param_groups[0]:
        if name not in ("params", "fused"):
            yield f"another {name}", change(name)


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 1 - value
    if isinstance(value, float):
        return 0.5 * value + 0.01
    return tuple(0.9 * entry for entry in value) if isinstance(value, tuple) else value


def _set_lr(value: Any) -> Happening:
    def act(bench: Bench) -> None:
        for group in bench.optimizer.param_groups:
            group["lr"] = value() if callable(value) else value

    return act


def _lr_in_place(bench: Bench) -> None:
    for group in bench.optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].mul_(0.5)
        else:
            group["lr"] = _lr(0.01)


def _lr(value: Any) -> torch.Tensor:
    """In 64 bit: what steps in 64 bit then round does not depend on their order."""
    return torch.tensor(value, dtype=torch.float64)


def _refused(make_grad: Callable[[torch.Tensor], torch.Tensor]) -> Happening:
    """A step that is refused must have changed nothing: the weights before and after, and what it says."""

    def act(bench: Bench) -> Any:
        bench.give()
        before, n_states = bench.weights.clone(), len(bench.optimizer.state)
        bench.params[1].grad = make_grad(bench.params[1])
        try:
            bench.step()
        except Exception as error:  # noqa: BLE001 — it is observed
            return [type(error).__name__, str(error), torch.equal(before, bench.weights), n_states]
        return [bench.weights, n_states]

    return act


def _some_missing(bench: Bench) -> None:
    bench.give()
    bench.params[0].grad = bench.params[2].grad = None
    bench.step()


def _none_given(bench: Bench) -> Any:
    for param in bench.params:
        param.grad = None
    return bench.step()


def _new_memory(bench: Bench) -> None:
    for param in bench.params:
        param.data = param.data.clone()


def _other_layout(bench: Bench) -> None:
    for param in bench.params:
        param.data = param.data.mT.contiguous().mT if param.ndim > 1 else param.data


def _other_precision(bench: Bench) -> None:
    for param in bench.params:
        param.grad = None
        param.data = param.data.float()


def _state_anew(bench: Bench) -> None:
    for entry in bench.optimizer.state.values():
        for name, value in entry.items():
            entry[name] = value.clone() if isinstance(value, torch.Tensor) else value


def _state_scaled(bench: Bench) -> None:
    for entry in bench.optimizer.state.values():
        for value in entry.values():
            if isinstance(value, torch.Tensor) and value.ndim:
                value.mul_(0.5)


def _later_group(bench: Bench) -> None:
    further = torch.full((3, 4), 0.5, dtype=torch.float64, requires_grad=True)
    further.grad = torch.arange(12, dtype=torch.float64).reshape(3, 4) - 5
    bench.optimizer.add_param_group({"params": [further]})


def _frozen(bench: Bench) -> None:
    bench.params[1].requires_grad = False


def _with_closure(answer: Any) -> Happening:
    def act(bench: Bench) -> Any:
        calls: list[bool] = []

        def closure() -> Any:
            calls.append(torch.is_grad_enabled())
            bench.give()
            return answer

        return [bench.optimizer.step(closure), calls]

    return act


def _in_inference(bench: Bench) -> None:
    with torch.no_grad():
        bench.steps(1)


_HAPPENINGS: dict[str, Happening] = {
    "nothing": lambda _: None,
    "lr 0": _set_lr(0.0),
    "lr an integer": _set_lr(1),
    "lr a tensor": _set_lr(lambda: _lr(0.01)),
    "lr a tensor, halved in place": _lr_in_place,
    "lr a tensor of one element": _set_lr(lambda: _lr([0.01])),
    "lr a tensor with a gradient": _set_lr(lambda: _lr(0.01).requires_grad_()),
    "lr a tensor of two": _set_lr(lambda: _lr([0.01, 0.02])),
    "some gradients missing": _some_missing,
    "all gradients missing": _none_given,
    "a parameter frozen": _frozen,
    "a sparse gradient": _refused(lambda param: torch.ones_like(param, requires_grad=False).to_sparse()),
    "a strided gradient": _refused(lambda param: torch.ones(2 * param.numel(), dtype=param.dtype)[::2].view_as(param)),
    "weights in new memory": _new_memory,
    "weights in another layout": _other_layout,
    "weights in 32 bit": _other_precision,
    "state in new memory": _state_anew,
    "state halved": _state_scaled,
    "state lost": lambda bench: bench.optimizer.state.clear(),
    "state of one lost": lambda bench: bench.optimizer.state.pop(bench.params[1], None),
    "one more group": _later_group,
    "first group gone": lambda bench: bench.optimizer.param_groups.pop(0) and None,
    "zero_grad": lambda bench: bench.optimizer.zero_grad(),
    "a closure that returns a number": _with_closure(0.5),
    "a closure that returns a tensor": _with_closure(torch.tensor(0.5)),
    "a closure that returns nothing": _with_closure(None),
    "a step without gradients on": _in_inference,
}
