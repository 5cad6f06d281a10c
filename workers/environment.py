"""What a result depends on besides its run: versions, the machine, and the code, as data and as hashes."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import platform
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from service.domain.catalog import BUILT_IN
from workers.run import Run
from workers.workloads import complete_options, load

_ROOT = Path(__file__).parents[1]
_SHARED = (
    "workers/checkpoint.py",
    "workers/layers.py",
    "workers/optimizers.py",
    "workers/training.py",
    "workers/workloads/__init__.py",
    "service/domain/catalog.py",
    "service/domain/seeds.py",
)
"""Files that every training runs through."""

_SOURCES = {".py", ".c", ".cc", ".cpp", ".h", ".cu", ".cuh", ".s"}


def environment() -> dict[str, Any]:
    """Versions, machine and threads, as JSON."""
    return {
        "python": platform.python_version(),
        **versions(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda_device": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "n_threads": torch.get_num_threads(),
    }


@cache
def versions() -> dict[str, str | None]:
    """Versions of the libraries that training computes with; None where one is missing."""
    names = {"torch": "torch", "numpy": "numpy", "sklearn": "scikit-learn"}
    return {key: _version(name) for key, name in names.items()} | {"adamp": _adamp_version()}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _adamp_version() -> str | None:
    if importlib.util.find_spec("adamp") is None:
        return None
    module = importlib.import_module("adamp")
    return str(getattr(module, "__version__", None) or _version("tangent-adamp"))


@cache
def cpu_model() -> str:
    """The processor's name; at least its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def code_revision() -> str:
    """Hash of all sources of ours that determine a training: 16 hexadecimal digits.

    As the files are when it is first asked for: a process keeps the code that it has imported.
    """
    workloads = sorted((_ROOT / "workers/workloads").rglob("*.py"))
    return _hash_of([*_shared_files(), *workloads, *_adamp_files()])[:16]


def content_key(run: Run, device_class: str, *, allowed: Iterable[str] = ()) -> str:
    """Name of a training by all that determines it: 64 hexadecimal digits. Equal keys need not run twice.

    Hashed are the run with its options completed, the code of the loop, of its workload and of its optimizer (of an
    allow-listed class the file that defines it, and not what that imports), the device class and the versions. Thread
    count and processor model are not: they change the last bits of a result and not what it is a sample of.

    Args:
        run: What is trained.
        device_class: Such as "cpu", "cuda:H200"; it stands in for `run.device`.
        allowed: The worker's allow-list.

    Raises:
        PluginError: The workload or the optimizer cannot be used here.
        ValueError: The options are wrong.
    """
    workload = load(run.workload, tuple(allowed))
    parts = {
        "workload": run.workload,
        "options": complete_options(workload.description, run.options),
        "optimizer": run.optimizer,
        "params": dict(run.params),
        "seed": run.seed,
        "reads_test_set": run.reads_test_set,
        "device_class": device_class,
        "code": [
            _hash_of(_shared_files()),
            _hash_of([Path(inspect.getfile(workload))]),
            _optimizer_code(run.optimizer),
        ],
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _optimizer_code(name: str) -> str:
    """Hash of an optimizer's sources; for torch's own, whose version is hashed elsewhere, its name."""
    import_name = BUILT_IN.optimizers[name].import_name if name in BUILT_IN.optimizers else name
    module = import_name.partition(":")[0]
    if module.partition(".")[0] == "torch":
        return import_name
    if module == "adamp":
        return _hash_of(_adamp_files())
    return _hash_of([Path(inspect.getfile(importlib.import_module(module)))])


def _shared_files() -> list[Path]:
    return [_ROOT / name for name in _SHARED]


@cache
def _adamp_files() -> tuple[Path, ...]:
    spec = importlib.util.find_spec("adamp")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [path for folder in folders for path in Path(folder).rglob("*") if path.suffix.lower() in _SOURCES]
    return tuple(sorted(files))


def _hash_of(files: Iterable[Path]) -> str:
    return _hash_of_files(tuple(files))


@cache
def _hash_of_files(files: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name}\x1f{len(content)}\x1f".encode())
        digest.update(content)
    return digest.hexdigest()
