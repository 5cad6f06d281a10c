import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service.engines import PostgresHandle, RedisHandle, remove_engines
from tests.integration.engines.support import command_of, postgres_in, redis_in

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
        left = [one.pid for one in psutil.process_iter() if name in " ".join(command_of(one))]
        assert left == [], "a test left engines running"


@pytest.fixture
def new_home(fast_folder: Path) -> Iterator[Path]:
    """A home that does not exist yet, which the engines' account can reach, so that it will hold everything."""
    folder = Path(tempfile.mkdtemp(dir=fast_folder)) / "home"
    folder.parent.chmod(0o711)
    yield folder
    remove_engines(folder)


@pytest.fixture(scope="session")
def made_home(fast_folder: Path) -> Path:
    """A home whose database was made, started and stopped; only to be copied."""
    server = postgres_in(fast_folder / "made")
    server.start()
    server.stop()
    return fast_folder / "made"


@pytest.fixture
def home(new_home: Path, made_home: Path) -> Path:
    """A home with a database of its own, in which nothing runs."""
    subprocess.run(["cp", "-a", made_home, new_home], check=True)  # keeps owners, as shutil does not
    return new_home


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
def shared_home(made_home: Path) -> Iterator[Path]:
    folder = made_home.with_name("shared")
    subprocess.run(["cp", "-a", made_home, folder], check=True)
    yield folder
    remove_engines(folder)


@pytest.fixture(scope="session")
def postgres(shared_home: Path) -> PostgresHandle:
    """A server for tests that only ask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANGENT_TEST_SECRET", "not for engines")
        return postgres_in(shared_home).start()


@pytest.fixture(scope="session")
def redis_server(shared_home: Path) -> RedisHandle:
    """A server for tests that only ask, beside `postgres`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANGENT_TEST_SECRET", "not for engines")
        return redis_in(shared_home).start()
