"""Checks of optimizer code: their histories, and one in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from service import checks
from service.dashboard.context import Ledger
from service.dashboard.rendering import page
from service.store.dashboard_checks import Run, histories

router = APIRouter(include_in_schema=False)
_CheckPath = Annotated[int, Path(ge=1, le=2**63 - 1)]
WIDTH, HEIGHT = 320.0, 72.0


@dataclass(frozen=True)
class Trend:
    """A finding's estimates over the last runs, drawn by hand: one mark and one bar for each run that has it.

    Attributes:
        marks: (x, y, low y, high y) in a box of 320 by 72; the bar is a point where there is no interval.
        zero: Height of the zero line, None where it lies outside.
        latest: Of the last run: estimate, low, high, limit, unit.
    """

    name: str
    marks: tuple[tuple[float, float, float, float], ...]
    zero: float | None
    latest: Mapping[str, Any]


@router.get("/checks")
def show_checks(request: Request, ledger: Ledger) -> Response:
    """Histories of checks."""
    with ledger.transaction() as connection:
        found = histories(connection)
    trends = {
        history.name: [trend for name in _names(history.runs) if (trend := trend_of(history.runs, name))]
        for history in found
    }
    return page(request, "checks.html", {"histories": found, "trends": trends})


@router.get("/checks/{check_id}")
def show_check(request: Request, ledger: Ledger, check_id: _CheckPath) -> Response:
    """One check: each layer's findings with explanation, script and the command that repeats it."""
    with ledger.transaction() as connection:
        row, report = checks.show(connection, check_id)
    return page(request, "check.html", {"row": row, "report": report})


def _names(runs: Sequence[Run]) -> list[str]:
    return sorted({name for run in runs for name in run.estimates})


def trend_of(runs: Sequence[Run], name: str) -> Trend | None:
    """The trend of one finding; None where fewer than two runs have it."""
    found = [(i, run.estimates[name]) for i, run in enumerate(runs) if name in run.estimates]
    if len(found) < 2:
        return None
    ends = [_interval(entry) for _, entry in found]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    span = high - low or 1.0

    def height(value: float) -> float:
        return round(4 + (HEIGHT - 8) * (high - value) / span, 1)

    step = WIDTH / max(1, len(runs) - 1)
    marks = tuple(
        (round(4 + i * step * (WIDTH - 8) / WIDTH, 1), height(float(entry["estimate"])), height(a), height(b))
        for (i, entry), (a, b) in zip(found, ends, strict=True)
    )
    return Trend(name, marks, height(0.0) if low <= 0 <= high else None, found[-1][1])


def _interval(entry: Mapping[str, Any]) -> tuple[float, float]:
    estimate = float(entry["estimate"])
    low, high = entry.get("low"), entry.get("high")
    return (estimate if low is None else float(low), estimate if high is None else float(high))
