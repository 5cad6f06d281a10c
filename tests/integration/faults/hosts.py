"""Two hosts on one machine: network namespaces joined by one cable, which can be pulled."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.engines import PostgresServer
from service.engines.binaries import find_redis_server
from tests.integration.faults.support import wait_until

NET = "10.77.0"
SERVER, WORKER = "tgserver", "tgworker"
_PASSWORD = "of-the-test-with-two-hosts"
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_AS_USER = "import os, sys; os.setgroups([]); os.setgid({gid}); os.setuid({uid}); os.execv(sys.argv[1], sys.argv[1:])"
_CAN_CONNECT = f"import socket; socket.create_connection(('{NET}.1', 5432), 2)"


def may_make_networks() -> bool:
    """True for root with the rights that `ip netns` needs; then the tests with this have to pass."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return False
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("CapEff:")]
    rights = int(line.split()[1], 16)
    return all(rights >> number & 1 for number in (_CAP_NET_ADMIN, _CAP_SYS_ADMIN))


def program() -> str:
    found = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert found is not None, "the program `ip` is missing: install iproute2"
    return found


def ip(*arguments: str) -> None:
    done = subprocess.run([program(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def on(host: str) -> tuple[str, ...]:
    """Words before a command that make it run on a host."""
    return (program(), "netns", "exec", host)


class Cable:
    """The only way between the two hosts."""

    def pull(self) -> None:
        """Cut it at the server's end: the worker's host hears nothing any more, and is told nothing."""
        ip("-n", SERVER, "link", "set", "tgeth0", "down")
        wait_until(lambda: not self.is_plugged(), "no connection between the hosts", 10)

    def plug(self) -> None:
        ip("-n", SERVER, "link", "set", "tgeth0", "up")
        wait_until(self.is_plugged, "a connection between the hosts", 10)

    def is_plugged(self) -> bool:
        """Whether the worker's host reaches PostgreSQL."""
        command = [*on(WORKER), sys.executable, "-c", _CAN_CONNECT]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def two_hosts() -> Iterator[Cable]:
    """Both namespaces with the cable between them, and nothing of them left afterwards."""
    _remove()
    for host in (SERVER, WORKER):
        ip("netns", "add", host)
    try:
        ip("-n", SERVER, "link", "add", "tgeth0", "type", "veth", "peer", "name", "tgeth1", "netns", WORKER)
        for host, device, number in ((SERVER, "tgeth0", 1), (WORKER, "tgeth1", 2)):
            ip("-n", host, "addr", "add", f"{NET}.{number}/24", "dev", device)
            ip("-n", host, "link", "set", device, "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield Cable()
    finally:
        _remove()


def _remove() -> None:
    for host in (SERVER, WORKER):
        subprocess.run([program(), "netns", "del", host], capture_output=True, check=False)


@contextmanager
def postgres_on_server(home: Path) -> Iterator[tuple[str, str]]:
    """A PostgreSQL that listens on the server's host; addresses for processes there, and on the worker's host."""
    server = PostgresServer(home, log=home / "postgres.log", extra_settings={"fsync": "off"})
    handle = server.start()
    server.stop()
    data, owner = handle.data_dir, handle.data_dir.stat()
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NET}.0/24 scram-sha-256\n")
    as_user = _AS_USER.format(uid=owner.st_uid, gid=owner.st_gid)
    words = [*on(SERVER), sys.executable, "-c", as_user, str(handle.bin_dir / "postgres"), "-D", str(data)]
    for setting in ("listen_addresses=*", "port=5432", f"unix_socket_directories={handle.host}", "fsync=off"):
        words += ["-c", setting]
    with (home / "tcp.log").open("ab") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    try:
        wait_until(lambda: (handle.host / ".s.PGSQL.5432").exists(), "PostgreSQL", 30)
        yield handle.url(), f"postgresql://{handle.user}:{handle.password}@{NET}.1:5432/{handle.database}"
    finally:
        process.send_signal(2)
        process.wait(30)


@contextmanager
def redis_on_server(folder: Path) -> Iterator[tuple[str, str]]:
    """A Redis that listens on the server's host; addresses as above."""
    words = [*on(SERVER), str(find_redis_server()), "--port", "6379", "--bind", "0.0.0.0", "--save", ""]
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(
            [*words, "--requirepass", _PASSWORD, "--dir", str(folder)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield f"redis://:{_PASSWORD}@127.0.0.1:6379/0", f"redis://:{_PASSWORD}@{NET}.1:6379/0"
    finally:
        process.terminate()
        process.wait(10)
