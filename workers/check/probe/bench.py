"""An optimizer on a few small parameters, stepped on gradients that are the same on every side."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .cases import SMALL, Case, Shape
from .gradients import draw_gradients, start_weights

Make = Callable[..., Any]

ABSENT = "there is no such method"

_SEED = 20
_EMPTY = inspect.Parameter.empty
_OPTIONAL = inspect.Parameter("closure", inspect.Parameter.KEYWORD_ONLY, default=None)


class Bench:
    """An optimizer with its parameters.

    Attributes:
        params: All of them, in order.
        methods: Names of methods without arguments that `told` calls.
    """

    def __init__(
        self,
        make: Make,
        arguments: dict[str, Any] | None = None,
        *,
        dtype: torch.dtype = torch.float64,
        shapes: Sequence[Shape] = SMALL,
        n_groups: int = 1,
        methods: Sequence[str] = (),
    ) -> None:
        self.make, self.arguments, self.methods = make, arguments or {}, methods
        self._case, self._step = Case("mixed", seed=_SEED, shapes=tuple(shapes)), 0
        self.params = [weight.to(dtype).requires_grad_() for weight in start_weights(self._case)]
        self.optimizer = make(self.groups(n_groups), **self.arguments)

    def groups(self, n_groups: int) -> Any:
        """The parameters, in turn in `n_groups` groups."""
        if n_groups == 1:
            return self.params
        return [{"params": self.params[i::n_groups]} for i in range(n_groups)]

    def give(self, factor: float = 1.0) -> None:
        """Give every parameter the next step's gradient."""
        weights = [param.detach().double() for param in self.params]
        groups = getattr(self.optimizer, "param_groups", [{}])
        for param, grad in zip(self.params, draw_gradients(self._case, self._step, weights, groups[0]), strict=True):
            param.grad = (factor * grad).to(param.dtype)
        self._step += 1

    def steps(self, n_steps: int, factor: float = 1.0) -> "Bench":
        """Take steps; returns itself."""
        for _ in range(n_steps):
            self.give(factor)
            self.step()
        return self

    def step(self) -> Any:
        """One step on the gradients that are there, with a closure where the optimizer asks for one."""
        needs_closure = inspect.signature(self.optimizer.step).parameters.get("closure", _OPTIONAL).default is _EMPTY
        return self.optimizer.step(_no_loss) if needs_closure else self.optimizer.step()

    @property
    def weights(self) -> Tensor:
        """All elements, one after the other."""
        return torch.cat([param.detach().reshape(-1) for param in self.params])

    def told(self) -> dict[str, Any]:
        """Weights and state, and what the methods answer."""
        state = {i: self.optimizer.state[param] for i, param in enumerate(self.params) if param in self.optimizer.state}
        return {"weights": self.weights, "state": state, "answers": self.answers()}

    def told_in_full(self) -> dict[str, Any]:
        """As `told`, but the state and the groups as they are saved."""
        saved = self.optimizer.state_dict()
        return {"weights": self.weights, "state_dict": saved, "answers": self.answers()}

    def answers(self) -> dict[str, Any]:
        """The methods' answers, in their order."""
        return {
            f"{i} {name}": getattr(self.optimizer, name)() if hasattr(self.optimizer, name) else ABSENT
            for i, name in enumerate(self.methods)
        }


def _no_loss() -> Tensor:
    return torch.zeros(())
