"""Charts that show what the report holds: effects, expected best, difference, importance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from service.dashboard.charts.form import Styles, axis, band, chart, points, series, table
from service.dashboard.palette import SeriesStyle

AXES = {"trials": "trials per cell", "steps": "training steps per cell", "device_s": "seconds of training per cell"}
_PLAIN = SeriesStyle("#0b57a4", "solid", "circle", "other-0")


def effects(report: Mapping[str, Any], styles: Styles) -> dict[str, Any]:
    """Each declared pair as an interval of the relative change, with the margin and the zero line."""
    rows = []
    marks = []
    for pair in report["comparisons"]:
        effect = pair["effect"]
        interval = effect["relative_interval_95"] or {"lower": None, "upper": None}
        label = f"{pair['challenger']} against {pair['baseline']}"
        change = _percent(effect["relative_change"])
        rows.append([label, change, _percent(interval["lower"]), _percent(interval["upper"]), pair["verdict"]["words"]])
        look = styles.get(pair["challenger"], _PLAIN)
        marks.append(series(pair["challenger"], look, label, interval=rows[-1][1:4]))
    margin = 100 * math.expm1(report["margin"])
    return chart(
        "intervals",
        "Challenger against baseline",
        f"Change of {report['metric']} over replicates with its 95 % interval; grey: within the margin.",
        x=axis(f"change of {report['metric']}, %"),
        series=marks,
        marks=[{"axis": "x", "at": 0, "label": "no change"}],
        zone=[-100 * (1 - math.exp(-report["margin"])), margin],
        table=table(["pair", "change %", "from %", "to %", "verdict"], rows),
    )


def expected_best(report: Mapping[str, Any], styles: Styles, by: str) -> dict[str, Any]:
    """The best validation value that a budget buys, by arm, with its band over replicates."""
    found = report["estimates"]["expected_best"]
    drawn, rows = [], []
    for entry in found["arms"]:
        values = entry["value"]
        xs = _budget(entry, by, len(values))
        if xs is None:
            continue
        lows, highs = (entry.get(end) or [None] * len(values) for end in ("lower", "upper"))
        drawn.append(series(entry["arm"], styles[entry["arm"]], points=points(xs, values), band=band(xs, lows, highs)))
        rows += [[entry["arm"], x, v, lo, hi] for x, v, lo, hi in zip(xs, values, lows, highs, strict=True)]
    return chart(
        "lines",
        "Expected best value against budget",
        _caption(found),
        x=axis(AXES[by], "log"),
        y=axis("best validation value", "log"),
        series=drawn,
        table=table(["arm", by, "expected best", "from", "to"], rows),
    )


def difference(report: Mapping[str, Any], styles: Styles, by: str) -> dict[str, Any]:
    """Challenger over baseline at equal budget, in %, with the zero line."""
    found = report["estimates"]["difference"]
    drawn, rows = [], []
    for pair in found["pairs"]:
        curve = pair if by == "trials" else pair.get(f"by_{by}")
        if not curve:
            continue
        xs = [float(x) for x in curve["trials" if by == "trials" else "at"]]
        ys, lows, highs = (_changes(curve.get(key) or [None] * len(xs)) for key in ("log_ratio", "lower", "upper"))
        label = f"{pair['challenger']} against {pair['baseline']}"
        style = styles.get(pair["challenger"], _PLAIN)
        drawn.append(series(pair["challenger"], style, label, points=points(xs, ys), band=band(xs, lows, highs)))
        rows += [[label, x, y, lo, hi] for x, y, lo, hi in zip(xs, ys, lows, highs, strict=True)]
    return chart(
        "lines",
        "Difference at equal budget",
        _caption(found),
        x=axis(AXES[by], "log"),
        y=axis("change of the best value, %"),
        series=drawn,
        marks=[{"axis": "y", "at": 0, "label": "no change"}],
        table=table(["pair", by, "change %", "from %", "to %"], rows),
    )


def importance(report: Mapping[str, Any], styles: Styles) -> dict[str, Any]:
    """Share of each searched hyperparameter in the variation of the value, arms side by side."""
    found = report["estimates"]["sensitivity"]
    totals: dict[str, float] = {}
    for entry in found["arms"]:
        for name, share in entry["importances"].items():
            totals[name] = totals.get(name, 0.0) + (share or 0.0)
    names = sorted(totals, key=lambda name: (-totals[name], name))
    drawn = [
        series(entry["arm"], styles[entry["arm"]], values=[entry["importances"].get(name) for name in names])
        for entry in found["arms"]
        if entry["importances"]
    ]
    rows = [[entry["arm"], name, value] for entry in found["arms"] for name, value in entry["importances"].items()]
    return chart(
        "bars",
        "Importance of the hyperparameters",
        _caption(found),
        x=axis("", "category", names=names),
        y=axis("share"),
        series=drawn,
        table=table(["arm", "hyperparameter", "share"], rows),
        empty="No arm has enough for this: 10 finished search trials, over all replicates, and something searched.",
    )


def _budget(entry: Mapping[str, Any], by: str, n: int) -> list[float] | None:
    """The budgets at which a curve's values stand, None where it is not known in that unit."""
    if by == "trials":
        return [float(value) for value in entry.get("trials") or range(1, n + 1)]
    found: Sequence[float] | None = entry.get(by)
    return [float(value) for value in found] if found and len(found) == n else None


def _caption(found: Mapping[str, Any]) -> str:
    said = f"{found['estimator']}. Source: {found['source']}."
    return said[0].upper() + said[1:]


def _changes(logs: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else 100 * math.expm1(value) for value in logs]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
