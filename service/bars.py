"""A study's progress as text for a terminal: bars, or one line. Reads the API's JSON only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from service.render import NARROW, human_time, number, planned_runs

_PHASES = ("search", "select", "confirm")


def progress_line(view: Mapping[str, Any]) -> str:
    """A study's progress in one line."""
    left = f", about {human_time(view['eta_s'])} left" if view["eta_s"] and view["state"] == "RUNNING" else ""
    best = [row["best"] for row in view["progress"] if row["best"] is not None]
    value = f", best validation loss {number(min(best))}" if best else ""
    counts = view["counts"]
    n_failed, n_cancelled = counts["n_fail"] - counts["n_cancelled"], counts["n_cancelled"]
    failed = f", {n_failed} failed" if n_failed else ""
    failed += f", {n_cancelled} cancelled" if n_cancelled else ""
    done = counts["n_complete"] + counts["n_pruned"]
    return f"{view['name']}: {view['state'].lower()}, {done} of {view['n_planned']} trainings{failed}{value}{left}"


def bar(done: int, total: int, running: int, failed: int, width: int, cancelled: int = 0) -> Text:
    """A bar with its count; running trials are lighter, failed and cancelled ones are named."""
    full = min(width, round(width * done / total)) if total else 0
    busy = min(width - full, max(1, round(width * running / total))) if running and total else 0
    text = Text("█" * full, style="green") + Text("▒" * busy, style="cyan")
    text += Text("·" * (width - full - busy), style="dim")
    text += Text(f" {done}/{total}")
    if cancelled:
        text += Text(f" {cancelled} cancelled", style="dim")
    return text + Text(f" {failed} failed", style="red") if failed else text


def progress_table(studies: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    """Studies while they run: a bar for each arm and phase, the best value so far, what is left."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for column in ("", *_PHASES, "best loss"):
        table.add_column(column, no_wrap=True)
    for study in studies:
        left = f"about {human_time(study['eta_s'])} left"
        is_known = study["eta_s"] is not None and study["state"] == "RUNNING"
        name = Text(f"{study['id']} {study['name']}", style="bold")
        table.add_row(name, Text(study["state"].lower(), style="bold"), left if is_known else "")
        for row in _arm_rows(study, 10 if width >= NARROW else 4):
            table.add_row(*row)
    return table


def _arm_rows(study: Mapping[str, Any], bar_width: int) -> Iterable[list[RenderableType]]:
    planned = planned_runs(study["spec"])
    rows = {(row["arm"], row["phase"]): row for row in study["progress"]}
    for arm in study["spec"]["arms"]:
        bars = [_phase_bar(rows.get((arm["name"], phase)), planned[phase], bar_width) for phase in _PHASES]
        values = [rows[key]["best"] for key in rows if key[0] == arm["name"] and rows[key]["best"] is not None]
        yield [f"  {arm['name']}", *bars, number(min(values)) if values else "–"]


def _phase_bar(row: Mapping[str, Any] | None, total: int, width: int) -> Text:
    if row is None:
        return bar(0, total, 0, 0, width)
    return bar(row["n_counted"], total, row["n_running"], row["n_failed"], width, row["n_cancelled"])
