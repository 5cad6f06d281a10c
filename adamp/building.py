"""Compiling the native step with the system's C compiler: at install, or on first use in a source checkout.

Only the standard library is imported, because `setup.py` runs this without torch.
"""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).with_name("csrc")

# No -march=native and no -ffast-math: one binary for all processors, and the same bits from every loop.
FLAGS = (
    "-O3",
    "-std=gnu11",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-strict-aliasing",
)
_X86_SETS = {
    "avx2": ("-mavx2", "-mfma"),
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"),
}


class BuildError(Exception):
    """The native step cannot be compiled here; the message says why."""


def find_compiler() -> list[str]:
    """The command of a C compiler: $CC, the system's, or that of the package `ziglang`.

    Raises:
        BuildError: There is none.
    """
    if given := os.environ.get("CC"):
        return shlex.split(given)
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise BuildError("no C compiler (cc, gcc or clang; `pip install ziglang` brings one)")


def library_name() -> str:
    """File name of the library: it holds a hash of the sources, so that an old library is never taken for a new one."""
    digest = hashlib.sha256(f"{sys.platform} {platform.machine()} {FLAGS} {_X86_SETS}".encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"_native_{digest.hexdigest()[:16]}.so"


def build(target: Path, *, compiler: Sequence[str] | None = None, extra_flags: Sequence[str] = ()) -> None:
    """Compile the library and put it at `target` in one move, so that several processes may do so at once.

    Raises:
        BuildError: There is no compiler, it fails, or the folder cannot be written.
    """
    _refuse_other_systems()
    command = list(compiler or find_compiler())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, because only within one file system a move is atomic.
        with tempfile.TemporaryDirectory(prefix=".adamp-", dir=target.parent) as folder:
            _compile_and_link(command, tuple(extra_flags), Path(folder)).replace(target)
    except OSError as error:
        raise BuildError(f"{error}") from error


def cached_library() -> Path:
    """The library in the user's cache, compiled now if it is not there yet.

    Raises:
        BuildError: As in `build`, or the cache belongs to somebody else.
    """
    _refuse_other_systems()
    target = cache_folder() / library_name()
    if not target.exists():
        build(target)
    return target


def _refuse_other_systems() -> None:
    if os.name != "posix":
        raise BuildError("the native step is for Linux and macOS")


def cache_folder() -> Path:
    """The user's folder for compiled libraries, made now if it is not there yet.

    Raises:
        BuildError: It belongs to, or can be written by, somebody else.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tangent-adamp"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_usable = os.access(folder, os.W_OK)
    except (OSError, RuntimeError):  # RuntimeError: this user has no home, as in some containers
        is_usable = False
    if not is_usable:
        folder = Path(tempfile.gettempdir()) / f"tangent-adamp-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    # A library runs in this process: it must not come from a folder that others can write to.
    state = folder.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise BuildError(f"the cache {folder} belongs to, or can be written by, another user")
    return folder


def _compile_and_link(command: list[str], extra_flags: tuple[str, ...], folder: Path) -> Path:
    units: list[tuple[str, str, tuple[str, ...]]] = [
        ("step.c", "step", ()),
        ("repetition.c", "repetition", ()),
        ("kernels.c", "generic", ()),
    ]
    if platform.machine().lower() in ("x86_64", "amd64"):
        units += [("kernels.c", name, flags) for name, flags in _X86_SETS.items()]
    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(lambda unit: _compile(command, extra_flags, folder, *unit), units))
    library = folder / "library"
    _run([*command, *extra_flags, "-shared", "-o", str(library), *objects, "-lm", "-lpthread"])
    return library


def _compile(
    command: list[str], extra_flags: tuple[str, ...], folder: Path, source: str, name: str, flags: tuple[str, ...]
) -> str:
    target = str(folder / f"{name}.o")
    _run([*command, *FLAGS, *flags, *extra_flags, f"-DADAMP_ISA={name}", "-c", str(SOURCES / source), "-o", target])
    return target


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200]).strip()
        raise BuildError(f"{command[0]} failed: {first or f'exit status {done.returncode}'}")
