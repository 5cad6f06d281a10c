"""Login roles for the API and the workers, members of the groups that the first migration makes and grants to."""

from __future__ import annotations

import psycopg
from psycopg import sql

from service.errors import ConfigurationError, StoreUnavailableError

SERVICE_GROUP = "tangent_service"
WORKER_GROUP = "tangent_worker"
_ATTEMPTS = 20


def ensure_login(url: str, name: str, password: str, group: str) -> None:
    """Create the role `name`, or renew its password, and make it a member of `group`.

    Args:
        url: Address of a role that may create roles, as the owner of the ledger does.
        name: Name of the login role.
        password: Its password; sent as a SCRAM verifier's input over this connection only.
        group: SERVICE_GROUP or WORKER_GROUP.

    Raises:
        StoreUnavailableError: Postgres does not answer.
        ConfigurationError: The role of `url` may not do that.
    """
    try:
        for _ in range(_ATTEMPTS):
            if _make_login(url, name, password, group):
                return
    except psycopg.OperationalError as error:
        raise StoreUnavailableError(str(error).strip().partition("\n")[0]) from error
    except psycopg.errors.InsufficientPrivilege as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(f"cannot make the login {name}: {reason}; migrate as the ledger's owner") from error
    raise StoreUnavailableError(f"the login {name} is being changed by others all the time")


def _make_login(url: str, name: str, password: str, group: str) -> bool:
    """Do it; False where another did the same in this moment. Roles belong to the server: no lock covers them."""
    try:
        with psycopg.connect(url, application_name="tangent-migrate", connect_timeout=5) as connection:
            exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
            verb = sql.SQL("ALTER" if exists else "CREATE")
            statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(verb, sql.Identifier(name), sql.Literal(password)))
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(name)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation, psycopg.errors.InternalError_):
        return False  # the last is "tuple concurrently updated"
    return True
