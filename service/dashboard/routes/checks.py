"""Checks of optimizer code: their histories, and one in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from service import checks
from service.dashboard.charts.form import axis, band, chart, points, series, table
from service.dashboard.context import Ledger
from service.dashboard.palette import arm_styles
from service.dashboard.rendering import page
from service.errors import NotFoundError
from service.store.dashboard_checks import History, Run, histories

router = APIRouter(include_in_schema=False)
_CheckPath = Annotated[int, Path(ge=1, le=2**63 - 1)]
_Name = Annotated[str, Query(max_length=300)]


@router.get("/checks")
def show_checks(request: Request, ledger: Ledger) -> Response:
    """Histories of checks."""
    with ledger.transaction() as connection:
        found = histories(connection)
    trends = {history.name: repeated(history.runs) for history in found}
    return page(request, "checks.html", {"histories": found, "trends": trends})


@router.get("/checks/charts/trend")
def trend_data(ledger: Ledger, check: _Name, finding: _Name) -> Response:
    """A finding's estimates over the last runs of a check."""
    with ledger.transaction() as connection:
        found = histories(connection, name=check)
    if not found or finding not in repeated(found[0].runs):
        raise NotFoundError(f"no two runs of a check '{check}' have a finding '{finding}' with an estimate")
    return JSONResponse(trend(found[0], finding))


@router.get("/checks/{check_id}")
def show_check(request: Request, ledger: Ledger, check_id: _CheckPath) -> Response:
    """One check: each layer's findings with explanation, script and the command that repeats it."""
    with ledger.transaction() as connection:
        row, report = checks.show(connection, check_id)
    return page(request, "check.html", {"row": row, "report": report})


def repeated(runs: Sequence[Run]) -> list[str]:
    """Findings that at least two runs have an estimate of, by name."""
    names = sorted({name for run in runs for name in run.estimates})
    return [name for name in names if sum(name in run.estimates for run in runs) > 1]


def trend(history: History, finding: str) -> dict[str, Any]:
    """Estimate and interval by run, the latest on the right, with the zero line and the latest limit."""
    found = [(i, run, run.estimates[finding]) for i, run in enumerate(history.runs, 1) if finding in run.estimates]
    xs = [float(i) for i, _, _ in found]
    low, mid, high = ([entry.get(key) for _, _, entry in found] for key in ("low", "estimate", "high"))
    unit, limit = found[-1][2].get("unit") or "", found[-1][2].get("limit")
    marks = [{"axis": "y", "at": 0, "label": ""}]
    if limit is not None:
        marks.append({"axis": "y", "at": limit, "label": "limit"})
    style = arm_styles([(history.optimizer, history.optimizer)])[history.optimizer]
    return chart(
        "lines",
        finding,
        f"Estimate and interval in the last {len(history.runs)} runs of {history.name}, the latest on the right. "
        "Source: uploaded checks.",
        x=axis("run", whole=True),
        y=axis(unit),
        series=[series(history.optimizer, style, points=points(xs, mid), band=band(xs, low, high))],
        marks=marks,
        table=table(
            ["run", "check", "candidate", "verdict", "estimate", "from", "to", "limit"],
            [
                [
                    i,
                    run.id,
                    run.candidate,
                    run.verdict.lower(),
                    *(e.get(k) for k in ("estimate", "low", "high", "limit")),
                ]
                for i, run, e in found
            ],
        ),
    )
