"""Starting and stopping real servers, and starting over what a crash left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from service.engines import PostgresHandle, PostgresServer, RedisHandle, remove_engines, stop_stale
from service.engines.home import EngineHome
from service.engines.processes import ProcessIdentity
from service.errors import EngineError
from tests.integration.engines.support import (
    REPOSITORY,
    family,
    postgres_in,
    process_of_the_engines_user,
    psql,
    redis_in,
    runs,
    wait_for,
)


def test_database_is_utf8_with_locale_c_and_scram_passwords(postgres: PostgresHandle) -> None:
    answer = psql(
        postgres,
        "select current_database(), current_user, pg_encoding_to_char(encoding), datcollate, datctype,"
        " (select left(rolpassword, 13) from pg_authid where rolname = current_user),"
        " (select string_agg(distinct auth_method, ',') from pg_hba_file_rules)"
        " from pg_database where datname = current_database()",
    )
    assert answer.stdout.strip() == "tangent|tangent|UTF8|C|C|SCRAM-SHA-256|scram-sha-256"


def test_settings_are_durable_unless_the_caller_says_otherwise(postgres: PostgresHandle, home: Path) -> None:
    server = PostgresServer(home, log=home / "postgres.log")
    sql = "select string_agg(setting, '|' order by name) from pg_settings where name in"
    names = "('fsync', 'max_connections', 'shared_buffers', 'listen_addresses', 'synchronous_commit')"
    durable = psql(server.start(), f"{sql} {names}").stdout.strip()
    server.stop()
    assert durable == "on||200|8192|on"
    assert psql(postgres, f"{sql} {names}").stdout.strip() == "off||20|1024|on"


def test_redis_answers_redis_py_and_celerys_kombu_only_with_the_password(redis_server: RedisHandle) -> None:
    import kombu
    import redis

    handle = redis_server
    with redis.Redis.from_url(handle.url) as client:
        assert client.ping()
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("port") == {"port": "0"}
    at_once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    with (
        redis.Redis(unix_socket_path=str(handle.socket), retry=at_once) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    with kombu.Connection(handle.celery_url) as connection, connection.SimpleQueue("q") as queue:
        queue.put({"n": 1})
        message = queue.get(timeout=5)
        message.ack()
        assert message.payload == {"n": 1}
        assert handle.password not in connection.as_uri()


def test_engines_run_in_sessions_of_their_own(postgres: PostgresHandle, redis_server: RedisHandle) -> None:
    for pid in (postgres.pid, redis_server.pid):
        assert os.getsid(pid) == pid


def test_nothing_runs_after_stop_and_data_outlives_it(home: Path) -> None:
    server, redis = postgres_in(home), redis_in(home)
    handle = server.start()
    started = family(handle.pid) + family(redis.start().pid)
    assert psql(handle, "create table kept (n int); insert into kept values (7)").returncode == 0
    redis.stop()
    server.stop()
    assert [one.pid for one in started if runs(one.pid)] == []
    assert not server.is_running()
    assert EngineHome(home).read().processes == {}
    assert psql(server.start(), "select n from kept").stdout.strip() == "7"


def test_stop_works_from_another_process_twice_and_before_any_start(new_home: Path) -> None:
    home = new_home
    postgres_in(home).stop()
    assert not home.exists()
    handle = postgres_in(home).start()
    postgres_in(home).stop()
    postgres_in(home).stop()
    assert not runs(handle.pid)


def test_an_open_transaction_does_not_hold_up_stop(home: Path) -> None:
    server = postgres_in(home)
    handle = server.start()
    client = subprocess.Popen(
        [handle.bin_dir / "psql", "-XAtc", "begin; select pg_sleep(60)", handle.url()], stderr=subprocess.PIPE
    )
    with client:
        wait_for(
            lambda: psql(handle, "select count(*) from pg_stat_activity where query like '%sleep(60)'").stdout > "1"
        )
        before = time.monotonic()
        server.stop()
    assert time.monotonic() - before < 5


def test_a_hanging_postmaster_is_killed_with_its_children(home: Path) -> None:
    server = postgres_in(home)
    started = family(server.start().pid)
    started[0].suspend()
    server.stop(deadline_s=0.2)
    wait_for(lambda: not any(runs(one.pid) for one in started))
    assert psql(server.start(), "select 1").stdout.strip() == "1"


def test_start_after_sigkill_of_the_postmaster_keeps_committed_data(home: Path) -> None:
    server = postgres_in(home, fsync="on")
    handle = server.start()
    psql(handle, "create table kept (n int); insert into kept values (7)")
    os.kill(handle.pid, signal.SIGKILL)
    wait_for(lambda: not runs(handle.pid))  # its children may still run
    again = server.start()
    assert again.pid != handle.pid
    assert psql(again, "select n from kept").stdout.strip() == "7"


def test_start_after_sigkill_of_redis(home: Path) -> None:
    server = redis_in(home)
    first = server.start()
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: not server.is_running())
    assert server.start().pid != first.pid


def test_a_stale_pid_that_another_program_has_now_does_not_prevent_start(home: Path) -> None:
    server = postgres_in(home)
    handle = server.start()
    file = handle.data_dir / "postmaster.pid"
    lines = file.read_text()
    server.stop()
    with process_of_the_engines_user(home) as stranger:
        file.write_text(lines.replace(str(handle.pid), str(stranger.pid), 1))
        assert psql(server.start(), "select 1").stdout.strip() == "1"
        assert stranger.poll() is None


def test_stop_stale_stops_what_a_killed_supervisor_left(home: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from service.engines import PostgresServer, RedisServer\n"
        f"home = Path({str(home)!r}); log = home / 'log'\n"
        "print(PostgresServer(home, log=log).start().pid, RedisServer(home, log=log).start().pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        supervisor.kill()
    assert sorted(stop_stale(home)) == sorted(pids)
    assert not any(runs(pid) for pid in pids)
    assert stop_stale(home) == []


def test_stop_stale_never_touches_a_pid_with_another_start_time(home: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        folder = EngineHome(home)
        with folder.lock(time.monotonic() + 1):
            folder.remember("postgres", ProcessIdentity(stranger.pid, psutil.Process(stranger.pid).create_time() - 10))
        assert stop_stale(home) == []
        assert stranger.poll() is None
        stranger.kill()


def test_home_with_a_path_of_120_characters_and_a_space(fast_folder: Path) -> None:
    home = Path(f"{fast_folder}/a b/{'x' * 120}"[:120])
    postgres, redis = postgres_in(home), redis_in(home)
    handle = postgres.start()
    sockets = handle.host
    assert len(str(sockets)) < 60
    assert sockets.stat().st_mode & 0o777 == 0o700
    assert handle.data_dir == home / "pg18"
    assert redis.start().socket.parent == sockets
    assert psql(handle, "select 1").stdout.strip() == "1"
    redis.stop()
    postgres.stop()
    assert not sockets.exists()
    remove_engines(home)


def test_interrupted_initdb_is_started_afresh(new_home: Path) -> None:
    server = postgres_in(new_home)
    with pytest.raises(EngineError, match="initdb needed more than"):
        server.start(deadline_s=0.15)
    assert psql(server.start(), "select 1").stdout.strip() == "1"
