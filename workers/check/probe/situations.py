"""What is special about a case, made real: how tensors lie, which of them have gradients, what happens in mid-run."""

import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .cases import Case

Make = Callable[..., Any]


class Run:
    """An optimizer with its parameters in the middle of a case.

    Attributes:
        returned: Per step, what `step` returned, how often it called the closure, and whether gradients were on in it.
        has_moved_gradients: Whether a step changed a gradient.
    """

    def __init__(self, make: Make, case: Case, weights: list[Tensor]) -> None:
        self._make, self._case = make, case
        self._params = [_place(weight, case) for weight in weights]
        self._optimizer = make(_groups(make, case, self._params))
        self.returned: list[Any] = []
        self.has_moved_gradients = False

    @property
    def weights(self) -> Tensor:
        """All elements in float64, one after the other."""
        return torch.cat([param.detach().double().reshape(-1) for param in self._params])

    @property
    def first_group(self) -> dict[str, Any]:
        """The hyperparameters of the first group."""
        groups: list[dict[str, Any]] = getattr(self._optimizer, "param_groups", [])
        return groups[0] if groups else {}

    def group_of(self, i: int) -> dict[str, Any] | None:
        """The parameter group of tensor `i`; None while it has none."""
        for group in getattr(self._optimizer, "param_groups", []):
            if any(param is self._params[i] for param in group["params"]):
                found: dict[str, Any] = group
                return found
        return None

    def has_gradient(self, i: int, step: int) -> bool:
        """Whether tensor `i` has a gradient in this step."""
        is_last = i == len(self._params) - 1
        return self._case.situation != "missing-gradients" or ((i + step) % 3 != 0 and not is_last)

    def step(self, step: int, grads: list[Tensor]) -> None:
        """What happens before this step, and the step."""
        self._happen(step)
        laid = [_lay(g, p, self._case, step) for g, p in zip(grads, self._params, strict=True)]
        given = [grad if self.has_gradient(i, step) else None for i, grad in enumerate(laid)]
        kept = [None if grad is None else grad.clone() for grad in given]
        self.returned.append(self._take(step, given))
        for param, grad, copy in zip(self._params, given, kept, strict=True):
            is_same = grad is None or (copy is not None and torch.equal(grad, copy))
            self.has_moved_gradients |= param.grad is not grad or not is_same

    def _take(self, step: int, grads: list[Tensor | None]) -> list[Any]:
        calls: list[bool] = []

        def closure() -> float:
            calls.append(torch.is_grad_enabled())
            self._give(grads)
            return step + 0.5

        if self._case.situation == "closure":
            with torch.no_grad():  # the closure must have gradients all the same
                returned = self._optimizer.step(closure)
        else:
            self._give(grads)
            returned = self._optimizer.step()
        return [None if returned is None else float(returned), *calls]

    def _give(self, grads: list[Tensor | None]) -> None:
        for param, grad in zip(self._params, grads, strict=True):
            param.grad = grad

    def _happen(self, step: int) -> None:
        situation, middle = self._case.situation, self._case.steps // 2
        if situation == "late-group" and step == max(1, self._case.steps // 3):
            self._optimizer.add_param_group({"params": self._params[-2:]})
        if situation == "lr-schedule" and step == middle:
            for group in self._optimizer.param_groups:
                group["lr"] = group["lr"] / 4
        if situation == "round-trip" and step == middle:
            self._reload()

    def _reload(self) -> None:
        buffer = io.BytesIO()
        torch.save(self._optimizer.state_dict(), buffer)
        buffer.seek(0)
        self._params = [_place(param, self._case) for param in self._params]
        self._optimizer = self._make(_groups(self._make, self._case, self._params))
        self._optimizer.load_state_dict(torch.load(buffer, weights_only=True))


def _groups(make: Make, case: Case, params: list[Tensor]) -> Any:
    """What the optimizer is made with."""
    if case.situation == "late-group":
        return params[:-2]
    if case.situation == "two-groups":
        other = {**other_group(case.arguments), "lr": 3 * _lr(make, params)}
        return [{"params": params[::2]}, {"params": params[1::2], **other}]
    if case.situation in ("tensor-lr", "vector-lr"):
        lr = torch.tensor(_lr(make, params), dtype=torch.float64)
        return [{"params": params, "lr": lr.reshape(1) if case.situation == "vector-lr" else lr}]
    return params


def other_group(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the second of two groups, besides lr: its numbers are others."""
    return {key: 0.5 * value + 0.03 if isinstance(value, float) else value for key, value in arguments.items()}


def _lr(make: Make, params: list[Tensor]) -> float:
    return float(make(params).param_groups[0]["lr"])


def _place(weight: Tensor, case: Case) -> Tensor:
    """A leaf of its own memory, in the case's layout."""
    weight = weight.detach().clone()
    if case.situation == "channels-last" and weight.ndim == 4:
        weight = weight.to(memory_format=torch.channels_last)
    if case.situation == "transposed":
        weight = _transposed(weight)
    if case.situation == "strided":
        weight = _every_other(weight)
    return weight.requires_grad_()


def _every_other(weight: Tensor) -> Tensor:
    wide = torch.zeros((*weight.shape, 2), dtype=weight.dtype)
    wide[..., 0] = weight
    return wide[..., 0]


def _transposed(weight: Tensor) -> Tensor:
    order = list(range(weight.ndim))[::-1]
    return weight.permute(order).contiguous().permute(order)


def _lay(grad: Tensor, param: Tensor, case: Case, step: int) -> Tensor:
    """A tensor of its own, in the parameter's layout or, every other step, contiguous."""
    if case.situation in ("channels-last", "transposed", "strided") and step % 2:
        return torch.empty_like(param, requires_grad=False).copy_(grad)
    return grad.clone()
