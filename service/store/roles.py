"""Login roles for the API and the workers, members of the groups that the first migration makes and grants to."""

from __future__ import annotations

from psycopg import sql
from sqlalchemy import create_engine, exc

from service.errors import StoreUnavailableError

SERVICE_GROUP = "tangent_service"
WORKER_GROUP = "tangent_worker"


def ensure_login(url: str, name: str, password: str, group: str) -> None:
    """Create the role `name`, or renew its password, and make it a member of `group`.

    Args:
        url: Address of a role that may create roles, as the owner of the ledger does.
        name: Name of the login role.
        password: Its password; sent as a SCRAM verifier's input over this connection only.
        group: SERVICE_GROUP or WORKER_GROUP.
    """
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        with engine.begin() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None  # noqa: S101 (the connection is open)
            exists = raw.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
            verb = sql.SQL("ALTER" if exists else "CREATE")
            statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
            raw.execute(statement.format(verb, sql.Identifier(name), sql.Literal(password)))
            raw.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(name)))
    except exc.OperationalError as error:
        raise StoreUnavailableError(str(error.orig).strip().partition("\n")[0]) from error
    finally:
        engine.dispose()
