"""A study's page: the overview at once, the other sections as they come into view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service import studies
from service.dashboard.context import Ledger, StudyPath, reports_of
from service.dashboard.fresh import ShownReport
from service.dashboard.palette import arm_styles
from service.dashboard.rendering import page
from service.domain.trial import StudyId
from service.output.paste import best_winner, lines_to_paste
from service.store.dashboard_study import failures_of
from service.store.database import Database
from service.store.studies import StudyRow
from service.studies import StudyView

router = APIRouter(include_in_schema=False)

SECTIONS = (
    ("budget", "Budget"),
    ("sensitivity", "Sensitivity"),
    ("curves", "Curves"),
    ("invariance", "Scale invariance"),
    ("trials", "Trials"),
)


@dataclass(frozen=True)
class Best:
    """The best configuration of an arm: its confirmed endpoint with interval, its parameters, the lines to paste."""

    arm: str
    optimizer: str
    endpoint: float | None
    interval: Mapping[str, float | None] | None
    params: Mapping[str, Any]
    trial: int | None
    lines: tuple[str, ...]


@router.get("/studies/{study_id}")
def show_study(request: Request, ledger: Ledger, study_id: StudyPath) -> Response:
    """The whole page, its overview filled."""
    context = _context(request, ledger, StudyId(study_id))
    return page(request, "study.html", {**context, "sections": SECTIONS}, as_of=context["row"].revision)


@router.get("/studies/{study_id}/parts/overview")
def show_overview(request: Request, ledger: Ledger, study_id: StudyPath) -> Response:
    """The overview alone."""
    context = _context(request, ledger, StudyId(study_id))
    return page(request, "parts/overview.html", context, as_of=context["row"].revision)


def _context(request: Request, ledger: Database, study_id: StudyId) -> dict[str, Any]:
    with ledger.transaction() as connection:
        view = studies.show(connection, study_id)
        failures = failures_of(connection, study_id)
        shown = reports_of(request).show(connection, view.row)
    arms = [(arm.name, arm.optimizer) for arm in view.row.study.arms]
    return {
        "row": view.row,
        "view": view,
        "styles": arm_styles(arms),
        "failures": failures,
        "shown": shown,
        "pairs": _pairs(shown),
        "missing": _missing(view),
        "best": _best(shown),
        "more": _more_replicates(view.row, shown),
    }


def _pairs(shown: ShownReport) -> list[Mapping[str, Any]]:
    return list(shown.report["comparisons"]) if shown.report else []


def _missing(view: StudyView) -> list[str]:
    """What each arm has of its search budget while they are unequal or incomplete, such as "sgd 34 of 60"."""
    if view.row.is_finished:
        return []
    searched = {entry.arm: (entry.n_counted, entry.n_planned) for entry in view.progress if entry.phase == "search"}
    return [f"{arm} {n} of {planned}" for arm, (n, planned) in searched.items() if n < planned]


def _best(shown: ShownReport) -> list[Best]:
    best = []
    for arm in shown.report["arms"] if shown.report else ():
        winner = best_winner(arm)
        best.append(
            Best(
                arm=arm["name"],
                optimizer=arm["optimizer"],
                endpoint=arm["endpoint"],
                interval=arm["endpoint_interval_95"],
                params=winner["params"] if winner else {},
                trial=winner["trial"] if winner else None,
                lines=tuple(lines_to_paste(arm)),
            )
        )
    return best


def _more_replicates(row: StudyRow, shown: ShownReport) -> int | None:
    """How many more replicates the inconclusive pairs ask for, at most; None where none does, or none can be added."""
    if row.state not in ("FINISHED", "RUNNING") or row.origin != "submitted":
        return None
    wanted = [pair["verdict"]["n_more_replicates"] for pair in _pairs(shown)]
    asked = [n for n in wanted if n]
    return max(asked) if asked else None
