"""What a step costs, counted and not timed: operators, reads by the host, kernel launches, bytes kept."""

import gc
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .subjects import Subject

# Operators whose result the host needs, or whose shape depends on values: on a GPU each one waits for it.
_READS = frozenset(
    {
        *("_local_scalar_dense", "is_nonzero", "equal", "item", "nonzero", "masked_select"),
        *("unique_dim", "unique_consecutive", "_unique", "_unique2", "repeat_interleave"),
    }
)
_READING_METHODS = frozenset({"tolist", "numpy", "__array__"})  # they pass no operator


class _Operators(TorchDispatchMode):
    """Counts every operator that reaches a device, those called from C++ included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if func.namespace != "profiler":  # torch's own marks around a step
            self.counts[name if func.namespace == "aten" else f"{func.namespace}::{name}"] += 1
        result = func(*args, **(kwargs or {}))
        if name in _READS or _is_copy_to_host(name, args, result):
            self.reads[name] += 1
        return result


class _Methods(TorchFunctionMode):
    """Counts methods of tensors that read memory without an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _READING_METHODS:
            self.reads[name] += 1
        return func(*args, **(kwargs or {}))


def counters(make_optimizer: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Count over some steps after the first ones.

    Args:
        make_optimizer: The side's.
        arguments: "subject", "steps", "seed", "device".

    Returns:
        "operators", "reads": number of each over all steps; "launches": of kernels, likewise, and "waits": of the host
        for the device, both None on a CPU; "state_bytes": by the state's key, and as "(elsewhere)" tensors that are
        kept outside `state`; "n_parameters".
    """
    device, n_steps = arguments["device"], arguments["steps"]
    gc.collect()
    before = {_place(tensor) for tensor in _live_tensors()}
    subject = Subject(make_optimizer, arguments["subject"], arguments["seed"], device)
    with _Operators() as operators, _Methods() as methods:
        subject.steps(n_steps)
    return {
        "operators": dict(operators.counts),
        "reads": dict(operators.reads + methods.reads),
        "launches": _launches(subject, n_steps) if device == "cuda" else None,
        "waits": _waits(subject, n_steps) if device == "cuda" else None,
        "state_bytes": _state_bytes(subject, before),
        "n_parameters": sum(parameter.numel() for parameter in subject.parameters),
    }


def _is_copy_to_host(name: str, args: Any, result: Any) -> bool:
    if name == "copy_":
        return bool(args[1].device.type != "cpu" and args[0].device.type == "cpu")
    tensors = isinstance(result, Tensor) and bool(args) and isinstance(args[0], Tensor)
    return name == "_to_copy" and tensors and args[0].device.type != "cpu" and result.device.type == "cpu"


def _launches(subject: Subject, n_steps: int) -> int:
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        subject.steps(n_steps)
        torch.cuda.synchronize()
    events: Any = profile.events()
    on_device = [event for event in events if event.device_type.name == "CUDA"]
    return sum(1 for event in on_device if not event.name.startswith(("Memcpy", "Memset")))


def _waits(subject: Subject, n_steps: int) -> int:
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            subject.steps(n_steps)
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    return sum(1 for warning in caught if "synchronizing" in str(warning.message))


def _state_bytes(subject: Subject, before: set[tuple[str, int]]) -> dict[str, int]:
    """Bytes of each memory once, under the state's key that holds it."""
    own: list[Tensor] = [*subject.parameters, *(gradient for gradients in subject.gradients for gradient in gradients)]
    seen = {_place(tensor) for tensor in own}
    found: Counter[str] = Counter()
    states: list[dict[Any, Any]] = [state for state in subject.optimizer.state.values() if isinstance(state, dict)]
    for state in states:
        for key, value in state.items():
            for tensor in _tensors_in(value):
                found[str(key)] += _bytes_once(tensor, seen)
    gc.collect()
    for tensor in _live_tensors():
        if _place(tensor) not in before:
            found["(elsewhere)"] += _bytes_once(tensor, seen)
    return {key: n_bytes for key, n_bytes in found.items() if n_bytes}


def _bytes_once(tensor: Tensor, seen: set[tuple[str, int]]) -> int:
    if _place(tensor) in seen:
        return 0
    seen.add(_place(tensor))
    return tensor.untyped_storage().nbytes()


def _place(tensor: Tensor) -> tuple[str, int]:
    return str(tensor.device), tensor.untyped_storage().data_ptr()


def _live_tensors() -> list[Tensor]:
    """All strided tensors with memory that Python knows, wherever they are kept."""
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [tensor for tensor in found if tensor.layout == torch.strided and _has_memory(tensor)]


def _has_memory(tensor: Tensor) -> bool:
    """Not those on "meta", nor fake ones, which raise or warn when they are asked."""
    try:
        return tensor.untyped_storage().data_ptr() != 0
    except RuntimeError:
        return False


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for entry in value for tensor in _tensors_in(entry)] if isinstance(value, list | tuple) else []
