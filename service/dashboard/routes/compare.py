"""Several studies beside one another: their verdicts, their common pairs pooled, arms of two studies compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from service import studies
from service.dashboard.charts.form import axis, chart, series, table
from service.dashboard.context import Ledger
from service.dashboard.palette import arm_styles
from service.dashboard.rendering import page
from service.domain.suite import PooledEffect, build_suite, suite_sentence
from service.domain.trial import StudyId
from service.domain.unpaired import compare_studies
from service.errors import NotFoundError
from service.store.dashboard_study import latest_report
from service.store.database import Database
from service.store.studies import StudyRow, list_studies

router = APIRouter(include_in_schema=False)

MOST = 12
OFFERED = 50
_Ids = Annotated[str, Query(max_length=300, pattern=r"^(\d{1,18}(,\d{1,18}){0,30})?$")]
_Many = Annotated[list[int] | None, Query(max_length=30)]


@router.get("/compare")
def show_comparison(request: Request, ledger: Ledger, ids: _Ids = "", id: _Many = None) -> Response:  # noqa: A002
    """The studies that were chosen, and a form to choose others."""
    chosen = list(dict.fromkeys([*(int(part) for part in ids.split(",") if part), *(id or [])]))[:MOST]
    rows, reports, missing = _read(ledger, chosen)
    with ledger.transaction() as connection:
        offered = list_studies(connection, limit=OFFERED)
    suite, why_not = _suite(reports) if len(reports) > 1 else (None, "")
    context = {
        "rows": rows,
        "chosen": chosen,
        "offered": [row for row in offered if row.state == "FINISHED"],
        "reports": reports,
        "missing": missing,
        "sentences": [suite_sentence(pair) for pair in suite.pairs] if suite else [],
        "problems": list(suite.problems) if suite else [],
        "why_not": why_not,
        "arms": _arms(reports) if len(reports) == 2 else [],
        "link": ",".join(map(str, chosen)),
    }
    return page(request, "compare.html", context)


@router.get("/compare/charts/forest")
def forest_data(ledger: Ledger, ids: _Ids) -> Response:
    """Each common pair on each workload, and pooled, as intervals."""
    _, reports, _ = _read(ledger, [int(part) for part in ids.split(",") if part][:MOST])
    suite, why_not = _suite(reports)
    if suite is None:
        raise NotFoundError(why_not)
    styles = arm_styles([(arm["name"], arm["optimizer"]) for arm in reports[0]["arms"]])
    rows, drawn = list[tuple[str, float | None, float | None, float | None]](), []
    for pair in suite.pairs:
        found = _rows(pair)
        rows += found
        look = styles[pair.challenger]
        drawn += [series(pair.challenger, look, label, interval=list(numbers)) for label, *numbers in found]
    data = chart(
        "intervals",
        "Common pairs, by study and pooled",
        "Change of the endpoint with its 95 % interval; pooled: mean over workloads, each with the same weight.",
        x=axis("change of the endpoint, %"),
        series=drawn,
        marks=[{"axis": "x", "at": 0, "label": "no change"}],
        table=table(["pair", "change %", "from %", "to %"], rows),
    )
    return JSONResponse(data)


def _read(ledger: Database, ids: Sequence[int]) -> tuple[list[StudyRow], list[Mapping[str, Any]], list[StudyRow]]:
    """The studies, the kept reports of those that have one, and those that have none."""
    rows, reports, missing = [], list[Mapping[str, Any]](), []
    with ledger.transaction() as connection:
        for study_id in ids:
            row = studies.get(connection, StudyId(study_id))
            rows.append(row)
            found = latest_report(connection, row.id)
            if found is None:
                missing.append(row)
            else:
                reports.append(found[0])
    return rows, reports, missing


def _suite(reports: Sequence[Mapping[str, Any]]) -> tuple[Any, str]:
    try:
        return build_suite(reports), ""
    except ValueError as error:
        return None, str(error)


def _arms(reports: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Arms of the same name in two studies, one against the other; empty where the studies cannot be compared."""
    first, second = reports
    names = {arm["name"] for arm in second["arms"]}
    try:
        return [
            compare_studies(first, second, arm["name"], arm["name"]) for arm in first["arms"] if arm["name"] in names
        ]
    except ValueError:
        return []


def _rows(pair: PooledEffect) -> list[tuple[str, float | None, float | None, float | None]]:
    name = f"{pair.challenger} against {pair.baseline}"
    found = [(f"{name}, {part.study}", part.mean, part.interval_95) for part in pair.parts]
    found.append((f"{name}, pooled", pair.mean, pair.interval_95))
    return [
        (
            label,
            _change(mean),
            _change(interval.lower if interval else None),
            _change(interval.upper if interval else None),
        )
        for label, mean, interval in found
    ]


def _change(log_ratio: float | None) -> float | None:
    return None if log_ratio is None or math.isinf(log_ratio) else 100 * math.expm1(log_ratio)
