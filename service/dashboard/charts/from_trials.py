"""Charts that are aggregated from trials: dependence on a parameter, delta x wd_ratio, curves, scale invariance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from service.dashboard.charts.form import Styles, axis, band, chart, points, series, short, table
from service.domain.space import Scale
from service.domain.study import Arm, Study
from service.domain.trial import StudyId
from service.store import dashboard_charts as store
from service.store.database import Connection

LAYER_METRICS = {
    "weight_norm": ("weight norm", "log", "median of |w| over the confirm runs"),
    "effective_lr": ("effective learning rate", "log", "median of lr / |w|^2 over the confirm runs"),
    "projection_rate": ("share of projected steps", "linear", "mean over the confirm runs"),
}
_SEARCH = "finished search trials of all replicates, from the ledger"


def dependence(connection: Connection, study_id: StudyId, study: Study, styles: Styles, param: str) -> dict[str, Any]:
    """Validation value against one parameter: median and 10 to 90 % in 20 fields of its range."""
    is_log = any(dim.scale is Scale.LOG for arm in study.arms if (dim := arm.dimensions.get(param)))
    rows = store.dependence(connection, study_id, param, is_log=is_log)
    drawn = []
    for arm, found in _by_arm(rows):
        xs = [row["x"] for row in found]
        low, mid, high = ([row["quantiles"][i] for row in found] for i in range(3))
        drawn.append(series(arm, styles[arm], points=points(xs, mid), band=band(xs, low, high)))
    return chart(
        "lines",
        f"Validation value against {param}",
        f"Median with 10 to 90 % in 20 fields of the range. Source: {_SEARCH}.",
        x=axis(param, "log" if is_log else "linear"),
        y=axis("validation value", "log"),
        series=drawn,
        table=table(
            ["arm", param, "trials", "10 %", "median", "90 %"],
            [[row["arm"], row["x"], row["n"], *row["quantiles"]] for row in rows],
        ),
    )


def surface(connection: Connection, study_id: StudyId, arm: Arm) -> dict[str, Any]:
    """Median validation value over delta x wd_ratio of one arm, the best field outlined, thin ones hatched."""
    delta, ratio = arm.dimensions["delta"], arm.dimensions["wd_ratio"]
    rows = store.heat(
        connection, study_id, arm.name, ("delta", delta.low, delta.high), ("wd_ratio", ratio.low, ratio.high)
    )
    best = min((row for row in rows if row["n"] >= 3), key=lambda row: row["value"], default=None)
    return chart(
        "heat",
        f"{arm.name}: delta and wd_ratio",
        f"Median validation value in each field; fields of fewer than 3 trials are hatched. Source: {_SEARCH}.",
        x=axis("delta", "category", names=_edges(delta.low, delta.high)),
        y=axis("wd_ratio", "category", names=_edges(ratio.low, ratio.high)),
        cells=[[row["i"], row["j"], short(row["value"]), row["n"]] for row in rows],
        best=[best["i"], best["j"]] if best else None,
        table=table(
            ["delta from", "wd_ratio from", "trials", "median value"],
            [
                [_edge(delta.low, delta.high, row["i"]), _edge(ratio.low, ratio.high, row["j"]), row["n"], row["value"]]
                for row in rows
            ],
        ),
    )


def curves(
    connection: Connection, study_id: StudyId, styles: Styles, phase: str, metric: str, by: str
) -> dict[str, Any]:
    """Median and quartiles of a metric over trials, by epoch or step."""
    rows = store.curves(connection, study_id, phase, metric)
    drawn = []
    for arm, found in _by_arm(rows):
        xs = [row["epoch" if by == "epoch" else "step"] for row in found]
        low, mid, high = ([row["quartiles"][i] for row in found] for i in range(3))
        drawn.append(series(arm, styles[arm], points=points(xs, mid), band=band(xs, low, high)))
    name = "validation value" if metric == "value" else metric.replace("_", " ")
    values = [y for entry in drawn for _, y in entry["points"]]
    is_log = bool(values) and min(values) > 0 and "accuracy" not in metric
    return chart(
        "lines",
        f"{name[0].upper()}{name[1:]} over training",
        f"Median and quartiles over the {phase} trials at each epoch. Source: measurements in the ledger.",
        x=axis(by),
        y=axis(name, "log" if is_log else "linear"),
        series=drawn,
        table=table(
            ["arm", "epoch", "step", "trials", "25 %", "median", "75 %"],
            [[row["arm"], row["epoch"], row["step"], row["n"], *row["quartiles"]] for row in rows],
        ),
    )


def invariance(rows: Sequence[Mapping[str, Any]], styles: Styles, layer: str, metric: str) -> dict[str, Any]:
    """One layer's weight norm, effective learning rate or projection rate over steps, arms overlaid."""
    name, scale, estimator = LAYER_METRICS[metric]
    mine = [row for row in rows if row["layer"] == layer]
    drawn = [
        series(arm, styles[arm], points=points([r["step"] for r in found], [r[metric] for r in found]))
        for arm, found in _by_arm(mine)
        if any(row[metric] is not None for row in found)
    ]
    return chart(
        "lines",
        f"{layer}: {name}",
        f"{estimator[0].upper()}{estimator[1:]}. Source: measurements in the ledger.",
        x=axis("step"),
        y=axis(name, scale),
        series=drawn,
        table=table(["arm", "step", name], [[row["arm"], row["step"], row[metric]] for row in mine]),
    )


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
        for arm, found in _by_arm(rows)
    ]
    return chart(
        "parallel",
        f"The best {percent:g} % of each arm's search",
        f"At least 3 and at most 50 trials of each arm, by validation value. Source: {_SEARCH}.",
        axes=[axis(name, "log" if name in logs else "linear") for name in names] + [axis("value", "log")],
        series=drawn,
        table=table(
            ["trial", "arm", *names, "value"],
            [[row["number"], row["arm"], *(row["params"].get(n) for n in names), row["value"]] for row in rows],
        ),
    )


def _by_arm(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    return [(arm, list(found)) for arm, found in groupby(rows, key=lambda row: str(row["arm"]))]


def _edge(low: float, high: float, i: int) -> float:
    return low * math.exp(math.log(high / low) * i / store.N_CELLS)


def _edges(low: float, high: float) -> list[str]:
    return [f"{_edge(low, high, i):.2g}" for i in range(store.N_CELLS)]
