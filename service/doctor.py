"""`tangent doctor`: what this machine has, what is missing, and how to get it. Loads neither torch nor workers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from rich.console import Console

from service import launch
from service.config import Settings
from service.engines import describe_identity
from service.engines.binaries import find_postgres_bin, find_redis_server
from service.errors import TangentError

_OK, _MISSING, _NOTE = "ok", "missing", "note"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        verdict: "ok", "missing" (Tangent cannot run as it is) or "note".
    """

    verdict: str
    text: str


def run_doctor(settings: Settings, console: Console) -> int:
    """Print what was found; returns 1 where something is missing."""
    findings = list(examine(settings))
    styles = {_OK: "green", _MISSING: "bold red", _NOTE: "yellow"}
    for finding in findings:
        console.print(f"{finding.verdict:8}", style=styles[finding.verdict], end="")
        console.print(finding.text, markup=False)
    return int(any(finding.verdict == _MISSING for finding in findings))


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at Python, packages, engines, devices and the running service."""
    is_supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    rule = "" if is_supported else "; Tangent supports 3.11 to 3.13"
    yield Finding(_OK if is_supported else _NOTE, f"Python {platform.python_version()}{rule}")
    yield from _packages()
    yield from _engines(settings)
    yield from _devices()
    yield from _service(settings)


def _packages() -> Iterator[Finding]:
    hints = {
        "torch": "pip install 'tangent[worker]'",
        "adamp": "pip install ./adamp",
        "sklearn": "pip install scikit-learn",
    }
    names = {"torch": "torch", "adamp": "tangent-adamp", "sklearn": "scikit-learn"}
    for module, hint in hints.items():
        if util.find_spec(module) is None:
            yield Finding(_MISSING, f"{names[module]} is not installed, so that no worker can train here: {hint}")
        else:
            yield Finding(_OK, f"{names[module]} {_version(names[module])}")
    if util.find_spec("torch") and util.find_spec("adamp"):
        yield _adamp_paths()


def _adamp_paths() -> Finding:
    """Which code steps AdamP and SGDP where, and why not a faster one; a child is asked, because it loads torch."""
    ask = "import adamp; print('; '.join(f'on {device} by {path}' for device, path in adamp.paths().items()))"
    try:
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(_NOTE, f"tangent-adamp does not answer: {error}")
    if done.returncode:
        return Finding(_NOTE, f"tangent-adamp cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    is_fast = "on cpu by native" in done.stdout
    return Finding(_OK if is_fast else _NOTE, f"AdamP and SGDP step {done.stdout.strip()}")


def _engines(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is not None:
        yield Finding(_OK, "PostgreSQL: TANGENT_DATABASE_URL is set")
    else:
        yield _engine("PostgreSQL", find_postgres_bin)
    if settings.redis_url is not None:
        yield Finding(_OK, "Redis: TANGENT_REDIS_URL is set")
    else:
        yield _engine("Redis", find_redis_server)
    try:
        yield Finding(_OK, describe_identity())
    except TangentError as error:
        yield Finding(_MISSING, str(error))


def _engine(title: str, find: Callable[[], Path]) -> Finding:
    try:
        return Finding(_OK, f"{title}: {find()}")
    except TangentError as error:
        return Finding(_MISSING, str(error))


def _devices() -> Iterator[Finding]:
    yield Finding(_OK, f"{os.cpu_count()} processor cores")
    if shutil.which("nvidia-smi") is None:
        yield Finding(
            _NOTE, "no NVIDIA driver (nvidia-smi): studies with device cuda wait for another machine's workers"
        )
        return
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding(_NOTE, f"nvidia-smi does not answer: {error}")
        return
    names = [line.strip() for line in done.stdout.splitlines() if line.strip() and done.returncode == 0]
    yield Finding(_OK if names else _NOTE, f"GPUs: {', '.join(names) or 'none that nvidia-smi can see'}")


def _service(settings: Settings) -> Iterator[Finding]:
    try:
        with launch.connect(settings) as client:
            workers = client.workers()
            online = [worker for worker in workers if worker["state"] == "online"]
            yield Finding(_OK, f"the service answers at {client.base_url}; {len(online)} workers are online")
            yield from _revisions(online)
    except TangentError as error:
        yield Finding(_NOTE, str(error))


def _revisions(online: list[dict[str, object]]) -> Iterator[Finding]:
    revisions = {str(worker["code_revision"]) for worker in online if worker["devices"]}
    if len(revisions) > 1:
        listed = ", ".join(sorted(revision[:12] for revision in revisions))
        yield Finding(_NOTE, f"workers run {len(revisions)} different training codes ({listed}); a study keeps to one")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(version unknown)"
