"""What this machine can train: `python -m workers.probe QUEUE` prints it, so that its caller needs no torch."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch

from service.config import load_settings, names
from service.domain.catalog import BUILT_IN
from workers.environment import code_revision, environment
from workers.optimizers import describe_optimizer
from workers.plugins import PluginError
from workers.training import configure_torch
from workers.workloads import load

_VENDOR_WORDS = {"NVIDIA", "GeForce", "Tesla", "Quadro", "AMD", "Radeon", "Instinct", "Graphics", "GPU", "Laptop"}
_SUFFIX = re.compile(r"(\d+GB.*|HBM\d\w*|PCIe|SXM\d?|NVL|MIG|\dg\.\d+gb)", re.IGNORECASE)


def device_model(name: str) -> str:
    """The short name of a GPU's model, for a device class: "NVIDIA H100 80GB HBM3" is "H100"."""
    words = [word for word in re.split(r"[\s_-]+", name) if word and word not in _VENDOR_WORDS]
    model = [word for word in words if not _SUFFIX.fullmatch(word)] or words
    return re.sub(r"[^A-Za-z0-9_.-]", "", "".join(model))[:32] or "unknown"


def probe(queue: str) -> dict[str, Any]:
    """Devices, one entry for each GPU with its classes; versions; the code's revision; what may be named in a study."""
    settings = load_settings()
    configure_torch(settings.slot_threads)
    problems: list[str] = []
    allowed_optimizers, allowed_workloads = names(settings.allowed_optimizers), names(settings.allowed_workloads)
    optimizers = {name: entry.to_dict() for name, entry in BUILT_IN.optimizers.items()}
    workloads = {name: entry.to_dict() for name, entry in BUILT_IN.workloads.items()}
    optimizers |= _described(
        allowed_optimizers, lambda name: describe_optimizer(name, allowed=allowed_optimizers).to_dict(), problems
    )
    workloads |= _described(
        allowed_workloads, lambda name: {**load(name, allowed_workloads).description.to_dict(), "name": name}, problems
    )
    kind = "cuda" if queue == "gpu" else "cpu"
    return {
        "devices": _gpus() if queue == "gpu" else [["cpu"]],
        "environment": environment(),
        "code_revision": code_revision(),
        "optimizers": optimizers,
        "workloads": {name: entry for name, entry in workloads.items() if kind in entry["device_classes"]},
        "problems": problems,
    }


def _described(listed: Iterable[str], describe: Callable[[str], Any], problems: list[str]) -> dict[str, Any]:
    """The entries of an allow-list; what cannot be described becomes a problem."""
    found = {}
    for name in listed:
        try:
            found[name] = describe(name)
        except (PluginError, AttributeError) as error:
            problems.append(f"{name} is on the allow-list, but cannot be used: {error}")
    return found


def _gpus() -> list[list[str]]:
    n_gpus = torch.cuda.device_count()
    return [["cuda", f"cuda:{device_model(torch.cuda.get_device_name(i))}"] for i in range(n_gpus)]


def main() -> None:
    """Print the probe's JSON as the last line of standard output."""
    sys.stdout.write("\n" + json.dumps(probe(sys.argv[1])) + "\n")


if __name__ == "__main__":
    main()
