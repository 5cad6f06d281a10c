"""Homes in memory where there is enough, and instances that several tests share."""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from service.engines import remove_engines
from tests.e2e.support import client_of, expect_nothing_left, succeed, tangent

_MEMORY = Path("/dev/shm")
_homes: list[Path] = []
"""Those in use, whose logs a failed test shows."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        for log in (log for home in _homes for log in sorted(home.glob("logs/*.log"))):
            report.sections.append((log.name, "\n".join(log.read_text(errors="replace").splitlines()[-15:])))
    return report


@contextmanager
def _new_home() -> Iterator[Path]:
    """A home that does not exist yet, below a folder that the engines' account can pass through."""
    in_memory = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 2**30
    with tempfile.TemporaryDirectory(dir=_MEMORY if in_memory else None) as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        _homes.append(home)
        yield home
        _homes.remove(home)
        tangent(home, "down")
        expect_nothing_left(home)
        remove_engines(home)


@pytest.fixture
def home() -> Iterator[Path]:
    with _new_home() as folder:
        yield folder


@pytest.fixture(scope="module")
def instance() -> Iterator[Path]:
    """The home of a running instance with two slots and short leases, for the tests of one module."""
    with _new_home() as folder:
        succeed(tangent(folder, "up", "--port", "0", "--slots", "2"))
        yield folder


@pytest.fixture(scope="module")
def client(instance: Path) -> Iterator[Client]:
    with client_of(instance) as client:
        yield client
