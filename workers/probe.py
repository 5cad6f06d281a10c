"""What a process can train. `python -m workers.probe QUEUE` prints it, so that its caller needs no torch."""

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
from workers.workloads import load

_VENDOR_WORDS = {"NVIDIA", "GeForce", "Tesla", "Quadro", "AMD", "Radeon", "Instinct", "Graphics", "GPU", "Laptop"}
_SUFFIX = re.compile(r"(\d+GB.*|HBM\d\w*|PCIe|SXM\d?|NVL|MIG|\dg\.\d+gb)", re.IGNORECASE)


def device_model(name: str) -> str:
    """The short name of a GPU's model, for a device class: "NVIDIA H100 80GB HBM3" is "H100"."""
    words = [word for word in re.split(r"[\s_-]+", name) if word and word not in _VENDOR_WORDS]
    model = [word for word in words if not _SUFFIX.fullmatch(word)] or words
    return re.sub(r"[^A-Za-z0-9_.-]", "", "".join(model))[:32] or "unknown"


def probe(queue: str) -> dict[str, Any]:
    """What this process can train, as JSON.

    Returns:
        `n_gpus` that it sees; `devices`, the classes of the first; `environment`; `code_revision`; `optimizers` and
        `workloads` by the names that studies use; `problems`, sentences about entries of the allow-lists.
    """
    settings = load_settings()
    problems: list[str] = []
    optimizers = {name: entry.to_dict() for name, entry in BUILT_IN.optimizers.items()}
    workloads = {name: entry.to_dict() for name, entry in BUILT_IN.workloads.items()}
    optimizers |= _described(names(settings.allowed_optimizers), _optimizer, problems)
    workloads |= _described(names(settings.allowed_workloads), _workload, problems)
    kind = "cuda" if queue == "gpu" else "cpu"
    return {
        "n_gpus": torch.cuda.device_count(),
        "devices": device_classes(queue),
        "environment": environment(),
        "code_revision": code_revision(),
        "optimizers": optimizers,
        "workloads": {name: entry for name, entry in workloads.items() if kind in entry["device_classes"]},
        "problems": problems,
    }


def device_classes(queue: str) -> list[str]:
    """The classes of the first device, the most special last; empty where the queue needs a GPU and there is none."""
    if queue != "gpu":
        return ["cpu"]
    return ["cuda", f"cuda:{device_model(torch.cuda.get_device_name(0))}"] if torch.cuda.is_available() else []


def _optimizer(name: str) -> dict[str, Any]:
    return describe_optimizer(name, allowed=[name]).to_dict()


def _workload(name: str) -> dict[str, Any]:
    return {**load(name, [name]).description.to_dict(), "name": name}


def _described(listed: Iterable[str], describe: Callable[[str], Any], problems: list[str]) -> dict[str, Any]:
    """The entries of an allow-list; what cannot be described becomes a problem."""
    found = {}
    for name in listed:
        try:
            found[name] = describe(name)
        except (PluginError, AttributeError) as error:
            problems.append(f"{name} is on the allow-list, but cannot be used: {error}")
    return found


def main() -> None:
    """Print the probe's JSON as the last line of standard output."""
    sys.stdout.write("\n" + json.dumps(probe(sys.argv[1])) + "\n")


if __name__ == "__main__":
    main()
