"""The list of studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.dashboard.context import Ledger
from service.dashboard.palette import SeriesStyle, arm_styles
from service.dashboard.rendering import page
from service.domain.study import Study
from service.store.dashboard_studies import ListedStudy, list_for_page

router = APIRouter(include_in_schema=False)

PAGE = 25
STATES = ("RUNNING", "PAUSED", "FINISHED", "FAILED", "CANCELLED")
SPARK_WIDTH, SPARK_HEIGHT = 96.0, 24.0

_Words = Annotated[str, Query(max_length=200)]
_State = Annotated[str, Query(pattern="^(RUNNING|PAUSED|FINISHED|FAILED|CANCELLED)?$")]
_Before = Annotated[int | None, Query(ge=1, le=2**63 - 1)]


@dataclass(frozen=True)
class Line:
    """A study as the list shows it.

    Attributes:
        n_done: Trainings that finished, diverged or were pruned.
        n_planned: Trainings that the study will have.
        spark: Points of a polyline, 96 by 24; "" where there are fewer than two.
    """

    study: ListedStudy
    styles: dict[str, SeriesStyle]
    n_done: int
    n_planned: int
    spark: str


@router.get("/studies")
def show_studies(
    request: Request, ledger: Ledger, q: _Words = "", state: _State = "", before: _Before = None
) -> Response:
    """Studies, newest first."""
    return page(request, "studies.html", _context(ledger, q, state, before))


@router.get("/studies/parts/list")
def show_list(request: Request, ledger: Ledger, q: _Words = "", state: _State = "", before: _Before = None) -> Response:
    """The table alone, for a page that looks again."""
    return page(request, "parts/study_list.html", _context(ledger, q, state, before))


def _context(ledger: Ledger, query: str, state: str, before: int | None) -> dict[str, Any]:
    with ledger.transaction() as connection:
        found = list_for_page(connection, before=before, limit=PAGE + 1, state=state or None, query=query)
    given = {"q": query, "state": state}
    here = {key: value for key, value in {**given, "before": before}.items() if value}
    following = {
        **{key: value for key, value in given.items() if value},
        "before": found[PAGE - 1].id if found[PAGE:] else None,
    }
    return {
        "lines": [_line(study) for study in found[:PAGE]],
        "query": query,
        "state": state,
        "states": STATES,
        "is_filtered": bool(query or state or before),
        "part": f"/studies/parts/list?{urlencode(here)}",
        "next": f"/studies?{urlencode(following)}" if len(found) > PAGE else None,
    }


def _line(study: ListedStudy) -> Line:
    counts = study.counts
    added = sum(int(amendment["replicates"]) for amendment in study.amendments)
    frozen = Study.from_dict(study.spec)
    n_looks = sum(not look["is_decided"] for look in study.looks)
    replicates = frozen.replicates_after(n_looks) + added
    return Line(
        study=study,
        styles=arm_styles([(arm.name, arm.optimizer) for arm in study.arms]),
        n_done=counts["complete"] + counts["pruned"],
        n_planned=len(frozen.arms) * replicates * sum(frozen.runs_per_cell().values()),
        spark=spark_points(study.spark),
    )


def spark_points(values: Sequence[float]) -> str:
    """A polyline's points, from left to right, the best value lowest."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    step = SPARK_WIDTH / (len(values) - 1)
    heights = [(high - value) / (high - low) if high > low else 0.5 for value in values]
    return " ".join(f"{i * step:.1f},{1 + share * (SPARK_HEIGHT - 2):.1f}" for i, share in enumerate(heights))
