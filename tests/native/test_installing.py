"""What `pip install ./adamp` installs: with a compiler, without one, and with the one that pip can install."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ADAMP = Path(__file__).resolve().parents[2] / "adamp"
HAS_ZIG = importlib.util.find_spec("ziglang") is not None
WARNING = "adamp uses plain torch for cpu parameters, several times slower: native: no C compiler"

# A Python that starts so has no ziglang, installed or not.
HIDE_ZIG = "import sys; sys.modules['ziglang'] = None\n"

# Two optimizers, two steps; where the package came from, the path, and the weight's bits.
USE = """
import torch, adamp
torch.manual_seed(0)
param = torch.nn.Parameter(torch.randn(300, 100))
for _ in range(2):
    optimizer = adamp.AdamP([param], lr=0.1)
    param.grad = torch.randn(300, 100)
    optimizer.step()
print(adamp.__file__)
print(adamp.paths()["cpu"])
print(param.detach().double().sum().item().hex())
try:
    adamp.AdamP([param], fused=True)
except RuntimeError as error:
    print(error)
"""


def run_python(*arguments, cwd, timeout=250, **environment):
    """A Python with no compiler in reach but what `environment` brings, and a cache of its own."""
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    bare = {**kept, "PATH": str(cwd), "HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=cwd, env={**bare, **environment}, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return done


def build(source, kind, target, *, may_use_zig=False, **environment):
    """Calls the build backend as pip does; returns the file and what the build said."""
    target.mkdir(parents=True, exist_ok=True)
    call = f"from setuptools import build_meta; build_meta.build_{kind}({str(target)!r})"
    done = run_python("-c", call if may_use_zig else HIDE_ZIG + call, cwd=source, timeout=800, **environment)
    (built,) = target.iterdir()
    return built, done.stderr


def install(wheel, target):
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    target.mkdir()
    run_python("-m", "pip", "install", *options, "--target", str(target), str(wheel), cwd=target.parent)
    return target


def use(target, folder):
    folder.mkdir()
    done = run_python("-c", HIDE_ZIG + USE, cwd=folder, PYTHONPATH=str(target))
    place, path, bits, *refusal = done.stdout.splitlines()
    assert Path(place).is_relative_to(target)
    return path, bits, refusal, done.stderr


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution of a fresh copy of the checkout, unpacked."""
    folder = tmp_path_factory.mktemp("adamp")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "*.so")
    copy = shutil.copytree(ADAMP, folder / "checkout", ignore=ignored)
    sdist, _ = build(copy, "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def bare_wheel(unpacked, tmp_path_factory):
    """Built where there is no compiler; and what the build said."""
    source = shutil.copytree(unpacked, tmp_path_factory.mktemp("bare") / "source")
    return build(source, "wheel", source.parent / "wheel")


@pytest.fixture(scope="module")
def native_wheel(unpacked, tmp_path_factory):
    """Built with the system's compiler."""
    if not shutil.which("cc"):
        pytest.skip("NOT RUN: this machine has no C compiler")
    source = shutil.copytree(unpacked, tmp_path_factory.mktemp("native") / "source")
    platform = f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    left = source / "build" / f"lib.{platform}" / "adamp" / "_native_0123456789abcdef.so"  # of a former build
    left.parent.mkdir(parents=True)
    left.touch()
    wheel, _ = build(source, "wheel", source.parent / "wheel", PATH=os.environ["PATH"])
    assert not left.exists()
    return wheel


def test_the_source_distribution_holds_what_the_checkout_holds_and_nothing_else(unpacked):
    patterns = ("*.py", "csrc/*.[ch]", "*.md", "LICENSE", "py.typed", "pyproject.toml", "MANIFEST.in")
    ours = {path.relative_to(ADAMP) for pattern in patterns for path in ADAMP.glob(pattern)}
    assert len(ours) > 30
    found = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    by_setuptools = {path for path in found if path.name in ("PKG-INFO", "setup.cfg") or path.parent.suffix}
    assert found - by_setuptools == ours


def test_the_wheel_brings_the_modules_the_sources_and_one_library_and_nothing_else(native_wheel):
    found = [path.relative_to(ADAMP) for pattern in ("*.py", "py.typed", "csrc/*.[ch]") for path in ADAMP.glob(pattern)]
    expected = {f"adamp/{path}" for path in found if path.name != "setup.py"}
    names = names_in(native_wheel)
    (library,) = names - expected
    assert library.startswith("adamp/_native_")
    assert library.endswith(".so")
    assert expected < names


def test_the_wheel_is_for_every_python_3_of_this_platform_and_carries_licence_and_source(native_wheel):
    assert native_wheel.name.startswith("tangent_adamp-")
    assert "-py3-none-" in native_wheel.name
    assert not native_wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(native_wheel) as archive:
        (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        licence, metadata = (archive.read(f"{info}/{name}").decode() for name in ("licenses/LICENSE", "METADATA"))
    assert licence == (ADAMP / "LICENSE").read_text()
    assert "\nRequires-Dist: torch>=2.6\n" in metadata
    assert metadata.count("\nRequires-Dist: ") == 1
    assert "arXiv:2006.08217" in metadata


def test_the_installed_wheel_is_native_where_there_is_no_compiler(native_wheel, tmp_path):
    path, _, refusal, said = use(install(native_wheel, tmp_path / "site"), tmp_path / "use")
    assert path.startswith("native (")
    assert refusal == []
    assert said == ""
    assert not (tmp_path / "use" / "cache").exists()  # nothing was compiled


def test_without_a_compiler_the_wheel_is_plain_python_and_the_build_says_so(bare_wheel):
    wheel, said = bare_wheel
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in names_in(wheel) if name.endswith(".so")]
    assert "tangent-adamp: without the native step (no C compiler (cc, gcc or clang; `pip install ziglang`" in said


def test_without_a_compiler_plain_torch_steps_and_says_so_once(bare_wheel, tmp_path):
    path, _, refusal, said = use(install(bare_wheel[0], tmp_path / "site"), tmp_path / "use")
    assert path == "torch (native: no C compiler (cc, gcc or clang; `pip install ziglang` brings one))"
    assert said.count(WARNING) == 1
    assert len(said.splitlines()) == 1
    assert "adamp has no fused step for cpu parameters here (native: no C compiler" in refusal[0]


@pytest.mark.timeout(900)  # zig compiles its own libraries first
@pytest.mark.skipif(not HAS_ZIG, reason="NOT RUN: ziglang is not installed (`make test-long` installs it)")
def test_the_compiler_that_pip_installs_builds_a_library_with_the_same_results(native_wheel, unpacked, tmp_path):
    source = shutil.copytree(unpacked, tmp_path / "source")
    wheel, said = build(source, "wheel", tmp_path / "wheel", may_use_zig=True)
    assert "without the native step" not in said
    ours, by_zig = (install(w, tmp_path / f"site{i}") for i, w in enumerate((native_wheel, wheel)))
    assert use(by_zig, tmp_path / "by_zig")[:2] == use(ours, tmp_path / "ours")[:2]
