"""Routes of checks: upload a report, list, show. The server runs nothing of what a report names."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from service import checks
from service.api.bodies import JSON_TYPES, read_document
from service.api.context import Ledger
from service.api.idempotency import OnceOnly
from service.api.pages import make_token, read_token
from service.api.problems import MalformedBodyError, UnsupportedMediaTypeError
from service.api.routes.control import answer
from service.store.database import Connection

router = APIRouter(prefix="/checks", tags=["checks"])

CheckPath = Annotated[int, Path(ge=1, le=2**63 - 1, description="The check's id.", examples=[3])]
_BODY = {
    "requestBody": {
        "required": True,
        "description": "One entry of `checks` in what `tangent check --json` writes; see docs/check.schema.json.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class CheckSummary(BaseModel):
    """A check in a list."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str = Field(description="Of the configuration; checks of one name form a history.")
    optimizer: str = Field(examples=["adamp:AdamP"])
    baseline: str = Field(examples=["main (0123456789ab)"])
    candidate: str
    verdict: str = Field(description="PASS, FAIL, INCONCLUSIVE, CHANGED or SKIPPED.")
    exit_code: int = Field(description="What `tangent check` returned, had it been without --strict and --bisect.")
    created_at: datetime
    uploaded_at: datetime


class CheckPage(BaseModel):
    """Checks, newest first."""

    checks: list[CheckSummary]
    next_page_token: str | None = Field(description="Send it as page_token for the next page; null at the end.")


class CheckDetail(CheckSummary):
    """A check with its report."""

    report: dict[str, Any] = Field(description="See docs/check.schema.json.")


async def _report(request: Request) -> dict[str, Any]:
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() not in JSON_TYPES:
        raise UnsupportedMediaTypeError(f"Content-Type must be {JSON_TYPES[0]}, got {content_type[:100]!r}")
    document = await run_in_threadpool(read_document, await request.body(), content_type)
    if not isinstance(document, dict):
        raise MalformedBodyError("the report of a check is an object; see docs/check.schema.json")
    return document


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=CheckSummary,
    responses={200: {"model": CheckSummary, "description": "The same report was there already."}},
    openapi_extra=_BODY,
    summary="Upload a check's report",
)
def upload_check(ledger: Ledger, once: OnceOnly, document: Annotated[dict[str, Any], Depends(_report)]) -> Any:
    """Keep a report for the history of its name; its verdicts are recomputed. The same report is kept once."""

    def work(connection: Connection) -> Response:
        row, is_new = checks.keep(connection, document)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return answer(CheckSummary, row, code, {"Location": f"/api/v1/checks/{row.id}"})

    return once.answer(ledger, work)


@router.get("", response_model=CheckPage, summary="List checks")
def list_checks(
    ledger: Ledger,
    name: Annotated[str | None, Query(max_length=checks.MAX_TEXT, description="Only those of this name.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    page_token: Annotated[str | None, Query(max_length=100)] = None,
) -> Any:
    """Checks, the last uploaded first."""
    before = read_token("checks", page_token)
    with ledger.transaction() as connection:
        rows, following = checks.list_page(connection, name=name, before=before, limit=limit)
    return {"checks": rows, "next_page_token": make_token("checks", following)}


@router.get("/{check_id}", response_model=CheckDetail, summary="Show a check")
def show_check(ledger: Ledger, check_id: CheckPath) -> Any:
    """A check with the report that was uploaded."""
    with ledger.transaction() as connection:
        row, report = checks.show(connection, check_id)
    return {**CheckSummary.model_validate(row).model_dump(), "report": report}
