"""Compiling the library: several at once, a compiler that fails, and where it lies for users without a home."""

import os
import pwd
import stat
import tempfile
import threading

import pytest

from adamp import building


def has_compiler():
    try:
        return bool(building.find_compiler())
    except building.BuildError:
        return False


@pytest.mark.skipif(not has_compiler(), reason="no C compiler")
def test_several_processes_may_build_at_once(tmp_path):
    target = tmp_path / "cache" / building.library_name()
    threads = [threading.Thread(target=building.build, args=(target,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def compiler_that(does, folder):
    script = folder / "compiler"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(0o755)
    return [str(script)]


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("exit 3", "exit status 3"),
        ("echo 'note: old' >&2; echo 'x.c:1: error: no such type' >&2; exit 1", "x.c:1: error: no such type"),
        ("echo 'cannot run' >&2; exit 1", "cannot run"),
    ],
)
def test_a_compiler_that_fails_is_named_with_the_reason(does, reason, tmp_path):
    command = compiler_that(does, tmp_path)
    with pytest.raises(building.BuildError) as caught:
        building.build(tmp_path / "cache" / "library.so", compiler=command)
    assert str(caught.value) == f"{command[0]} failed: {reason}"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_compiler_that_is_not_there_is_named(tmp_path):
    with pytest.raises(building.BuildError, match="no-such-compiler"):
        building.build(tmp_path / "library.so", compiler=["no-such-compiler"])


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files; the environment names no cache."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def without_a_home(monkeypatch, folder):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def with_a_file_for_a_home(monkeypatch, folder):
    (folder / "home").touch()
    monkeypatch.setenv("HOME", str(folder / "home"))


@pytest.mark.parametrize("home", [without_a_home, with_a_file_for_a_home])
def test_a_user_without_a_usable_home_has_a_cache_of_their_own_among_temporary_files(home, temporary, monkeypatch):
    home(monkeypatch, temporary)
    folder = building.cache_folder()
    assert folder.parent == temporary
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_cache_that_others_can_write_to_is_refused(mode, temporary, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(temporary))
    (temporary / "tangent-adamp").mkdir()
    (temporary / "tangent-adamp").chmod(mode)
    with pytest.raises(building.BuildError, match="belongs to, or can be written by, another user"):
        building.cached_library()


@pytest.mark.parametrize("ask", [building.cached_library, lambda: building.build(None)], ids=["library", "build"])
def test_windows_is_told_that_there_is_no_native_step(ask, monkeypatch):
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        windows.delattr(os, "getuid")
        with pytest.raises(building.BuildError, match="is for Linux and macOS"):
            ask()


def test_the_environments_compiler_comes_first(monkeypatch):
    monkeypatch.setenv("CC", "ccache gcc -pipe")
    assert building.find_compiler() == ["ccache", "gcc", "-pipe"]
