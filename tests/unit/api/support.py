"""An application whose Postgres does not exist: enough for all that is decided before a transaction."""

import copy
from collections.abc import Mapping
from typing import Any

from service.api.app import create_app
from service.api.schemas import EXAMPLE
from service.config import Settings
from tests.asgi import Caller

TOKEN = "0123456789abcdef"
NOWHERE = "postgresql://nobody:nothing@/nothing?host=/nonexistent&port=5432"


def settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {"database_url": NOWHERE, "api_token": TOKEN, "max_body_bytes": 100_000, **changes}
    return Settings(**given)


def caller(*, token: str | None = TOKEN, host: str = "localhost", **changes: Any) -> Caller:
    return Caller(create_app(settings(**changes)), base_url=f"http://{host}", token=token)


def study_file(**changes: Any) -> dict[str, Any]:
    """The example with other values; None takes a key out."""
    document = {**copy.deepcopy(EXAMPLE), **changes}
    return {key: value for key, value in document.items() if value is not None}


def problem_of(response: Any) -> Mapping[str, Any]:
    """The problem in an answer, with what every problem must have."""
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(problem)
    assert problem["status"] == response.status_code
    assert problem["type"].startswith("urn:tangent:problem:")
    assert "Traceback" not in response.text
    assert 'File "' not in response.text
    return problem
