"""The trials table with its filter, and its CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.responses import Response

from service import studies
from service.dashboard.context import Ledger, StudyPath
from service.dashboard.palette import arm_styles
from service.dashboard.rendering import page
from service.domain.trial import StudyId
from service.domain.trial_filter import EXAMPLES, Condition, FilterError, parse_filter
from service.store.dashboard_trials import SORTS, count_trials, page_of_trials
from service.store.database import Connection, Database
from service.store.studies import StudyRow

router = APIRouter(include_in_schema=False)

PAGE = 50
CSV_PAGE = 2000
COLUMNS = {
    "replicate": "replicate",
    "phase": "phase",
    "state": "state",
    "value": "validation value",
    "test_value": "test value",
    "params": "parameters",
    "duration_s": "took",
    "n_steps": "steps",
    "seed": "seed",
    "attempt": "attempts",
}
"""Columns that may be picked beside number and arm, which stay, and beside each parameter by itself."""
SHOWN = ("replicate", "phase", "state", "value", "params", "duration_s")

_Filter = Annotated[str, Query(max_length=500)]
_Sort = Annotated[str, Query(pattern="^-?(number|value|test_value|duration_s|n_steps|replicate)$")]
_After = Annotated[str, Query(max_length=60, pattern=r"^([-+.e0-9]*:\d{1,10})?$")]


@router.get("/studies/{study_id}/trials")
def lead_to_table(request: Request, study_id: StudyPath) -> Response:
    """The table is a section of the study's page; filter, sort and columns stay."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/studies/{study_id}{query}#trials", 303)


@router.get("/studies/{study_id}/parts/trials")
def show_table(
    request: Request,
    ledger: Ledger,
    study_id: StudyPath,
    filter: _Filter = "",  # noqa: A002
    sort: _Sort = "number",
    after: _After = "",
    cols: Annotated[list[str] | None, Query(max_length=60)] = None,
) -> Response:
    """A page of the table; a filter that cannot be read is said and shows nothing."""
    with ledger.transaction() as connection:
        row = studies.get(connection, StudyId(study_id))
        conditions, problem = _read(row, filter)
        found: list[dict[str, Any]] = []
        n = 0
        if not problem:
            found = _page(connection, row, conditions, sort, _place(after), PAGE + 1)
            n = count_trials(connection, row.id, conditions)
    offered = {**COLUMNS, **{f"p.{name}": name for name in sorted({n for arm in row.study.arms for n in arm.space})}}
    columns = [name for name in offered if name in (cols or SHOWN)]
    given = {"filter": filter, "sort": sort, "cols": columns if cols else []}
    context = {
        "row": row,
        "styles": arm_styles([(arm.name, arm.optimizer) for arm in row.study.arms]),
        "trials": found[:PAGE],
        "n": n,
        "filter": filter,
        "sort": sort,
        "problem": problem,
        "examples": {example: _link(row, {**given, "filter": example}) for example in EXAMPLES},
        "all": _link(row, {**given, "filter": ""}),
        "columns": {name: offered[name] for name in columns},
        "all_columns": offered,
        "sorts": {name: _link(row, {**given, "sort": _turned(sort, name)}) for name in SORTS},
        "next": _link(row, {**given, "after": _mark(found[PAGE - 1], sort)}) if len(found) > PAGE else None,
        "first": _link(row, given) if after else None,
        "csv": f"/studies/{row.id}/trials.csv?{urlencode({'filter': filter, 'sort': sort})}",
    }
    return page(request, "parts/trials.html", context, as_of=row.revision)


def _read(row: StudyRow, text: str) -> tuple[tuple[Condition, ...], str]:
    params = {name for arm in row.study.arms for name in arm.space}
    try:
        return parse_filter(text, params), ""
    except FilterError as error:
        return (), str(error)


def _page(
    connection: Connection,
    row: StudyRow,
    conditions: tuple[Condition, ...],
    sort: str,
    after: tuple[float | None, int] | None,
    limit: int,
) -> list[dict[str, Any]]:
    name = sort.removeprefix("-")
    is_descending = sort.startswith("-")
    return page_of_trials(
        connection, row.id, conditions, sort=name, is_descending=is_descending, after=after, limit=limit
    )


def _place(after: str) -> tuple[float | None, int] | None:
    """Where a page starts: "0.1234:17" is after trial 17, whose sort value is 0.1234; ":17" has none."""
    if not after:
        return None
    value, _, number = after.rpartition(":")
    try:
        return (float(value) if value else None, int(number))
    except ValueError:
        return None


def _mark(trial: Mapping[str, Any], sort: str) -> str:
    value = trial[sort.removeprefix("-")]
    return f"{'' if value is None else repr(float(value))}:{trial['number']}"


def _turned(sort: str, name: str) -> str:
    return f"-{name}" if sort == name else name


def _link(row: StudyRow, given: Mapping[str, Any]) -> str:
    query = urlencode({key: value for key, value in given.items() if value}, doseq=True)
    return f"/studies/{row.id}?{query}#trials"


@router.get("/studies/{study_id}/trials.csv")
def export_table(
    ledger: Ledger,
    study_id: StudyPath,
    filter: _Filter = "",  # noqa: A002
    sort: _Sort = "number",
) -> Response:
    """All trials that the filter lets through, in that order, sent as they are read."""
    with ledger.transaction() as connection:
        row = studies.get(connection, StudyId(study_id))
    conditions, problem = _read(row, filter)
    if problem:
        return Response(problem + "\n", 422, media_type="text/plain")
    headers = {"Content-Disposition": f'attachment; filename="study-{row.id}-trials.csv"'}
    return StreamingResponse(_lines(ledger, row, conditions, sort), media_type="text/csv", headers=headers)


def _lines(ledger: Database, row: StudyRow, conditions: tuple[Condition, ...], sort: str) -> Iterator[str]:
    params = sorted({name for arm in row.study.arms for name in arm.space})
    plain = ("number", "arm", "optimizer", "replicate", "phase", "config", "seed", "state", "outcome", "attempt")
    measured = ("value", "test_value", "n_steps", "duration_s")
    yield _csv_line([*plain, *measured, *params])
    after: tuple[float | None, int] | None = None
    while True:
        with ledger.transaction() as connection:
            found = _page(connection, row, conditions, sort, after, CSV_PAGE)
        for trial in found:
            fields = [trial[name] for name in (*plain, *measured)]
            yield _csv_line([*fields, *(trial["params"].get(name) for name in params)])
        if len(found) < CSV_PAGE:
            return
        after = _place(_mark(found[-1], sort))


def _csv_line(values: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()
