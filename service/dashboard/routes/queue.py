"""The queue: what waits, who works, what is stuck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.dashboard.context import Ledger
from service.dashboard.rendering import page, seconds
from service.store import workers
from service.store.dashboard_queue import Traffic, queued_studies, traffic
from service.store.database import Database
from service.store.workers import QueueDepth

router = APIRouter(include_in_schema=False)
STALLED_S = 120.0


@router.get("/queue")
def show_queue(request: Request, ledger: Ledger) -> Response:
    """The whole page."""
    return page(request, "queue.html", _context(ledger))


@router.get("/queue/parts/queue")
def show_part(request: Request, ledger: Ledger) -> Response:
    """Its content alone."""
    return page(request, "parts/queue.html", _context(ledger))


def _context(ledger: Database) -> dict[str, Any]:
    with ledger.transaction() as connection:
        found = traffic(connection)
        depths = workers.queue_depths(connection)
        listed = workers.list_workers(connection)
        waiting = queued_studies(connection)
    online = [worker for worker in listed if worker["state"] != "offline"]
    return {
        "traffic": found,
        "depths": depths,
        "online": online,
        "offline": [worker for worker in listed if worker["state"] == "offline"][:10],
        "studies": waiting,
        "stalled": stalled_because(found, depths),
        "per_minute": found.n_finished_recently / 10,
    }


def stalled_because(found: Traffic, depths: Sequence[QueueDepth]) -> str:
    """Why nothing moves although trials wait, with what to do; "" where something does, or nothing waits."""
    if not found.n_waiting:
        return ""
    for depth in depths:
        if depth.n_claimable and not depth.n_slots:
            waiting = f"{depth.n_claimable} trials wait for queue {depth.queue}"
            return f"{waiting}, which no worker serves; start a worker there."
    if not found.n_running and (found.idle_s is None or found.idle_s > STALLED_S):
        since = "so far" if found.idle_s is None else f"for {seconds(found.idle_s)}"
        return (
            f"{found.n_waiting} trials wait and none has begun {since}: workers are online, but none has the device, "
            "the workload, the optimizer or the code revision that the studies ask for; `tangent doctor` says more."
        )
    return ""
