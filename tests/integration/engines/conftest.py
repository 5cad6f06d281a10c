import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engines import PostgresHandle, remove_engines
from tests.integration.engines.support import postgres_in

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def fast_folder() -> Iterator[Path]:
    """A folder that every user can pass through (pytest's are root's, mode 0700), in memory where there is enough.

    initdb makes 1,000 files: 0.3 s in memory, 0.6 to 2 s on a busy disk.
    """
    in_memory = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**30
    with tempfile.TemporaryDirectory(dir=MEMORY if in_memory else None) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def home(fast_folder: Path) -> Iterator[Path]:
    """A home that the engines' account can reach, so that it holds everything."""
    folder = Path(tempfile.mkdtemp(dir=fast_folder))
    folder.rmdir()
    yield folder
    remove_engines(folder)


@pytest.fixture
def closed_home(tmp_path: Path) -> Iterator[Path]:
    """A home below a folder that only the caller can enter."""
    tmp_path.chmod(0o700)
    yield tmp_path / "home"
    remove_engines(tmp_path / "home")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder on a disk from which programs can run, readable for every user."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def postgres(fast_folder: Path) -> Iterator[PostgresHandle]:
    """A server for tests that only ask."""
    server = postgres_in(fast_folder / "shared")
    yield server.start()
    server.stop()
    remove_engines(fast_folder / "shared")
