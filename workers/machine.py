"""What a worker can offer, found out without importing torch: slots, and what a child process probed."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from service.config import Settings
from service.errors import ConfigurationError
from workers.child import training_environment
from workers.messages import SlotSetup
from workers.supervision import SlotPlan

_PROBE_PATIENCE_S = 300
NOTHING_PROBED: Mapping[str, Any] = {
    "devices": [],
    "environment": {"python": platform.python_version(), "platform": platform.platform()},
    "code_revision": "",
    "optimizers": {},
    "workloads": {},
    "problems": [],
}
"""What a worker offers that trains nothing."""


def probe_machine(queue: str, settings: Settings) -> dict[str, Any]:
    """What `workers.probe` says of this machine.

    Raises:
        ConfigurationError: The probe failed, or the queue needs a GPU and there is none.
    """
    done = subprocess.run(
        [sys.executable, "-m", "workers.probe", queue],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=training_environment(settings.slot_threads, visible_gpus(queue)),
        timeout=_PROBE_PATIENCE_S,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise ConfigurationError("this machine cannot train: the lines above say why")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if not found["devices"]:
        raise ConfigurationError("the queue gpu needs a GPU, and torch sees none here")
    return found


def visible_gpus(queue: str | None, index: int | None = None) -> str | None:
    """CUDA_VISIBLE_DEVICES for a process: none for the queue cpu, else one GPU of ours, or all that we see.

    Args:
        index: Which of the GPUs that this process may use; None for all.
    """
    ours = os.environ.get("CUDA_VISIBLE_DEVICES")
    if queue != "gpu":
        return ""
    if index is None:
        return ours
    return str(index) if ours is None else ours.split(",")[index].strip()


def count_cores() -> int:
    """Cores that this process may use, by its affinity and its control group."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(n_cores, _group_limit(Path("/sys/fs/cgroup/cpu.max"))))


def _group_limit(file: Path) -> int:
    try:
        quota, period = file.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return sys.maxsize


def count_slots(queue: str | None, settings: Settings, found: Mapping[str, Any]) -> int:
    """Slots of a worker: as the settings say, else one per GPU, or as many as have cores of their own."""
    if queue is None:
        return 0
    if settings.slots:
        return settings.slots
    return len(found["devices"]) if queue == "gpu" else max(1, count_cores() // settings.slot_threads)


def plan_slots(
    queue: str | None, settings: Settings, found: Mapping[str, Any], worker_id: UUID, environment_id: str
) -> Sequence[SlotPlan]:
    """The slots to start on what was found; several share a GPU where there are more slots than GPUs."""
    plans = []
    for slot in range(count_slots(queue, settings, found)):
        gpu = slot % len(found["devices"])
        setup = SlotSetup(
            worker_id=str(worker_id),
            slot=slot,
            queue=queue or "",
            devices=tuple(found["devices"][gpu]),
            workloads=tuple(found["workloads"]),
            optimizers=tuple(found["optimizers"]),
            environment_id=environment_id,
            code_revision=found["code_revision"],
        )
        plans.append(SlotPlan(setup, training_environment(settings.slot_threads, visible_gpus(queue, gpu))))
    return plans
