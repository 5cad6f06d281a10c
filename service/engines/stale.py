"""Stopping and deleting what a supervisor that is gone left behind."""

import time
from pathlib import Path

from service.engines.home import EngineHome
from service.engines.postgres import PostgresServer
from service.engines.redis import RedisServer

_LOCK_PATIENCE_S = 30.0


def stop_stale(home: Path) -> list[int]:
    """Stop the engines that `home` records, Redis first; a pid that another process has by now is left alone.

    Returns:
        The pids that were running.

    Raises:
        EngineError: One belongs to another user, or survives SIGKILL.
    """
    folder = EngineHome(home)
    if not folder.path.is_dir():
        return []
    processes = folder.read().processes
    stopped = [one.pid for name in ("redis", "postgres") if (one := processes.get(name)) and one.find()]
    unused_log = folder.path / "engines.log"
    RedisServer(home, log=unused_log).stop()
    PostgresServer(home, log=unused_log).stop()
    return stopped


def remove_engines(home: Path) -> None:
    """Stop the engines and delete their data and passwords for ever, also what root keeps outside `home`."""
    stop_stale(home)
    folder = EngineHome(home)
    if folder.path.is_dir():
        with folder.lock(time.monotonic() + _LOCK_PATIENCE_S):
            folder.delete()
