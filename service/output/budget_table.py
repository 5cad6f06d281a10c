"""The curves against the budget as a table, for readers of Markdown and of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.domain.wording import percent
from service.output.numbers import NONE, number, seconds
from service.output.tables import Table

Report = Mapping[str, Any]
_SHOWN = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800)


def budget(report: Report) -> Table:
    """Expected best of every arm after some numbers of trials, then the difference of every pair."""
    best, difference = (report["estimates"][name] for name in ("expected_best", "difference"))
    curves = [row for row in best["arms"] if row["trials"]]
    most = max((row["trials"][-1] for row in curves), default=0)
    places = [n for n in _SHOWN if n < most] + [most] * (most > 0)
    rows = [(row["arm"], *_at(row, "value", places, number), *_spent(row)) for row in curves]
    rows += [
        (f"{row['challenger']} against {row['baseline']}", *_at(row, "log_ratio", places, percent), NONE, NONE, NONE)
        for row in difference["pairs"]
        if row["trials"]
    ]
    trials = [f"{n} trial{'s' * (n > 1)}" for n in places]
    method = " ".join(
        f"{what}: {found['estimator']}. Source: {found['source']}."
        for what, found in (("Arms", best), ("Pairs", difference))
    )
    remark = steps_remark(report)
    header = ("arm or pair", *trials, "trials", "training steps for them", "time of one slot for them")
    return Table("budget", "Expected best by budget", header, tuple(rows), remark, method)


def _at(row: Mapping[str, Any], key: str, places: Sequence[int], shown: Any) -> list[str]:
    by_trials = dict(zip(row["trials"], row[key], strict=True))
    return [shown(by_trials[n]) if n in by_trials else NONE for n in places]


def _spent(row: Mapping[str, Any]) -> tuple[str, str, str]:
    steps, device_s = (row[axis][-1] if row[axis] else None for axis in ("steps", "device_s"))
    return str(row["trials"][-1]), NONE if steps is None else f"{steps:,.0f}", seconds(device_s)


def steps_of_each_trial(report: Report) -> float | None:
    """Training steps of a trial where all trials of all arms have the same number; None where they differ."""
    curves = [row for row in report["estimates"]["expected_best"]["arms"] if row["trials"] and row["steps"]]
    each = {round(s / n, 6) for row in curves for n, s in zip(row["trials"], row["steps"], strict=True)}
    return each.pop() if len(each) == 1 else None


def steps_remark(report: Report) -> str | None:
    """Why no curve against steps is drawn; None where one is."""
    each = steps_of_each_trial(report)
    if each is None:
        return None
    return f"Every trial trained {each:,.10g} steps: against training steps the curves are those against trials."
