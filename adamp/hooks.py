"""torch's hooks and profiler range around `step`, paid for only where somebody listens."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

# Asks in C whether anybody observes, in a thirtieth of the time of `torch.profiler.record_function`.
_Range: Any = getattr(torch._C._profiler, "_RecordFunctionFast", None)


def with_hooks_when_heard(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step` as torch wraps it (hooks before and after, a range for the profiler), but without its cost of 5 us.

    Without hooks, profiler and torch.compile only the range is opened, for other observers. A subclass that overrides
    `step` is wrapped by torch itself, and its call of `super().step()` comes here: then the hooks have run already.
    """
    in_full: Callable[..., Any] = Optimizer.profile_hook_step(step)

    @wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if getattr(type(self).step, "__wrapped__", None) is not step:
            return step(self, *args, **kwargs)
        if _Range is None or torch.compiler.is_compiling() or _is_heard(self):
            return in_full(self, *args, **kwargs)
        with _Range(f"Optimizer.step#{type(self).__name__}.step"):
            return step(self, *args, **kwargs)

    wrapper.hooked = True  # type: ignore[attr-defined]  # torch then leaves it as it is
    return wrapper


def _is_heard(optimizer: Optimizer) -> bool:
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
        or torch._C._autograd._profiler_enabled()
    )
