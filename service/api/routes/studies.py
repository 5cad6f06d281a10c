"""Routes of studies: submit, list, show, report, export."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, status
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool

from service import exports, reports, studies
from service.api.bodies import YAML_TYPES, read_document
from service.api.context import Ledger, Samplers, StudyPath
from service.api.etags import IfNoneMatch, etag_of, is_known
from service.api.idempotency import OnceOnly
from service.api.pages import make_token, read_token
from service.api.routes.control import answer, study_answer, submit
from service.api.schemas import StudyFile, check_study_file
from service.api.views import (
    StudyDetail,
    StudyPage,
    SubmittedView,
    ValidationView,
    study_summary,
    validation_view,
)
from service.domain.trial import StudyId
from service.errors import NotFoundError
from service.output.forms import MEDIA_TYPES, render

router = APIRouter(prefix="/studies", tags=["studies"])

_SCHEMA = {"$ref": "#/components/schemas/StudyFile"}
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"A study file, as JSON or as YAML 1.2. {StudyFile.__doc__}",
        "content": {"application/json": {"schema": _SCHEMA}, YAML_TYPES[0]: {"schema": _SCHEMA}},
    }
}


class StudyState(StrEnum):
    """Where a study stands."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ExportFormat(StrEnum):
    """Forms of an export."""

    JSON = "json"
    CSV = "csv"


class ReportFormat(StrEnum):
    """Forms of a report."""

    JSON = "json"
    MARKDOWN = "md"
    HTML = "html"
    CSV = "csv"
    SVG = "svg"


class Figure(StrEnum):
    """Figures of a report."""

    EFFECTS = "effects"
    EXPECTED_BEST = "expected-best"
    DIFFERENCE = "difference"
    SURFACE = "surface"


async def _study_file(request: Request) -> dict[str, Any]:
    body = await request.body()
    document = await run_in_threadpool(read_document, body, request.headers.get("content-type", ""))
    return check_study_file(document)


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=SubmittedView,
    responses={200: {"model": ValidationView, "description": "With validate_only: what the study would cost."}},
    openapi_extra=_BODY,
    summary="Submit a study",
)
def submit_study(
    ledger: Ledger,
    samplers: Samplers,
    once: OnceOnly,
    document: Annotated[dict[str, Any], Depends(_study_file)],
    validate_only: Annotated[bool, Query(description="Check the file and say its cost; write nothing.")] = False,
) -> Any:
    """Accept a study: it is in the ledger when the answer comes, and the coordinator starts it."""
    if validate_only:
        with ledger.transaction() as connection:
            return answer(ValidationView, validation_view(studies.validate(connection, document, samplers)))
    return once.answer(ledger, lambda connection: submit(connection, document, samplers))


@router.get("", response_model=StudyPage, summary="List studies")
def list_studies(
    ledger: Ledger,
    state: StudyState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    page_token: Annotated[str | None, Query(max_length=100)] = None,
) -> Any:
    """Studies, newest first."""
    before = read_token("studies", page_token)
    with ledger.transaction() as connection:
        rows, following = studies.list_page(connection, before=before, limit=limit, state=state)
        cancelled = studies.cancelled_counts(connection, rows)
    summaries = [study_summary(row, cancelled.get(row.id, 0)) for row in rows]
    return {"studies": summaries, "next_page_token": make_token("studies", following)}


@router.get(
    "/{study_id}",
    response_model=StudyDetail,
    responses={304: {"description": "The study is at the revision of If-None-Match."}},
    summary="Show a study",
)
def show_study(ledger: Ledger, study_id: StudyPath, known: IfNoneMatch = None) -> Any:
    """A study with its progress by arm and phase, its cells, and the time that is left; its ETag names the revision."""
    with ledger.transaction() as connection:
        tag = etag_of(study_id, studies.get(connection, StudyId(study_id)).revision)
        if is_known(known, tag):
            return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": tag})
        return study_answer(connection, study_id)


@router.get(
    "/{study_id}/report",
    response_model=dict[str, Any],
    responses={200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()}}},
    summary="The comparison of a study's arms",
)
def show_report(
    ledger: Ledger,
    study_id: StudyPath,
    format: ReportFormat = ReportFormat.JSON,  # noqa: A002
    figure: Figure = Figure.EFFECTS,
) -> Any:
    """The report as far as the study's trials allow: verdicts with intervals, winners, curves, warnings.

    JSON follows docs/report.schema.json; `md` and `html` are whole pages, `csv` the raw values of the confirm runs,
    `svg` one figure, 404 where the report has nothing to draw.
    """
    document = reports.report_of(ledger, StudyId(study_id))
    if format is ReportFormat.JSON:
        return JSONResponse(document)
    try:
        text = render(document, format.value, figure.value)
    except ValueError as error:
        raise NotFoundError(str(error)) from error
    return Response(text, media_type=MEDIA_TYPES[format.value])


@router.get(
    "/{study_id}/export",
    response_class=Response,
    responses={200: {"content": {"application/json": {}, "text/csv": {}}, "description": "The file."}},
    summary="Export a study with its trials",
)
def export_study(ledger: Ledger, study_id: StudyPath, format: ExportFormat = ExportFormat.JSON) -> Response:  # noqa: A002
    """All trials as one file: JSON to recompute the report elsewhere, CSV for tables."""
    name = {"Content-Disposition": f'attachment; filename="study-{study_id}.{format}"'}
    with ledger.transaction() as connection:
        if format is ExportFormat.CSV:
            text = exports.export_csv(connection, StudyId(study_id))
            return PlainTextResponse(text, headers=name, media_type="text/csv")
        return JSONResponse(exports.export_json(connection, StudyId(study_id)), headers=name)
