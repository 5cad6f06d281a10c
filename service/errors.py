"""Every error that Tangent raises on purpose; the message of each is one plain sentence for the user."""


class TangentError(Exception):
    """One plain sentence for the user: the rule, the value and the way out."""


class EngineError(TangentError):
    """A local PostgreSQL or Redis could not be found, started or stopped."""


class StoreUnavailableError(TangentError):
    """Postgres does not answer; whoever asked may try again."""


class StoreRefusedError(TangentError):
    """Postgres answered, and refused a statement: a constraint, a right, a value. Asking again will not help."""


class QueueUnavailableError(TangentError):
    """Redis does not answer; work in the ledger is safe and the sweep will announce it again."""


class NotFoundError(TangentError):
    """What was asked for does not exist."""


class ConflictError(TangentError):
    """The state of a thing forbids what was asked."""


class ReadOnlyStorageError(TangentError):
    """Somebody tried to write through a storage that only reads; the message says where to write instead."""


class RevisionError(TangentError):
    """A thing has changed since the caller looked at it."""


class InFlightError(TangentError):
    """The same request is being answered in this moment."""


class KeyReusedError(TangentError):
    """An idempotency key came with another request than before."""


class InvalidInputError(TangentError):
    """A request is well-formed but says something impossible.

    Attributes:
        problems: (field, message) of each thing that is wrong.
    """

    def __init__(self, message: str, problems: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


class ConfigurationError(TangentError):
    """The environment or a settings file is incomplete or wrong."""


class ServiceError(TangentError):
    """The service answered a request with an error, or not at all; raised by the HTTP client."""

    def __init__(self, message: str, status: int | None = None, problem: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}
