"""As an ordinary user, as root, and as root below a folder that only root may enter."""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service.engines import remove_engines
from service.engines.binaries import find_postgres_bin
from service.engines.home import EngineHome
from tests.e2e.support import (
    REPOSITORY,
    SMALL,
    TANGENT,
    environment_of,
    expect_nothing_left,
    family,
    left_running,
    recorded,
    refusal,
    runs,
    slots_of,
    succeed,
    tangent,
    write_study,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about root's rights, which an ordinary user lacks")
pytestmark = [pytest.mark.xdist_group("users"), needs_root]
TINY = {**SMALL, "name": "tiny", "replicates": 1, "search": {"trials": 2}, "select": {"top": 1, "seeds": 1}}
_UNNEEDED = shutil.ignore_patterns("__pycache__", "site-packages", "test", "tests", "idlelib", "tkinter", "*.a")
_SOURCES = ("service", "workers", "migrations", "adamp")


def as_user(account: pwd.struct_passwd, *argv: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", "-c", 'exec "$@"', "sh", *map(str, argv)],  # a shell says what it may not execute
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, **environment},
        cwd="/",
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        timeout=120,
        check=False,
    )


def is_readable(account: pwd.struct_passwd, path: Path) -> bool:
    return as_user(account, "/bin/ls", path).returncode == 0


@pytest.fixture(scope="module")
def ordinary() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


@pytest.fixture(scope="module")
def arrangement(ordinary: pwd.struct_passwd) -> Iterator[tuple[Path, dict[str, str]]]:
    """A Python and Tangent's sources that the ordinary user can read; what lies in the open is used where it lies.

    Yields:
        The interpreter and the environment that it needs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for source in _SOURCES:
            shutil.copytree(REPOSITORY / source, folder / "src" / source, ignore=shutil.ignore_patterns("__pycache__"))
        packages = Path(sysconfig.get_path("purelib"))
        if not is_readable(ordinary, packages):
            packages = Path(shutil.copytree(packages, folder / "packages", copy_function=_link_or_copy))
        environment = {"PYTHONPATH": f"{folder / 'src'}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
        python = Path(sys.executable)
        if as_user(ordinary, python, "-c", "import ssl").returncode != 0:
            python = _copy_interpreter(folder / "python")
            environment |= {"PYTHONHOME": str(folder / "python"), "LD_LIBRARY_PATH": str(folder / "python" / "lib")}
        yield python, environment


def _copy_interpreter(target: Path) -> Path:
    base, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copytree(base / "lib" / version, target / "lib" / version, ignore=_UNNEEDED)
    for library in base.glob("lib/libpython*.so*"):
        shutil.copy2(library, target / "lib", follow_symlinks=False)
    (target / "bin").mkdir()
    shutil.copy2(Path(sys.executable).resolve(), target / "bin" / version)
    return target / "bin" / version


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def test_ordinary_user_runs_everything_as_himself(
    ordinary: pwd.struct_passwd, arrangement: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    python, environment = arrangement
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Path(name) / "tangent"
        os.chown(folder, ordinary.pw_uid, ordinary.pw_gid)
        study = write_study(folder, TINY)
        study.chmod(0o644)
        settings = {**environment, "TANGENT_HOME": str(home), "HOME": "/nonexistent", "OMP_NUM_THREADS": "1"}

        def run(*arguments: object) -> str:
            command = (python, "-c", "from service.cli import main; main()", *arguments)
            return succeed(as_user(ordinary, *command, **settings))

        run("up", "--port", "0", "--slots", "1")
        try:
            assert "adamp ← adamw" in run("submit", study, "--wait")
            processes = [one for pid in recorded(home).values() for one in family(pid)]
            assert {one.uids().real for one in processes} == {ordinary.pw_uid}
            assert len(processes) > 10
            assert home.stat().st_mode & 0o777 == 0o700
        finally:
            run("down")
        expect_nothing_left(home)
        assert not any(runs(one.pid) for one in processes)


def test_home_that_an_ordinary_user_cannot_write(
    ordinary: pwd.struct_passwd, arrangement: tuple[Path, dict[str, str]]
) -> None:
    python, environment = arrangement
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for home in (Path(name) / "home", Path(name)):
            command = (python, "-c", "from service.cli import main; main()", "demo", "--quick")
            sentence = refusal(as_user(ordinary, *command, **environment, TANGENT_HOME=str(home)))
            assert sentence.startswith(f"'{ordinary.pw_name}' has no access to {home}")
            assert not left_running(home)


def test_root_below_a_closed_folder_keeps_its_modes_and_runs_no_engine_as_root(tmp_path: Path) -> None:
    closed = tmp_path / "root"
    home = closed / "clone" / ".tangent"
    home.parent.mkdir(parents=True)
    closed.chmod(0o700)
    before = {one: one.stat().st_mode for one in home.parents}
    try:
        succeed(tangent(home, "up", "--port", "0", "--slots", "1"))
        succeed(tangent(home, "submit", write_study(tmp_path, TINY), "--wait"))
        pids = recorded(home)
        trees = {name: family(pid) for name, pid in pids.items() if name != "supervisor"}
        for name, tree in trees.items():
            assert all((one.uids().real == 0) == (name not in ("postgres", "redis")) for one in tree), name
        assert len(trees["postgres"]) > 3
        assert slots_of(home)
        succeed(tangent(home, "down"))
        assert {one: one.stat().st_mode for one in home.parents} == before
        assert not any(runs(one.pid) for tree in trees.values() for one in tree)
        outside = EngineHome(home).read().outside
        assert outside is not None
        expect_nothing_left(home)
        expect_nothing_left(outside)
    finally:
        remove_engines(home)


def test_clone_below_a_closed_folder_works_too(tmp_path: Path, arrangement: tuple[Path, dict[str, str]]) -> None:
    """The sources too lie where the engines' account cannot go."""
    closed = tmp_path / "root"
    closed.mkdir(mode=0o700)
    for source in _SOURCES:
        shutil.copytree(REPOSITORY / source, closed / source, ignore=shutil.ignore_patterns("__pycache__"))
    home = closed / ".tangent"
    environment = {**environment_of(home), "PYTHONPATH": str(closed)}
    environment.pop("TANGENT_HOME")
    try:
        for arguments in (["up", "--port", "0", "--slots", "1"], ["status"], ["down"]):
            done = subprocess.run(
                [TANGENT, *arguments], cwd=closed, env=environment, capture_output=True, text=True, check=False
            )
            succeed(done)
        assert (home / "logs" / "supervisor.log").exists()
        assert (home / ".gitignore").read_text() == "*\n"
        assert closed.stat().st_mode & 0o777 == 0o700
        expect_nothing_left(home)
    finally:
        remove_engines(home)


def test_second_user_is_refused_by_postgres(home: Path, ordinary: pwd.struct_passwd) -> None:
    succeed(tangent(home, "up", "--port", "0", "--slots", "1"))
    place = EngineHome(home).settle()
    assert place.account is not None
    other = next(one for one in pwd.getpwall() if one.pw_uid not in (0, place.account.uid))
    psql = [find_postgres_bin() / "psql", "-h", EngineHome(home).socket_dir(place), "-U", "tangent", "-c", "SELECT 1"]
    refused = as_user(other, *psql, "-w", "tangent")
    assert refused.returncode != 0
    assert "ermission denied" in refused.stderr
    assert "ermission denied" in as_user(other, "/bin/cat", home / "token").stderr
    assert psutil.Process(recorded(home)["postgres"]).uids().real == place.account.uid
    # Even in the engines' own account nobody comes in without the password.
    assert "no password supplied" in as_user(pwd.getpwuid(place.account.uid), *psql, "-w", "tangent").stderr
