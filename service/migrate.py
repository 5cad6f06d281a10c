"""`python -m service.migrate`: bring the ledger to the newest schema."""

from __future__ import annotations

import sys

from service.config import load_settings
from service.errors import TangentError
from service.store import migrate


def main() -> int:
    """Migrate; returns the exit code."""
    try:
        migrate.upgrade(load_settings().require_database_url())
    except TangentError as error:
        sys.stderr.write(f"tangent: {error}\n")
        return 1
    sys.stdout.write(f"the ledger is at revision {migrate.head_revision()}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
