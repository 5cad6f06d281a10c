"""What a report says before its tables: the design, what holds for all of it, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.domain.wording import budget_words, count
from service.output.numbers import seconds

Report = Mapping[str, Any]


def design(report: Report) -> list[str]:
    """What was compared on what, part by part."""
    budget = report["budget"]
    return [
        str(report["workload"]),
        str(report["metric"]),
        f"device {report['device']}",
        f"R = {budget['replicates']} replicates",
        _search(report),
        f"select {budget['select_top']} x {budget['select_seeds']}",
        f"S = {budget['confirm_seeds']} confirm seeds",
    ]


def took(report: Report) -> str | None:
    """How long the study took; None where that is not known."""
    time = report.get("time")
    if time is None or time["wall_s"] is None or time["device_s"] is None:
        return None
    return f"{seconds(time['wall_s'])} from the first start to the end, {seconds(time['device_s'])} of one slot"


def machines(report: Report) -> list[str]:
    """On what processors and with which versions it ran, a sentence for each kind."""
    return [
        f"{found['n_attempts']:,} trainings on {found.get('cuda_device') or found['cpu']} ({found['cpu_capability']}), "
        f"{count(found['n_threads'], 'thread')} each, Python {found['python']}, torch {found['torch']}."
        for found in report["environments"]
        if {"cpu", "cpu_capability", "n_threads", "python", "torch", "n_attempts"} <= found.keys()
    ]


def _search(report: Report) -> str:
    budget, how = report["budget"], str(report["sampler"])
    if report["pruner"] != "none":
        how += f", pruner {report['pruner']}"
    limit = budget_words(budget.get("search"))
    if limit:
        return f"T = up to {budget['trials_per_cell']} search trials within {limit} ({how})"
    return f"T = {budget['trials_per_cell']} search trials ({how})"


def caveats(report: Report) -> list[str]:
    """What holds for the report as a whole, in sentences."""
    found = [] if report["is_finished"] else ["The study still runs: nothing here is final."]
    if report["was_extended_after_look"]:
        found.append("Replicates were added after a look; the intervals hold at every look.")
    return found


def history(report: Report) -> list[str]:
    """What was fixed before the first trial, what came later, and what was taken from other studies, in sentences."""
    parts = (report.get("registration"), report.get("reuse"))  # reports of earlier versions have neither
    return [sentence for part in parts if part for sentence in part["sentences"]]


def added_from(report: Report) -> int | None:
    """Number of the first replicate that was added after registration; None where none was."""
    amendments = report["registration"]["amendments"] if "registration" in report else []
    return amendments[0]["first_replicate"] if amendments else None


def replicate_name(report: Report, number: int) -> str:
    """Such as "replicate 3", marked where it was added later."""
    first = added_from(report)
    return f"replicate {number}{' (added later)' if first is not None and number >= first else ''}"
