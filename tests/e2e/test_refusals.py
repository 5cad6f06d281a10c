"""What cannot work is refused in one plain sentence with a non-zero exit code, and leaves nothing running."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from service.engines import remove_engines
from service.engines.home import EngineHome
from service.engines.postgres import PostgresServer
from service.store import migrate
from tests.e2e.support import (
    REPOSITORY,
    environment_of,
    expect_nothing_left,
    left_running,
    recorded,
    refusal,
    succeed,
    tangent,
    wait_for,
)

pytestmark = pytest.mark.xdist_group("refusals")


@contextmanager
def silent_listener() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener.getsockname()[1]


def test_port_in_use(home: Path) -> None:
    with silent_listener() as port:
        sentence = refusal(tangent(home, "up", "--port", port))
    assert sentence.startswith(f"the API did not start: the API cannot listen on port {port} of 127.0.0.1")
    expect_nothing_left(home)


@pytest.mark.parametrize("command", ["up", "demo"])
def test_home_that_cannot_be_made(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"
    assert str(home.parent) in refusal(tangent(home, command))
    assert not left_running(home)


def test_home_that_not_even_root_can_write() -> None:
    assert "/proc/sys/nowhere" in refusal(tangent(Path("/proc/sys/nowhere"), "up"))
    assert not left_running(Path("/proc/sys/nowhere"))


def test_home_that_belongs_to_a_running_instance(instance: Path) -> None:
    before = recorded(instance)
    assert "Tangent runs already" in succeed(tangent(instance, "up"))
    second = subprocess.run(
        [sys.executable, "-m", "service.local", "--home", str(instance)],
        capture_output=True,
        text=True,
        env=environment_of(instance),
        cwd=REPOSITORY,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert json.loads(second.stdout)["error"] == (
        f"an instance runs in {instance} already (process {before['supervisor']})"
    )
    assert recorded(instance) == before


def test_home_with_a_path_of_120_characters(home: Path) -> None:
    long = home / ("l" * (120 - len(str(home)) - 1))
    home.mkdir(mode=0o711)
    assert len(str(long)) == 120
    try:
        succeed(tangent(long, "up", "--port", "0"))
        assert "worker-cpu" in succeed(tangent(long, "status"))
        succeed(tangent(long, "down"))
        expect_nothing_left(long)
    finally:
        remove_engines(long)


def test_database_that_refuses_connections(home: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://u:secret-word@127.0.0.1:{unused.getsockname()[1]}/t"
        sentence = refusal(tangent(home, "up", "--port", "0", TANGENT_DATABASE_URL=url))
    assert "refused" in sentence
    assert "secret-word" not in sentence
    expect_nothing_left(home)


def test_database_that_is_silent(home: Path) -> None:
    with silent_listener() as port:
        url = f"postgresql://u:p@127.0.0.1:{port}/t"
        done = tangent(home, "up", "--port", "0", TANGENT_DATABASE_URL=url, PGCONNECT_TIMEOUT="2")
    assert "timeout" in refusal(done)
    expect_nothing_left(home)


@pytest.mark.parametrize("url", ["nonsense", "postgresql://", "postgresql://host:port/t", "mysql://u:p@h/t"])
def test_database_address_that_is_none(home: Path, url: str) -> None:
    assert "TANGENT_DATABASE_URL" in refusal(tangent(home, "up", "--port", "0", TANGENT_DATABASE_URL=url))
    expect_nothing_left(home)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"supervisor": {"pid": "x"}, "address": null, "children": []}'])
def test_damaged_instance_file(home: Path, text: str) -> None:
    home.mkdir(mode=0o711)
    (home / "instance.json").write_text(text)
    for command in ("up", "demo", "down", "status", "list"):
        sentence = refusal(tangent(home, command))
        assert sentence == f"{home / 'instance.json'} is damaged; stop what runs there and delete that file"
    assert not left_running(home)
    (home / "instance.json").unlink()


def test_damaged_engines_file(home: Path) -> None:
    home.mkdir(mode=0o711)
    (home / "engines.json").write_text("{")
    assert "engines.json is damaged" in refusal(tangent(home, "up"))
    (home / "engines.json").unlink()
    expect_nothing_left(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="about files of another user, which an ordinary user cannot make")
def test_instance_file_of_another_user_is_not_believed(home: Path) -> None:
    """It could name any process of ours to be stopped."""
    home.mkdir(mode=0o777)
    with subprocess.Popen(["sleep", "60"]) as victim:
        fields = {"pid": victim.pid, "started": psutil.Process(victim.pid).create_time()}
        (home / "instance.json").write_text(json.dumps({"supervisor": fields, "address": None, "children": {}}))
        os.chown(home / "instance.json", 65534, 65534)
        assert "belongs to another user" in refusal(tangent(home, "down"))
        assert victim.poll() is None
        victim.kill()
    (home / "instance.json").unlink()


def test_up_migrates_a_ledger_that_is_behind(home: Path) -> None:
    """The instance's own database, emptied down to the base, as that of an older version would be."""
    succeed(tangent(home, "up", "--port", "0"))
    succeed(tangent(home, "down"))
    server = PostgresServer(home, log=home / "postgres.log")
    handle = server.start()
    try:
        migrate.downgrade(handle.url(), "base")
        assert migrate.current_revision(handle.url()) is None
        server.stop()
        succeed(tangent(home, "up", "--port", "0"))
        password = EngineHome(home).secret("postgres")
        assert migrate.current_revision(handle.url(password=password)) == migrate.head_revision()
        assert "No studies yet" in succeed(tangent(home, "list"))
    finally:
        tangent(home, "down")


def test_gpu_that_torch_cannot_use_costs_only_its_worker(home: Path, tmp_path: Path) -> None:
    """PyTorch's CPU build on a machine with a GPU: its studies wait, the rest works."""
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 'GPU 0: Imaginary (UUID: GPU-0)'\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    succeed(tangent(home, "up", "--port", "0", PATH=path, CUDA_VISIBLE_DEVICES=""))
    log = home / "logs" / "supervisor.log"
    wait_for(lambda: "no GPU worker" in log.read_text(), "the GPU's worker given up", 40)
    assert "worker-gpu" not in succeed(tangent(home, "status"))
