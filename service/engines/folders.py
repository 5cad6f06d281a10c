"""Folders and files that only one account may enter, and where short or reachable ones can lie."""

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from service.engines.privileges import Account, can_enter, user_name
from service.errors import EngineError

# sun_path holds 104 bytes on macOS, 108 on Linux, with the final zero.
_MAX_SOCKET_PATH_BYTES = 100
_LONGEST_SOCKET_NAME = ".s.PGSQL.5432"
# PostgreSQL splits lists of folders at commas, Celery lists of URLs at semicolons, and URLs need quoting for the rest.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


def private_folder(path: Path, account: Account | None) -> Path:
    """Make `path` with mode 0700 for `account`, or check that it is so already."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    # Only what root made a moment ago is given away, never another user's folder.
    if account is not None and found.st_uid == 0 and stat.S_ISDIR(found.st_mode):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    if not is_private(path, account):
        owner = user_name(account.uid if account else os.geteuid())
        raise EngineError(
            f"{path} belongs to '{user_name(found.st_uid)}' with mode {stat.S_IMODE(found.st_mode):04o}, but must be "
            f"a folder of '{owner}' with mode 0700; remove it."
        )
    return path


def is_private(path: Path, account: Account | None) -> bool:
    """Tell whether `path` is a folder that only `account` (None: the caller) and root may enter."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    owner = account.uid if account else os.geteuid()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and found.st_mode & 0o077 == 0


@contextlib.contextmanager
def plain_os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while working under `path` into one sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EngineError(
                f"The disk that holds {where} is full; free some space or choose another folder."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise EngineError(
                f"'{user_name(os.geteuid())}' has no access to {where}; choose another folder."
            ) from error
        raise EngineError(f"Cannot use {where}: {error.strerror}.") from error


def write_private(file: Path, text: str) -> None:
    """Create `file` with mode 0600; it must not exist."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)


def fits_socket(folder: Path) -> bool:
    """Tell whether a socket in `folder` has a path that the system, PostgreSQL and URLs take as it is."""
    n_bytes = len(os.fsencode(folder / _LONGEST_SOCKET_NAME))
    return n_bytes <= _MAX_SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(str(folder)) is not None


def make_short_folder(account: Account | None) -> Path:
    """Make a private folder with a short path, for sockets."""
    # Root's own TMPDIR and XDG_RUNTIME_DIR may be closed to the account.
    bases = [] if account else [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()]
    for base in [*bases, "/tmp"]:  # noqa: S108 (mkdtemp: a new name, 0700)
        if base and os.access(base, os.W_OK | os.X_OK) and fits_socket(Path(base, "tangent-12345678")):
            made = Path(tempfile.mkdtemp(prefix="tangent-", dir=base))
            return private_folder(made, account)
    raise EngineError(
        "No folder with a short path is writable for sockets; set TMPDIR to one of at most 70 characters."
    )


def make_outside_folder(home: Path, account: Account | None) -> Path:
    """Make a lasting folder of root's that `account` may pass through but not write to."""
    for base in ("/var/lib", "/var/tmp"):  # noqa: S108 (mkdtemp: a new name, 0700)
        if os.access(base, os.W_OK) and can_enter(account, Path(base)):
            made = Path(tempfile.mkdtemp(prefix="tangent-", dir=base))
            made.chmod(0o711)
            (made / "belongs-to.txt").write_text(f"Engines' data of {home}\n")
            return made
    raise EngineError(
        f"'{account and account.name}' cannot reach {home}, and neither /var/lib nor /var/tmp is writable."
    )
