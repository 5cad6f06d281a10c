"""`python -m service.api.openapi`: write docs/openapi.json, the committed description of the API."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from service.api.problems import MEDIA_TYPE
from service.api.schemas import ReplicatesFile, SettingsFile, StudyFile
from service.api.security import OPEN_PATHS
from service.config import Settings

_DESCRIPTION = """Is one optimizer better than another on your model? Submit a study; follow it; read the report.

Every route but /healthz and /readyz needs the header `Authorization: Bearer <token>`. Every error is a problem
(RFC 9457). Lists are continued with `next_page_token`; events with `Last-Event-ID`."""
_TEMPLATE = "#/components/schemas/{model}"


class FieldProblem(BaseModel):
    """One thing wrong with a request."""

    field: str = Field(examples=["arms[1].search.lr"])
    message: str = Field(examples=["a log range needs ends above 0, got [0.0, 1.0]"])


class Problem(BaseModel):
    """An error (RFC 9457, application/problem+json)."""

    type: str = Field(examples=["urn:tangent:problem:invalid-input"])
    title: str = Field(examples=["Invalid input"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["the study cannot run as described: 1 problem"])
    instance: str = Field(examples=["/api/v1/studies"])
    errors: list[FieldProblem] = []
    error_id: str | None = Field(None, description="With status 500 only: where the server's log has the details.")


def describe(app: FastAPI) -> dict[str, Any]:
    """The application's OpenAPI document; made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version=app.openapi_version,
            description=_DESCRIPTION,
            routes=app.routes,
        )
        _add_schemas(document)
        _add_problems(document)
        _add_security(document)
        app.openapi_schema = document
    return app.openapi_schema


def _add_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (StudyFile, SettingsFile, ReplicatesFile, Problem):
        schema = model.model_json_schema(ref_template=_TEMPLATE)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    document["components"]["schemas"] = dict(sorted(schemas.items()))


def _add_problems(document: dict[str, Any]) -> None:
    """FastAPI's own description of a 422 is not what is sent; every error is a problem."""
    schema = {"$ref": _TEMPLATE.format(model="Problem")}
    problem = {"description": "A problem", "content": {MEDIA_TYPE: {"schema": schema}}}
    for operation in _operations(document):
        operation["responses"].pop("422", None)
        operation["responses"]["default"] = problem


def _add_security(document: dict[str, Any]) -> None:
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path in OPEN_PATHS:
        for operation in document["paths"][path].values():
            operation["security"] = []


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def render() -> str:
    """The committed file's text."""
    from service.api.app import create_app  # the application imports this module

    settings = Settings(database_url="postgresql://unused/unused", api_token="unused-unused-unused")  # noqa: S106
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file; returns the exit code."""
    path = Path(__file__).parents[2] / "docs" / "openapi.json"
    path.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
