"""A side in this process, and optimizers that are right, wrong, or odd."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from pathlib import Path
from typing import Any

import torch

from service.domain.checks import CheckVerdict, Finding, LayerResult, Side
from workers.check.config import CheckConfig, make_config
from workers.check.numerics import run_numerics
from workers.check.probe.commands import COMMANDS
from workers.check.probe.session import maker

HERE = Path(__file__)


class SameProcess:
    """Answers a probe's commands without a process of its own."""

    def __init__(self, name: str, role: str, arguments: dict[str, Any]) -> None:
        self.role, self.side = role, Side(name, "numerics_support:Right", "")
        self._make = maker(f"{HERE}:{name}", arguments)
        parameters = inspect.signature(self._make.optimizer).parameters
        self.description = {"signature": {key: repr(value.default) for key, value in parameters.items()}}

    def call(self, command: str, *, timeout_s: float, **arguments: Any) -> dict[str, Any]:  # noqa: ARG002
        return COMMANDS[command](self._make, arguments)


def config_of(**more: Any) -> CheckConfig:
    table = {
        "optimizer": "numerics_support:Right",
        "arguments": {"lr": 0.1},
        "dimensions": {"weight_decay": [0.0, 0.1], "heavy": [False, True]},
        "steps": 4,
        "long_steps": 30,
        "interface": False,
        **more,
    }
    return make_config("toy", table, HERE.parent)


def checked(candidate: str, baseline: str = "Right", **more: Any) -> LayerResult:
    config = config_of(**more)
    sides: list[Any] = [
        SameProcess(name, role, dict(config.arguments))
        for name, role in ((baseline, "baseline"), (candidate, "candidate"))
    ]
    return run_numerics(*sides, config, 0, lambda _: None)


checked_once = functools.cache(checked)


def failing(result: LayerResult) -> dict[str, Finding]:
    return {finding.name: finding for finding in result.findings if finding.verdict is CheckVerdict.FAIL}


class Right(torch.optim.Optimizer):
    """Momentum and decoupled decay."""

    def __init__(
        self, params: Any, lr: float = 0.1, weight_decay: float = 0.0, heavy: bool = False, damping: float = 0.25
    ):
        if damping < 0:
            raise ValueError("damping must be >= 0")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "heavy": heavy, "damping": damping})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self.move(param, self.state[param], group)
        return loss

    def move(self, param: Any, state: Any, group: Any) -> None:
        if "buffer" not in state:
            state["buffer"] = torch.zeros_like(param)
        state["buffer"].mul_(0.9 if group["heavy"] else 0.5).add_(param.grad)
        param.mul_(1 - group["lr"] * group["weight_decay"])
        param.sub_(group["lr"] * (1 - group["damping"]) * state["buffer"])


class Reordered(Right):
    def move(self, param: Any, state: Any, group: Any) -> None:
        if "buffer" not in state:
            state["buffer"] = torch.zeros_like(param)
        state["buffer"].copy_(state["buffer"] * (0.9 if group["heavy"] else 0.5) + param.grad)
        factor = group["lr"] * (1 - group["damping"])
        param.copy_(param - (param * (group["lr"] * group["weight_decay"]) + state["buffer"] * factor))


class CoupledDecayWhenHeavy(Right):
    def move(self, param: Any, state: Any, group: Any) -> None:
        if group["heavy"] and group["weight_decay"]:
            group = {**group, "weight_decay": 0.5 * group["weight_decay"]}
        super().move(param, state, group)


class Forgetful(Right):
    """Loses its state at step 20."""

    def move(self, param: Any, state: Any, group: Any) -> None:
        state["n"] = state.get("n", 0) + 1
        if state["n"] == 20:
            state["buffer"].zero_()
        super().move(param, state, group)


class Damped(Right):
    """Ignores damping below a third."""

    def move(self, param: Any, state: Any, group: Any) -> None:
        super().move(param, state, {**group, "damping": 0.3})


class Coarse(Right):
    """Right in 64 bit; in 32 bit it computes in 16."""

    def move(self, param: Any, state: Any, group: Any) -> None:
        given = param.grad
        if param.dtype == torch.float32:
            param.grad = given.bfloat16().float()
        super().move(param, state, group)
        param.grad = given


class Scribbler(Right):
    def move(self, param: Any, state: Any, group: Any) -> None:
        super().move(param, state, group)
        param.grad.zero_()


class Raising(Right):
    def move(self, param: Any, state: Any, group: Any) -> None:
        if not param.is_contiguous():
            raise RuntimeError("view size is not compatible")
        super().move(param, state, group)


class MatricesOnly(Right):
    """As torch's Muon."""

    def __init__(self, params: Any, **arguments: Any) -> None:
        super().__init__(params, **arguments)
        if any(param.ndim != 2 for group in self.param_groups for param in group["params"]):
            raise ValueError("it steps matrices only")


class Deaf(Right):
    """Runs the closure without gradients."""

    def step(self, closure: Any = None) -> Any:
        with torch.no_grad():
            return super().step(None if closure is None else self.deafly(closure))

    @staticmethod
    def deafly(closure: Any) -> Any:
        return torch.no_grad()(closure)


class Random(Right):
    drawn = 0

    def move(self, param: Any, state: Any, group: Any) -> None:
        Random.drawn += 1
        super().move(param, state, {**group, "damping": 0.1 * (Random.drawn % 7)})


class NotANumber(Right):
    def move(self, param: Any, state: Any, group: Any) -> None:
        super().move(param, state, group)
        if param.ndim == 4:
            param[0] = float("nan")


class OtherWords(Right):
    """Refuses the same, in other words."""

    def __init__(
        self, params: Any, lr: float = 0.1, weight_decay: float = 0.0, heavy: bool = False, damping: float = 0.25
    ):
        if damping < 0:
            raise ValueError("damping is below 0")
        super().__init__(params, lr, weight_decay, heavy, damping)


class Lenient(Right):
    """Takes a negative damping for a positive one."""

    def __init__(
        self, params: Any, lr: float = 0.1, weight_decay: float = 0.0, heavy: bool = False, damping: float = 0.25
    ):
        super().__init__(params, lr, weight_decay, heavy, abs(damping) if damping == damping else damping)


class OtherDefault(Right):
    def __init__(
        self, params: Any, lr: float = 0.1, weight_decay: float = 0.0, heavy: bool = False, damping: float = 0.5
    ):
        super().__init__(params, lr, weight_decay, heavy, damping)


class WideState(Right):
    """Keeps the state of 32-bit weights in 64 bit."""

    def move(self, param: Any, state: Any, group: Any) -> None:
        if "buffer" not in state:
            state["buffer"] = torch.zeros_like(param, dtype=torch.float64)
        super().move(param, state, group)


class Sharing(Right):
    """Goes on writing into the state that it was given."""

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        for key, entry in zip(self.param_groups[0]["params"], state_dict["state"].values(), strict=False):
            self.state[key].update(entry)


class Amnesiac(Right):
    """Does not copy what it knows."""

    def __deepcopy__(self, memo: Any) -> Any:
        return type(self)(copy.deepcopy(self.param_groups, memo), **self.defaults)


class Waiting(Right):
    """Waits for a value in every step."""

    def move(self, param: Any, state: Any, group: Any) -> None:
        if param.grad.norm().item() < math.inf:
            super().move(param, state, group)


class Older(Right):
    """Fills in what pickles of an earlier version lack."""

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("damping", 0.25)


class LateChecks(Right):
    """Checks its arguments after its parameters."""

    def __init__(
        self, params: Any, lr: float = 0.1, weight_decay: float = 0.0, heavy: bool = False, damping: float = 0.25
    ):
        super().__init__(params, lr, weight_decay, heavy, max(damping, 0))
        if damping < 0:
            raise ValueError("damping must be >= 0")
        self.param_groups[0]["damping"] = self.defaults["damping"] = damping


class Private(Right):
    """Keeps a table of its own."""

    def __init__(self, params: Any, **arguments: Any) -> None:
        self._table = dict[int, int]()
        super().__init__(params, **arguments)

    __init__.__signature__ = inspect.signature(Right.__init__)  # type: ignore[attr-defined]


class Telling(Right):
    def told(self) -> dict[str, float]:
        return {"lr": self.param_groups[0]["lr"]}


class TellingLess(Right):
    def told(self) -> dict[str, float]:
        return {"lr": 0.9 * self.param_groups[0]["lr"]}


def moves_at_all(make: Any) -> str:
    param = torch.nn.Parameter(torch.ones(2))
    param.grad = torch.ones(2)
    make([param]).step()
    return "" if not torch.equal(param, torch.ones(2)) else "it does not move"


def never_holds(make: Any) -> None:
    assert make is None, "make is something"
