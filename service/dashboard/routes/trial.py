"""One trial in full, and its curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from service import control, studies, trials
from service.dashboard.charts.form import styles_of
from service.dashboard.charts.from_trials import trial_curve
from service.dashboard.context import Ledger, StudyPath, TrialPath
from service.dashboard.rendering import page, significant
from service.domain.trial import StudyId
from service.domain.trial_filter import parse_filter
from service.store.dashboard_trials import page_of_trials
from service.store.database import Database

router = APIRouter(include_in_schema=False)
_Metric = Annotated[str, Query(max_length=200)]


@router.get("/studies/{study_id}/trials/{number}")
def show_trial(
    request: Request, ledger: Ledger, study_id: StudyPath, number: TrialPath, metric: _Metric = "value"
) -> Response:
    """One trial in full."""
    context = _context(ledger, study_id, number, metric)
    return page(request, "trial.html", context, as_of=context["row"].revision)


@router.get("/studies/{study_id}/trials/{number}/parts/trial")
def show_part(
    request: Request, ledger: Ledger, study_id: StudyPath, number: TrialPath, metric: _Metric = "value"
) -> Response:
    """The same without what surrounds it."""
    context = _context(ledger, study_id, number, metric)
    return page(request, "parts/trial.html", context, as_of=context["row"].revision)


def _context(ledger: Database, study_id: int, number: int, metric: str) -> dict[str, Any]:
    with ledger.transaction() as connection:
        row = studies.get(connection, StudyId(study_id))
        trial = trials.show(connection, row.id, number)
        found = page_of_trials(
            connection, row.id, parse_filter(f"arm={trial['arm']} phase=search"), sort="value", limit=1
        )
        is_failed = trial["state"] == "FAIL"
        refusal = control.why_not_retried(connection, row.id, number) if is_failed else None
    best = found[0] if found and found[0]["value"] is not None else None
    metrics = ["value", *sorted({name for entry in trial["measurements"] for name in entry["metrics"]})]
    return {
        "row": row,
        "trial": trial,
        "style": styles_of(row.study)[trial["arm"]],
        "best": best,
        "params": differences(trial["params"], best["params"] if best else {}),
        "metrics": metrics,
        "metric": metric if metric in metrics else "value",
        "log": next((attempt for attempt in reversed(trial["attempts"]) if attempt["log_tail"]), None),
        "refusal": refusal,
        "is_over": trial["state"] not in ("WAITING", "RUNNING"),
    }


def differences(params: Mapping[str, Any], best: Mapping[str, Any]) -> list[tuple[str, Any, Any, str]]:
    """Parameters beside the arm's best: name, value, best value, difference such as "x 0.5" or "same"."""
    found = []
    for name, value in sorted(params.items()):
        other = best.get(name)
        if other is None:
            said = ""
        elif value == other:
            said = "same"
        elif _is_number(value) and _is_number(other) and value * other > 0:
            said = f"× {significant(value / other, 3)}"
        else:
            said = f"{value - other:+.3g}" if _is_number(value) and _is_number(other) else "differs"
        found.append((name, value, other, said))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@router.get("/studies/{study_id}/trials/{number}/charts/curve")
def curve_data(ledger: Ledger, study_id: StudyPath, number: TrialPath, metric: _Metric = "value") -> Response:
    """One metric by epoch."""
    with ledger.transaction() as connection:
        row = studies.get(connection, StudyId(study_id))
        trial = trials.show(connection, row.id, number)
    return JSONResponse(trial_curve(trial, styles_of(row.study)[trial["arm"]], metric))
