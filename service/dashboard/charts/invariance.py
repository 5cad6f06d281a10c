"""Charts of scale invariance: norms, effective learning rates, cosines, projections of a layer or a group of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.dashboard.charts.form import Styles, axis, by_arm, chart, points, series, table, thinned

METRICS = {
    "weight_norm": ("weight norm", "log", "median of |w|"),
    "effective_lr": ("effective learning rate", "log", "median of lr / |w|²"),
    "channel_cos": ("|cos(gradient, weight)|, channels", "log", "median of the largest cosine over a layer's channels"),
    "layer_cos": ("|cos(gradient, weight)|, whole layer", "log", "median of the whole layer's cosine"),
    "projection_rate": ("share of projected steps", "linear", "mean"),
}
"""What is shown: name, scale of its axis, estimator."""
_THRESHOLDS = {"channel_cos": "channel_threshold", "layer_cos": "layer_threshold"}
INVARIANT, OTHERS = "group:scale-invariant", "group:others"
_SMALLEST_COS = 1e-9


def groups_of(layers: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, list[str]]]:
    """Groups of layers, by key: their name and their layers. Those of one layer are left out.

    Scale-invariant layers, all others, and the layers of each module that holds more than one and not all.

    Args:
        layers: Rows with `layer`, the parameter's name, and `is_scale_invariant`.
    """
    names = [str(row["layer"]) for row in layers]
    invariant = [str(row["layer"]) for row in layers if row["is_scale_invariant"]]
    found = {
        INVARIANT: ("scale-invariant layers", invariant),
        OTHERS: ("other layers", [name for name in names if name not in invariant]),
    }
    for module in dict.fromkeys(name.split(".")[0] for name in names if name.count(".") > 1):
        inside = [name for name in names if name.startswith(f"{module}.")]
        if len(inside) < len(names):
            found[f"group:module:{module}"] = (f"all of {module}", inside)
    return {key: (name, members) for key, (name, members) in found.items() if len(members) > 1}


def members_of(layers: Sequence[Mapping[str, Any]], chosen: str) -> tuple[str, list[str]]:
    """Name and layers of what was chosen: a group's key or a layer; the first group, else the first layer, if none."""
    groups = groups_of(layers)
    if chosen in groups:
        return groups[chosen]
    names = [str(row["layer"]) for row in layers]
    if chosen in names:
        return chosen, [chosen]
    return next(iter(groups.values()), (names[0], names[:1])) if names else ("", [])


def never_projected(layers: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Layers that an arm's optimizer considered and never projected, by arm."""
    found: dict[str, list[str]] = {}
    for row in layers:
        for arm in row["considered_by"]:
            if arm not in row["projected_by"]:
                found.setdefault(str(arm), []).append(str(row["layer"]))
    return found


def invariance(rows: Sequence[Mapping[str, Any]], styles: Styles, name: str, n: int, metric: str) -> dict[str, Any]:
    """One measure of a layer or group over steps, arms overlaid; for a cosine with the bounds of arms that project.

    Args:
        rows: By arm and epoch, as `store.dashboard_charts.layers` gives them.
        name: Of the layer or group.
        n: How many layers it has.
    """
    label, scale, estimator = METRICS[metric]
    drawn = []
    for arm, found in by_arm(rows):
        kept = [row for row in thinned(found) if row[metric] is not None]
        if kept:
            drawn.append(series(arm, styles[arm], points=points(_steps(kept), [_shown(row, metric) for row in kept])))
    over = "the confirm runs" if n == 1 else f"the confirm runs and {n} layers"
    return chart(
        "lines",
        f"{name}: {label}",
        f"{estimator[0].upper()}{estimator[1:]} over {over}{_when(metric)}. Source: measurements in the ledger.",
        x=axis("step", whole=True),
        y=axis(label, scale, **({"min": 0, "max": 1} if metric == "projection_rate" else {})),
        series=drawn,
        marks=_bounds(rows, metric),
        empty=_why_empty(metric),
        table=table(
            ["arm", "step", label, *(["delta / sqrt(size)"] if metric in _THRESHOLDS else [])],
            [[row["arm"], row["step"], row[metric], *_bound(row, metric)] for row in rows],
        ),
    )


def _steps(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["step"] for row in rows]


def _shown(row: Mapping[str, Any], metric: str) -> float:
    value = float(row[metric])
    return max(value, _SMALLEST_COS) if metric in _THRESHOLDS else value


def _bound(row: Mapping[str, Any], metric: str) -> list[float | None]:
    return [row[_THRESHOLDS[metric]]] if metric in _THRESHOLDS else []


def _bounds(rows: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """A line at delta / sqrt(size) for the arms that project there; one line for arms with the same bound."""
    arms_at: dict[float, list[str]] = {}
    for arm, found in by_arm(rows) if metric in _THRESHOLDS else ():
        bound = next((row[_THRESHOLDS[metric]] for row in reversed(found) if row[_THRESHOLDS[metric]]), None)
        if bound is not None:
            arms_at.setdefault(float(f"{bound:.4g}"), []).append(arm)
    return [{"axis": "y", "at": at, "label": f"delta of {', '.join(arms)}"} for at, arms in sorted(arms_at.items())]


def _when(metric: str) -> str:
    if metric not in _THRESHOLDS:
        return ""
    return "; at the last step of each epoch; under its delta / sqrt(size), the dashed line, a step is projected"


def _why_empty(metric: str) -> str:
    if metric == "projection_rate":
        return "No arm of this study projects its steps."
    return (
        "Not recorded: these runs were trained before workers measured it."
        if metric in _THRESHOLDS
        else ("There is nothing to draw yet: no finished confirm run.")
    )
