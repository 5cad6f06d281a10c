"""Following studies in a terminal: bars while they run, plain lines where nobody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from service import render
from service.client import Client

_PERIOD_S = 1.0
_LINE_PERIOD_S = 15.0
ENDED = ("FINISHED", "FAILED", "CANCELLED")


def watch(
    client: Client, study_ids: Sequence[int], console: Console, *, check: Callable[[], None] = lambda: None
) -> list[Mapping[str, Any]]:
    """Show the progress of studies until all have ended.

    Args:
        client: The service.
        study_ids: The studies, shown in this order.
        console: Gets bars where it is a terminal, else a line every 15 seconds.
        check: Called at each look; raises to give up.

    Returns:
        The studies' last views, in the same order.
    """
    if console.is_terminal:
        return _watch_live(client, study_ids, console, check)
    return _watch_in_lines(client, study_ids, console, check)


def _watch_live(
    client: Client, study_ids: Sequence[int], console: Console, check: Callable[[], None]
) -> list[Mapping[str, Any]]:
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            check()
            views: list[Mapping[str, Any]] = [client.show(study_id) for study_id in study_ids]
            live.update(Group(*(render.progress_table(view, view["eta_s"]) for view in views)))
            if all(view["state"] in ENDED for view in views):
                return views
            time.sleep(_PERIOD_S)


def _watch_in_lines(
    client: Client, study_ids: Sequence[int], console: Console, check: Callable[[], None]
) -> list[Mapping[str, Any]]:
    next_line = time.monotonic()
    while True:
        check()
        views: list[Mapping[str, Any]] = [client.show(study_id) for study_id in study_ids]
        is_ended = all(view["state"] in ENDED for view in views)
        if is_ended or time.monotonic() >= next_line:
            next_line = time.monotonic() + _LINE_PERIOD_S
            for view in views:
                console.print(progress_line(view), markup=False)
        if is_ended:
            return views
        time.sleep(_PERIOD_S)


def progress_line(view: Mapping[str, Any]) -> str:
    """A study's progress in one line."""
    left = f", about {render.human_time(view['eta_s'])} left" if view["eta_s"] and view["state"] == "RUNNING" else ""
    best = [row["best"] for row in view["progress"] if row["best"] is not None]
    value = f", best validation loss {render.number(min(best))}" if best else ""
    counts = view["counts"]
    failed = f", {counts['n_fail']} failed" if counts["n_fail"] else ""
    done = counts["n_complete"] + counts["n_pruned"]
    return f"{view['name']}: {view['state'].lower()}, {done} of {view['n_planned']} trainings{failed}{value}{left}"
