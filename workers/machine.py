"""How many slots a machine has room for, found out without importing torch."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from service.config import Settings
from service.errors import ConfigurationError
from workers.child import training_environment

_PROBE_PATIENCE_S = 300


def count_gpus() -> int:
    """GPUs that torch sees, asked in another process.

    Raises:
        ConfigurationError: There is none, or torch cannot be imported.
    """
    done = subprocess.run(
        [sys.executable, "-m", "workers.probe", "gpu"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=_PROBE_PATIENCE_S,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise ConfigurationError("torch cannot be used here; the lines above say why")
    n_gpus = int(json.loads(done.stdout.splitlines()[-1])["n_gpus"])
    if n_gpus == 0:
        raise ConfigurationError("the queue gpu needs a GPU, and torch sees none here")
    return n_gpus


def visible_gpus(queue: str, index: int) -> str:
    """CUDA_VISIBLE_DEVICES for a slot: nothing for the queue cpu, else one of the GPUs that this process may use."""
    if queue != "gpu":
        return ""
    ours = os.environ.get("CUDA_VISIBLE_DEVICES")
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


def slot_environments(queue: str | None, settings: Settings) -> list[dict[str, str]]:
    """The environment of each slot's process, which says what it may use: empty where nothing is trained.

    As many slots as the settings say, else one per GPU, or as many as have cores of their own. Where there are more
    slots than GPUs, several share one.
    """
    if queue is None:
        return []
    n_gpus = count_gpus() if queue == "gpu" else 0
    n_slots = settings.slots or n_gpus or max(1, count_cores() // settings.slot_threads)
    return [
        training_environment(settings.slot_threads, visible_gpus(queue, slot % max(n_gpus, 1)))
        for slot in range(n_slots)
    ]
