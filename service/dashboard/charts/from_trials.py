"""Charts that are aggregated from trials: dependence on a parameter, delta x wd_ratio, curves, the best trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.dashboard.charts.form import Styles, axis, band, by_arm, chart, points, series, short, table, thinned
from service.dashboard.palette import SeriesStyle
from service.domain.space import Scale
from service.domain.study import Arm, Study
from service.domain.trial import StudyId
from service.store import dashboard_charts as store
from service.store.database import Connection

MIN_TRIALS = 3
_SEARCH = "finished search trials of all replicates, from the ledger"


def dependence(connection: Connection, study_id: StudyId, study: Study, styles: Styles, param: str) -> dict[str, Any]:
    """Validation value against one parameter: median and 10 to 90 % in fields of its range."""
    is_log = any(dim.scale is Scale.LOG for arm in study.arms if (dim := arm.dimensions.get(param)))
    rows = store.dependence(connection, study_id, param, is_log=is_log)
    drawn = []
    for arm, found in by_arm(rows):
        xs = [row["x"] for row in found]
        low, mid, high = ([row["quantiles"][i] for row in found] for i in range(3))
        drawn.append(series(arm, styles[arm], points=points(xs, mid), band=band(xs, low, high)))
    return chart(
        "lines",
        f"Validation value against {param}",
        f"Median with 10 to 90 % in up to 20 fields of the range, fewer where trials are few. Source: {_SEARCH}.",
        x=axis(param, "log" if is_log else "linear"),
        y=axis("validation value", "log"),
        series=drawn,
        table=table(
            ["arm", param, "trials", "10 %", "median", "90 %"],
            [[row["arm"], row["x"], row["n"], *row["quantiles"]] for row in rows],
        ),
    )


def surface(connection: Connection, study_id: StudyId, arms: Sequence[Arm], name: str) -> dict[str, Any]:
    """Median validation value over delta x wd_ratio of one arm, the best field outlined, thin ones hatched.

    Args:
        arms: All arms that search both; their surfaces share one scale.
        name: The arm shown, one of them.
    """
    rows_of = {arm.name: _fields(connection, study_id, arm) for arm in arms}
    rows = rows_of[name]
    arm = next(entry for entry in arms if entry.name == name)
    delta, ratio = arm.dimensions["delta"], arm.dimensions["wd_ratio"]
    best = min((row for row in rows if row["n"] >= MIN_TRIALS), key=lambda row: row["value"], default=None)
    values = [row["value"] for found in rows_of.values() for row in found]
    return chart(
        "heat",
        f"{name}: delta and wd_ratio",
        f"Median validation value in each field, n trials; under {MIN_TRIALS} trials hatched, the best outlined. "
        f"Source: {_SEARCH}.",
        x=axis("delta from", "category", names=_edges(delta.low, delta.high)),
        y=axis("wd_ratio from", "category", names=_edges(ratio.low, ratio.high)),
        cells=[[row["i"], row["j"], short(row["value"]), row["n"]] for row in rows],
        scale=[short(min(values)), short(max(values))] if values else None,
        best=[best["i"], best["j"]] if best else None,
        table=table(
            ["delta from", "wd_ratio from", "trials", "median value"],
            [
                [_edge(delta.low, delta.high, row["i"]), _edge(ratio.low, ratio.high, row["j"]), row["n"], row["value"]]
                for row in rows
            ],
        ),
    )


def _fields(connection: Connection, study_id: StudyId, arm: Arm) -> list[dict[str, Any]]:
    delta, ratio = arm.dimensions["delta"], arm.dimensions["wd_ratio"]
    return store.heat(
        connection, study_id, arm.name, ("delta", delta.low, delta.high), ("wd_ratio", ratio.low, ratio.high)
    )


@dataclass(frozen=True)
class CurveView:
    """What the curves show.

    Attributes:
        by: "epoch" or "step".
        smooth: Weight of the past in the moving average, 0 (none) up to below 1.
        low, high: Ends of the y axis; None leaves them to the data.
    """

    phase: str
    metric: str
    by: str
    smooth: float = 0.0
    low: float | None = None
    high: float | None = None


def curves(connection: Connection, study_id: StudyId, styles: Styles, view: CurveView) -> dict[str, Any]:
    """Median and quartiles of a metric over trials, by epoch or step; smoothed, with the raw line beside."""
    rows = store.curves(connection, study_id, view.phase, view.metric)
    drawn = []
    for arm, found in by_arm(rows):
        low, mid, high = ([row["quartiles"][i] for row in thinned(found)] for i in range(3))
        xs = [row[view.by] for row in thinned(found)]
        more: dict[str, Any] = {"points": points(xs, mid)}
        if view.smooth:
            smooth = thinned(smoothed([row["quartiles"][1] for row in found], view.smooth))
            more = {"raw": more["points"], "points": points(xs, smooth)}
        drawn.append(series(arm, styles[arm], **more, band=band(xs, low, high)))
    name = _metric_name(view.metric)
    scale = _metric_scale(view.metric, [y for entry in drawn for _, y in entry["points"]])
    how = f"; smoothed with weight {view.smooth:g} of the past, faint: as measured" if view.smooth else ""
    return chart(
        "lines",
        f"{name[0].upper()}{name[1:]} over training",
        f"Median and quartiles over the {view.phase} trials at each epoch{how}. Source: measurements in the ledger.",
        x=axis(view.by, whole=True),
        y=axis(name, scale, min=view.low, max=view.high),
        series=drawn,
        empty=f"No {view.phase} trial has measured {name} yet.",
        table=table(
            ["arm", "epoch", "step", "trials", "25 %", "median", "75 %"],
            [[row["arm"], row["epoch"], row["step"], row["n"], *row["quartiles"]] for row in rows],
        ),
    )


def trial_curve(trial: Mapping[str, Any], style: SeriesStyle, metric: str) -> dict[str, Any]:
    """One trial's metric by epoch.

    Args:
        trial: With `arm` and `measurements`, each of epoch, step, value and metrics.
    """
    found = [
        (entry["epoch"], entry["step"], entry["value"] if metric == "value" else entry["metrics"].get(metric))
        for entry in trial["measurements"]
    ]
    measured = [entry for entry in found if entry[2] is not None]
    shown = thinned(measured)
    name = _metric_name(metric)
    line = series(trial["arm"], style, points=points([e for e, _, _ in shown], [y for _, _, y in shown]))
    return chart(
        "lines",
        f"{name[0].upper()}{name[1:]} over training",
        "At the end of each epoch, 0 before the first step. Source: measurements in the ledger.",
        x=axis("epoch", whole=True),
        y=axis(name, _metric_scale(metric, [y for _, _, y in shown])),
        series=[line] if measured else [],
        empty=f"This trial has measured no {name} yet.",
        table=table(["epoch", "step", name], measured),
    )


def _metric_name(metric: str) -> str:
    return "validation value" if metric == "value" else metric.replace("_", " ")


def _metric_scale(metric: str, values: Sequence[float]) -> str:
    is_log = bool(values) and min(values) > 0 and "accuracy" not in metric
    return "log" if is_log else "linear"


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average, corrected for its start at zero: the first value is itself."""
    average, found = 0.0, []
    for t, value in enumerate(values, 1):
        average = weight * average + (1 - weight) * value
        found.append(average / (1 - weight**t))
    return found


def parallel(connection: Connection, study_id: StudyId, study: Study, styles: Styles, percent: float) -> dict[str, Any]:
    """The best trials of each arm's search over all searched parameters."""
    rows = store.top(connection, study_id, percent)
    names = sorted(
        {name for arm in study.arms for name, dim in arm.dimensions.items() if dim.scale is not Scale.CHOICE}
    )
    logs = {name for arm in study.arms for name, dim in arm.dimensions.items() if dim.scale is Scale.LOG}
    drawn = [
        series(
            arm, styles[arm], lines=[[*(short(r["params"].get(n)) for n in names), short(r["value"])] for r in found]
        )
        for arm, found in by_arm(rows)
    ]
    return chart(
        "parallel",
        f"The best {percent:g} % of each arm's search",
        "At least 3 and at most 50 trials of each arm, by validation value; a line passes over the axes of what its "
        f"arm does not search. Drag along an axis to pick lines. Source: {_SEARCH}.",
        axes=[axis(name, "log" if name in logs else "linear") for name in names] + [axis("value", "log")],
        series=drawn,
        table=table(
            ["trial", "arm", *names, "value"],
            [[row["number"], row["arm"], *(row["params"].get(n) for n in names), row["value"]] for row in rows],
        ),
    )


def _edge(low: float, high: float, i: int) -> float:
    return low * math.exp(math.log(high / low) * i / store.N_CELLS)


def _edges(low: float, high: float) -> list[str]:
    return [f"{_edge(low, high, i):.2g}" for i in range(store.N_CELLS)]
