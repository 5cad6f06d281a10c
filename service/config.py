"""Settings: the only reader of the environment. Nothing is read at import."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import ConfigurationError


def _seconds(value: object) -> object:
    try:
        return timedelta(seconds=float(value)) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"must be a number of seconds, got {value!r}") from None


Seconds = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]


class Settings(BaseSettings):
    """Every setting of every process, from variables that start with TANGENT_ (see .env.example)."""

    model_config = SettingsConfigDict(env_prefix="TANGENT_", env_ignore_empty=True, extra="ignore")

    home: Path | None = Field(None, description="Folder of a local instance; the default is .tangent here.")
    database_url: SecretStr | None = Field(None, description="postgresql://user:password@host:port/database")
    redis_url: SecretStr | None = Field(None, description="redis://:password@host:port/0")
    service_login_password: SecretStr | None = Field(
        None, description="Makes the migration create the database login tangent_api, for API and coordinator."
    )
    worker_login_password: SecretStr | None = Field(
        None, description="Makes the migration create the database login tangent_work, for workers."
    )
    api_token: SecretStr | None = Field(None, description="Bearer token that every request must carry.")
    api_url: str | None = Field(None, description="Where the command line finds the API.")
    api_host: str = Field("127.0.0.1", description="Address on which the API listens.")
    api_port: int = Field(8417, ge=0, le=65535, description="Port on which the API listens; 0 takes a free one.")
    allowed_hosts: str = Field(
        "127.0.0.1,localhost", description="Values of the Host header that the API answers, separated by commas."
    )
    max_body_bytes: int = Field(1_000_000, gt=0, description="Largest request body in bytes.")
    lease: Seconds = Field(timedelta(seconds=30), description="Lease of a running trial, in seconds.")
    sweep: Seconds = Field(timedelta(seconds=10), description="Period of the sweep, in seconds.")
    poll: Seconds = Field(timedelta(seconds=5), description="How often processes look without being woken.")
    slots: int = Field(0, ge=0, description="Slots of a worker; 0 is one for each core or GPU.")
    slot_threads: int = Field(1, ge=1, description="Threads of each slot.")
    checkpoint_dir: str | None = Field(
        None, description="Folder or fsspec URL (s3://bucket/path) for checkpoints, best shared by all hosts."
    )
    checkpoint_every: Seconds = Field(timedelta(seconds=30), description="Time between checkpoints, in seconds.")
    allowed_optimizers: str = Field("", description="module:Class names of further optimizers, separated by commas.")
    allowed_workloads: str = Field("", description="module:Class names of further workloads, separated by commas.")
    allowed_samplers: str = Field(
        "",
        description="module:Class names of further Optuna samplers, separated by commas.",
    )
    coordinator_has_torch: bool = Field(
        False, description="The coordinator runs in an image with PyTorch, which the sampler gp needs."
    )
    demo_seed: int = Field(0, ge=0, lt=2**24 // 3, description="Changes the seeds of the demo's three studies.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR."
    )

    def require_database_url(self) -> str:
        """The ledger's address; raises ConfigurationError where it is missing or malformed."""
        return _require("TANGENT_DATABASE_URL", self.database_url, ("postgresql",))

    def require_redis_url(self) -> str:
        """The broker's address; raises ConfigurationError where it is missing or malformed."""
        return _require("TANGENT_REDIS_URL", self.redis_url, ("redis", "rediss", "unix"))

    def require_api_token(self) -> str:
        """The API's token; raises ConfigurationError where it is missing or shorter than 16 characters."""
        token = self.api_token.get_secret_value() if self.api_token else ""
        if len(token) < 16:
            raise ConfigurationError("TANGENT_API_TOKEN must be set, to at least 16 characters")
        return token


def load_settings() -> Settings:
    """Read the environment; raises ConfigurationError with one sentence for each variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"TANGENT_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"the environment is wrong: {wrong}") from error


def names(listed: str) -> tuple[str, ...]:
    """The entries of a setting that separates them by commas."""
    return tuple(entry.strip() for entry in listed.split(",") if entry.strip())


def _require(variable: str, value: SecretStr | None, schemes: tuple[str, ...]) -> str:
    if value is None:
        raise ConfigurationError(f"{variable} is not set; `tangent up` starts a local instance that needs no settings")
    scheme, separator, rest = value.get_secret_value().partition("://")
    if scheme not in schemes or not separator or not rest:
        expected = " or ".join(f"{known}://" for known in schemes)
        raise ConfigurationError(f"{variable} must be an address that starts with {expected}")
    return value.get_secret_value()
