"""As whom the engines run: as the caller, or, because PostgreSQL refuses root, as an account that root drops to."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.errors import EngineError

# Accounts made for a database or for nothing else; `_postgres` is macOS's name.
_PREFERRED_NAMES = ("postgres", "_postgres", "nobody", "daemon", "bin")


@dataclass(frozen=True)
class Account:
    """An existing, unprivileged system account that root can drop to."""

    name: str
    uid: int
    gid: int


def is_root() -> bool:
    """Tell whether this process may, and for an engine must, change its user."""
    return os.geteuid() == 0


def user_name(uid: int) -> str:
    """Return the account's name, or the number where the system knows none (usual in containers)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def choose_account(owned_folder: Path | None = None) -> Account | None:
    """Return the account that the engines run as; None means the caller's own.

    Args:
        owned_folder: An existing data folder, whose owner is kept: an account that an administrator adds later must not
            change as whom old data is opened. None, or a folder of root's, chooses among the preferred accounts.
    """
    if not is_root():
        return None
    if owned_folder is not None and owned_folder.stat().st_uid != 0:
        owner = owned_folder.stat()
        return Account(user_name(owner.st_uid), owner.st_uid, owner.st_gid)
    for account in _candidates():
        if can_run(account, "/bin/sh", "-c", ":"):
            return account
    raise EngineError(
        "PostgreSQL refuses to run as root, and root can drop to no other account here; "
        "start Tangent as an ordinary user, or give the URLs of running servers."
    )


def engine_environment() -> dict[str, str]:
    """Return the little that an engine needs: none of the caller's secrets, and messages in English."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"} | kept


def ids_of(account: Account | None) -> tuple[int | None, int | None, list[int] | None]:
    """Return subprocess's `user`, `group` and `extra_groups`: all changed, or all kept."""
    return (None, None, None) if account is None else (account.uid, account.gid, [account.gid])


def can_run(account: Account | None, *argv: str | Path) -> bool:
    """Run a short command as `account` and tell whether it started and returned 0."""
    user, group, extra_groups = ids_of(account)
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=engine_environment(),
            timeout=20,
            check=False,
            user=user,
            group=group,
            extra_groups=extra_groups,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def can_enter(account: Account | None, folder: Path) -> bool:
    """Tell whether `account` may pass through `folder` and everything above it; asked of the kernel, so ACLs count."""
    return account is None or can_run(account, "/bin/sh", "-c", 'cd -- "$1"', "sh", folder)


def describe_identity(data_dir: Path | None = None) -> str:
    """Say in one sentence as whom the engines run, for example on `data_dir` that exists already."""
    account = choose_account(data_dir)
    if account is None:
        return f"running as '{user_name(os.geteuid())}': PostgreSQL and Redis run as the same user"
    return f"running as root: PostgreSQL and Redis run as '{account.name}', because PostgreSQL refuses root"


def _candidates() -> Iterator[Account]:
    for name in _PREFERRED_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            yield Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for entry in pwd.getpwall():
        # An account with a login shell may be a person's, who could then read the data.
        if entry.pw_uid != 0 and entry.pw_shell.endswith(("nologin", "false")):
            yield Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
