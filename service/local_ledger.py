"""Where the ledger is, for programs that open it themselves: what the settings name, else the local instance's."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from service.config import Settings
from service.engines.home import DATA_FOLDER, EngineHome
from service.engines.postgres import DATABASE
from service.errors import ConfigurationError
from service.launch import home_of

_SOCKET_LINE, _PORT_LINE = 4, 3
"""Of postmaster.pid, which PostgreSQL documents with the data folder's layout; counted from 0."""


def ledger_url(settings: Settings, role: str) -> str:
    """Address of the ledger.

    Args:
        role: "worker", which may read all and write what slots write, or "service", which may write all. Of a ledger
            that the settings name, the settings' login is used.

    Raises:
        ConfigurationError: The settings name none, and no local instance of this user runs.
    """
    if settings.database_url is not None:
        return settings.require_database_url()
    home = home_of(settings)
    try:
        folder, port = _socket_of(home)
        password = (home / "secrets" / f"login_{role}").read_text()
    except (OSError, IndexError, ValueError) as error:
        raise ConfigurationError(
            f"no ledger runs in {home}; start one with `tangent up`, or name one with TANGENT_DATABASE_URL"
        ) from error
    return f"postgresql://local_{role}:{quote(password, safe='')}@/{DATABASE}?host={quote(folder)}&port={port}"


def _socket_of(home: Path) -> tuple[str, int]:
    """Folder and number of the running server's socket, as its postmaster wrote them down."""
    root = EngineHome(home).read().outside or home
    lines = (root / DATA_FOLDER / "postmaster.pid").read_text().splitlines()
    return lines[_SOCKET_LINE].strip(), int(lines[_PORT_LINE])
