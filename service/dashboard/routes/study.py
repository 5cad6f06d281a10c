"""A study's page: the overview at once, the other sections as they come into view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service import studies
from service.dashboard.context import Ledger, StudyPath, reports_of
from service.dashboard.fresh import ShownReport
from service.dashboard.palette import arm_styles
from service.dashboard.rendering import page
from service.dashboard.summary import PairSummary, summaries, wanted
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
    is_wanted: bool


@dataclass(frozen=True)
class PhaseTotal:
    """All arms in one phase; `eta_s` until its last training at the study's pace, None where it is not known."""

    phase: str
    n_counted: int
    n_planned: int
    eta_s: float | None


@dataclass(frozen=True)
class Cost:
    """What a study has cost so far: trainings, seconds of training over all slots, seconds since its start."""

    n_trainings: int
    training_s: float
    wall_s: float | None


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
    pairs = summaries(shown.report)
    is_awaited = view.row.state == "FINISHED" and bool(view.row.study.compare) and not pairs
    return {
        "row": view.row,
        "view": view,
        "styles": arm_styles([(arm.name, arm.optimizer) for arm in view.row.study.arms]),
        "failures": failures,
        "shown": shown,
        "pairs": pairs,
        "notes": list(shown.report["notes"]) if shown.report else [],
        "missing": _missing(view),
        "best": _best(shown, wanted(pairs)),
        "more": _more_replicates(view.row, pairs),
        "phases": phase_totals(view),
        "cost": cost_of(view),
        "is_over": is_settled(view.row) and not is_awaited,
        "is_awaited": is_awaited,
    }


def is_settled(row: StudyRow) -> bool:
    """True where nothing more will happen by itself: the study has ended, and so have its trials."""
    return row.is_finished and not row.counts["n_waiting"] and not row.counts["n_running"]


def phase_totals(view: StudyView) -> list[PhaseTotal]:
    """Each phase over all arms; phases follow one another, so that a later one's time counts the earlier ones'."""
    n_left_in_all = view.n_planned - view.n_counted
    pace_s = view.eta_s / n_left_in_all if view.eta_s is not None and n_left_in_all > 0 else None
    totals, n_left = [], 0
    for phase in dict.fromkeys(entry.phase for entry in view.progress):
        mine = [entry for entry in view.progress if entry.phase == phase]
        n_counted, n_planned = sum(entry.n_counted for entry in mine), sum(entry.n_planned for entry in mine)
        n_left += max(0, n_planned - n_counted)
        eta_s = pace_s * n_left if pace_s is not None and n_counted < n_planned else None
        totals.append(PhaseTotal(str(phase.value), n_counted, n_planned, eta_s))
    return totals


def cost_of(view: StudyView) -> Cost:
    """What was spent, failed trainings included."""
    training_s = sum(entry.duration_s for entry in view.progress)
    started, ended = view.row.started_at, view.row.finished_at or datetime.now(UTC)
    return Cost(view.n_counted, training_s, (ended - started).total_seconds() if started else None)


def _missing(view: StudyView) -> list[str]:
    """What each arm has of its search budget while they are unequal or incomplete, such as "sgd 34 of 60"."""
    if view.row.is_finished:
        return []
    searched = {entry.arm: (entry.n_counted, entry.n_planned) for entry in view.progress if entry.phase == "search"}
    return [f"{arm} {n} of {planned}" for arm, (n, planned) in searched.items() if n < planned]


def _best(shown: ShownReport, first: list[str]) -> list[Best]:
    """The arms' best configurations, as declared; those named in `first` are marked as the ones to take."""
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
                is_wanted=arm["name"] in first,
            )
        )
    return best


def _more_replicates(row: StudyRow, pairs: list[PairSummary]) -> int | None:
    """How many more replicates the inconclusive pairs ask for, at most; None where none does, or none can be added."""
    if row.state not in ("FINISHED", "RUNNING") or row.origin != "submitted":
        return None
    return max((pair.n_more for pair in pairs if pair.n_more), default=None)
