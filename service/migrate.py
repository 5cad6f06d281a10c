"""`python -m service.migrate`: bring the ledger to the newest schema, and make the logins that settings ask for."""

from __future__ import annotations

import sys

from service.config import load_settings
from service.errors import TangentError
from service.store import migrate, roles


def main() -> int:
    """Migrate; returns the exit code."""
    try:
        settings = load_settings()
        url = settings.require_database_url()
        migrate.upgrade(url)
        if settings.service_login_password is not None:
            password = settings.service_login_password.get_secret_value()
            roles.ensure_login(url, "tangent_api", password, roles.SERVICE_GROUP)
        if settings.worker_login_password is not None:
            password = settings.worker_login_password.get_secret_value()
            roles.ensure_login(url, "tangent_work", password, roles.WORKER_GROUP)
    except TangentError as error:
        sys.stderr.write(f"tangent: {error}\n")
        return 1
    sys.stdout.write(f"the ledger is at revision {migrate.head_revision()}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
