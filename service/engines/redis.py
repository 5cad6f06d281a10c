"""A Redis-compatible server (Valkey) that keeps nothing: PostgreSQL holds the truth, Redis wakes workers."""

import contextlib
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from service.engines.binaries import reachable_redis_server
from service.engines.home import EngineHome
from service.engines.recorded import RecordedProcess
from service.errors import EngineError

_SOCKET_NAME = "redis.sock"


@dataclass(frozen=True)
class RedisHandle:
    """A running server.

    Attributes:
        socket: Its Unix socket, in a folder of mode 0700.
        password: Letters and digits.
        pid: Process id.
    """

    socket: Path
    password: str = field(repr=False)
    pid: int

    @property
    def url(self) -> str:
        """The address for redis-py: `redis.Redis.from_url`."""
        return f"unix://:{self.password}@{self.socket}?db=0"

    @property
    def celery_url(self) -> str:
        """The same database's address for Celery, whose syntax differs (kombu.transport.redis)."""
        return f"redis+socket://:{self.password}@{self.socket}?virtual_host=0"


class RedisServer:
    """The Redis of one home. Any process of the same user may call `stop`."""

    def __init__(self, home: Path, *, log: Path) -> None:
        self._home = EngineHome(home)
        signals = (signal.SIGTERM, signal.SIGKILL)
        self._process = RecordedProcess(self._home, "redis", "Redis", log=log, signals=signals)

    def start(self, *, deadline_s: float = 20) -> RedisHandle:
        """Start it and wait until it answers.

        Raises:
            EngineError: It runs already, its program is missing, or it does not answer within `deadline_s`.
        """
        deadline = time.monotonic() + deadline_s
        with self._home.lock(deadline):
            running = self._process.find()
            if running is not None:
                raise EngineError(f"Redis already runs under {self._home.path} (process {running.pid}); stop it first.")
            place = self._home.settle()
            program = reachable_redis_server(place.account, place.root / "engines")
            address = self._home.socket_dir(place) / _SOCKET_NAME
            password = self._home.secret("redis")
            if _answers(address, password):
                raise EngineError(f"A Redis that this home did not record answers at {address}; stop it first.")
            pid = self._process.start(
                [program, "-"],
                account=place.account,
                config=_configuration(address, password, place.folder("redis")),
                is_ready=lambda _: _answers(address, password),
                deadline=deadline,
            )
            return RedisHandle(address, password, pid)

    def stop(self, *, deadline_s: float = 10) -> None:
        """Stop it, if it runs: SIGTERM, and after `deadline_s` SIGKILL."""
        self._process.stop(deadline_s)

    def is_running(self) -> bool:
        """Tell whether the recorded process runs."""
        return self._process.find() is not None


def _configuration(address: Path, password: str, folder: Path) -> bytes:
    """Write the configuration that the server reads from standard input: the command line is visible to all users."""
    lines = [
        "port 0",
        "bind 127.0.0.1",
        f"unixsocket {address}",
        "unixsocketperm 700",
        f"requirepass {password}",
        "protected-mode yes",
        'save ""',
        "appendonly no",
        f'dir "{_escape(folder)}"',
        "daemonize no",
    ]
    return "\n".join(lines).encode() + b"\n"


def _escape(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _answers(address: Path, password: str) -> bool:
    """Log in and ping over a plain socket, so that the supervisor needs no Redis client."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        client.connect(str(address))
        client.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        answer = b""
        while not answer.endswith(b"+PONG\r\n"):
            part = client.recv(256)
            if not part:
                return False
            answer += part
        return answer.startswith(b"+OK")
    return False
