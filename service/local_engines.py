"""The engines of a local instance: started and migrated, started again when they die, stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from service.children import Deaths
from service.config import Settings
from service.engines import PostgresServer, RedisServer, describe_identity
from service.engines.home import EngineHome
from service.errors import ConfigurationError, EngineError
from service.store import migrate, roles

Tell = Callable[[str], None]


class LocalEngines:
    """PostgreSQL and Redis of one home; those whose URL is set are somebody else's and left alone."""

    def __init__(self, home: Path, settings: Settings, tell: Tell) -> None:
        """Name them; `tell` is called before each step and may raise to give up."""
        self._home, self._settings, self._tell = home, settings, tell
        logs = home / "logs"
        postgres = PostgresServer(home, log=logs / "postgres.log") if settings.database_url is None else None
        redis = RedisServer(home, log=logs / "redis.log") if settings.redis_url is None else None
        self._postgres, self._redis = postgres, redis
        started = {"Redis": redis, "PostgreSQL": postgres}
        self._ours = {name: server for name, server in started.items() if server is not None}
        self._deaths = {name: Deaths(name, logs / f"{name.removesuffix('QL').lower()}.log") for name in self._ours}

    def start(self) -> dict[str, str]:
        """Start and migrate; returns the addresses for "service" and "worker" of the ledger, and "redis"."""
        urls = self._start_postgres() if self._postgres is not None else self._migrate_foreign()
        if self._redis is None:
            return {**urls, "redis": self._settings.require_redis_url()}
        self._tell("starting Redis")
        return {**urls, "redis": self._redis.start().url}

    def revive(self) -> None:
        """Start again what died; raises TangentError where it died too often, or cannot start."""
        for name, server in self._ours.items():
            if not server.is_running():
                self._tell(self._deaths[name].note("ended"))
                server.start()

    def stop(self) -> list[str]:
        """Stop them, Redis first; returns what could not be done."""
        problems = []
        for server in self._ours.values():
            try:
                server.stop()
            except EngineError as error:
                problems.append(str(error))
        return problems

    def _migrate_foreign(self) -> dict[str, str]:
        url = self._settings.require_database_url()
        self._tell("migrating the ledger")
        try:
            migrate.upgrade(url)
        except ValueError as error:  # its text may hold the password
            raise ConfigurationError("TANGENT_DATABASE_URL is no postgresql://user:password@host:port/name") from error
        return {"service": url, "worker": url}

    def _start_postgres(self) -> dict[str, str]:
        assert self._postgres is not None  # noqa: S101 (the caller has looked)
        self._tell(f"starting PostgreSQL ({describe_identity()})")
        handle = self._postgres.start()
        self._tell("migrating the ledger")
        migrate.upgrade(handle.url())
        urls = {}
        for name, group in (("service", roles.SERVICE_GROUP), ("worker", roles.WORKER_GROUP)):
            password = EngineHome(self._home).secret(f"login_{name}")
            roles.ensure_login(handle.url(), f"local_{name}", password, group)
            urls[name] = handle.url(f"local_{name}", password)
        return urls
