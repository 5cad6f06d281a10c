"""Alembic's entry: runs on the connection that service.store.migrate hands over, else on TANGENT_DATABASE_URL."""

from alembic import context
from sqlalchemy import create_engine

from service.config import Settings
from service.store.database import driver_url
from service.store.schema import metadata


def run(connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    url = driver_url(Settings().require_database_url())
    with create_engine(url).begin() as own:
        run(own)
