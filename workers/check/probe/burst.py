"""Timed steps: one burst at a time, so that whoever asks can let two sides take turns."""

import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .subjects import Subject

_SCHEDULER = Path("/proc/thread-self/schedstat")
_subjects: dict[tuple[str, str], Subject] = {}


def burst(make_optimizer: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Take some steps and say how long they took; the optimizer lives on from burst to burst.

    Args:
        make_optimizer: The side's.
        arguments: "subject": a name; "steps"; "seed"; "device".

    Returns:
        "time_s": on a CPU, processor time of the process and the time that it waited of its own accord (a sleep, a
        lock, a file), without the time that others kept it from the processor; on a GPU, time between two CUDA
        events. "wall_s"; "waits": how often it gave the processor away of its own accord.
    """
    name, device = arguments["subject"], arguments["device"]
    if (name, device) not in _subjects:
        _subjects[name, device] = Subject(make_optimizer, name, arguments["seed"], device)
        gc.collect()
        gc.freeze()  # torch's own objects: to collect them takes ten times as long as a burst
    subject = _subjects[name, device]
    subject.turn_gradients()
    gc.collect()
    gc.disable()
    try:
        return (_timed_by_events if device == "cuda" else _timed_by_clocks)(subject, arguments["steps"])
    finally:
        gc.enable()


def _timed_by_clocks(subject: Subject, n_steps: int) -> dict[str, Any]:
    waits, kept_s, own_s = _waits(), _kept_from_processor_s(), time.thread_time()
    wall_s, all_s = time.perf_counter(), time.process_time()
    subject.steps(n_steps)
    all_s, wall_s = time.process_time() - all_s, time.perf_counter() - wall_s
    own_s, waits = time.thread_time() - own_s, _waits() - waits
    after_s = _kept_from_processor_s()
    waited_s = 0.0 if kept_s is None or after_s is None else max(0.0, wall_s - own_s - (after_s - kept_s))
    return {"time_s": all_s + waited_s, "wall_s": wall_s, "waits": waits}


def _timed_by_events(subject: Subject, n_steps: int) -> dict[str, Any]:
    event: Any = torch.cuda.Event
    first, last = event(enable_timing=True), event(enable_timing=True)
    torch.cuda.synchronize()
    waits, wall_s = _waits(), time.perf_counter()
    first.record()
    subject.steps(n_steps)
    last.record()
    torch.cuda.synchronize()
    wall_s = time.perf_counter() - wall_s
    return {"time_s": first.elapsed_time(last) / 1e3, "wall_s": wall_s, "waits": _waits() - waits}


def _waits() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def _kept_from_processor_s() -> float | None:
    """How long this thread was ready and others ran; None where the system does not say (only Linux does)."""
    try:
        return int(_SCHEDULER.read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
