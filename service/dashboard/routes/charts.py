"""The sections of a study's page that hold charts, and the charts' data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from service import studies
from service.dashboard.charts import from_report, from_trials
from service.dashboard.charts import invariance as layers_charts
from service.dashboard.charts.form import styles_of
from service.dashboard.context import Ledger, StudyPath
from service.dashboard.rendering import page
from service.domain.space import Scale
from service.domain.study import Arm, Study
from service.domain.trial import StudyId
from service.errors import NotFoundError
from service.store import dashboard_charts as store
from service.store.dashboard_study import latest_report
from service.store.database import Connection

router = APIRouter(prefix="/studies/{study_id}", include_in_schema=False)

_By = Annotated[str, Query(pattern="^(trials|steps|device_s)$")]
_Name = Annotated[str, Query(max_length=200)]
_Phase = Annotated[str, Query(pattern="^(search|select|confirm)$")]
_XAxis = Annotated[str, Query(alias="x", pattern="^(epoch|step)$")]
_Percent = Annotated[float, Query(gt=0, le=100)]
_Smooth = Annotated[float, Query(ge=0, lt=1)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_End = Annotated[_Finite | None, BeforeValidator(lambda text: None if text == "" else text), Query()]
_LayerMetric = Annotated[str, Query(pattern=f"^({'|'.join(layers_charts.METRICS)})$")]


@router.get("/parts/budget")
def show_budget(request: Request, ledger: Ledger, study_id: StudyPath, by: _By = "trials") -> Response:
    """Expected best and difference against budget."""
    with ledger.transaction() as connection:
        row = studies.get(connection, StudyId(study_id))
        has_report = latest_report(connection, row.id) is not None
    context = {"row": row, "by": by, "axes": from_report.AXES, "has_report": has_report}
    return page(request, "parts/budget.html", context, as_of=row.revision)


@router.get("/parts/sensitivity")
def show_sensitivity(request: Request, ledger: Ledger, study_id: StudyPath, percent: _Percent = 5.0) -> Response:
    """Importance, dependence on parameters, delta x wd_ratio, parallel coordinates."""
    with ledger.transaction() as connection:
        row = studies.get(connection, StudyId(study_id))
        has_report = latest_report(connection, row.id) is not None
    context = {
        "row": row,
        "params": searched_numbers(row.study),
        "surfaces": [arm.name for arm in row.study.arms if has_surface(arm)],
        "percent": percent,
        "has_report": has_report,
    }
    return page(request, "parts/sensitivity.html", context, as_of=row.revision)


@router.get("/parts/curves")
def show_curves(
    request: Request,
    ledger: Ledger,
    study_id: StudyPath,
    phase: _Phase = "confirm",
    metric: _Name = "value",
    x: _XAxis = "epoch",
    smooth: _Smooth = 0.0,
    low: _End = None,
    high: _End = None,
) -> Response:
    """Learning curves."""
    with ledger.transaction() as connection:
        row = studies.get(connection, StudyId(study_id))
        metrics = ["value", *store.metrics_of(connection, row.id)]
    view = {"phase": phase, "metric": metric, "x": x, "smooth": f"{smooth:g}", "low": low, "high": high}
    query = urlencode({name: value for name, value in view.items() if value is not None})
    context = {"row": row, "metrics": metrics, "query": query, **view}
    return page(request, "parts/curves.html", context, as_of=row.revision)


@router.get("/parts/invariance")
def show_invariance(request: Request, ledger: Ledger, study_id: StudyPath, layer: _Name = "") -> Response:
    """Weight norms, effective learning rates, cosines, projection rates."""
    with ledger.transaction() as connection:
        row = studies.get(connection, StudyId(study_id))
        layers = store.layer_names(connection, row.id)
    name, members = layers_charts.members_of(layers, layer)
    groups = layers_charts.groups_of(layers)
    context = {
        "row": row,
        "layers": [entry["layer"] for entry in layers],
        "groups": {key: f"{label} ({len(inside)})" for key, (label, inside) in groups.items()},
        "chosen": next((key for key, (label, _) in groups.items() if label == name), name),
        "members": members,
        "never": layers_charts.never_projected(layers),
        "styles": styles_of(row.study),
        "metrics": layers_charts.METRICS,
    }
    return page(request, "parts/invariance.html", context, as_of=row.revision)


@router.get("/charts/effects")
def effects_data(ledger: Ledger, study_id: StudyPath) -> Response:
    """Intervals of the declared pairs."""
    with ledger.transaction() as connection:
        study, report = _reported(connection, study_id)
    return JSONResponse(from_report.effects(report, styles_of(study)))


@router.get("/charts/expected-best")
def expected_best_data(ledger: Ledger, study_id: StudyPath, by: _By = "trials") -> Response:
    """What a budget buys."""
    with ledger.transaction() as connection:
        study, report = _reported(connection, study_id)
    return JSONResponse(from_report.expected_best(report, styles_of(study), by))


@router.get("/charts/difference")
def difference_data(ledger: Ledger, study_id: StudyPath, by: _By = "trials") -> Response:
    """Challenger over baseline at equal budget."""
    with ledger.transaction() as connection:
        study, report = _reported(connection, study_id)
    return JSONResponse(from_report.difference(report, styles_of(study), by))


@router.get("/charts/importance")
def importance_data(ledger: Ledger, study_id: StudyPath) -> Response:
    """Shares of the hyperparameters."""
    with ledger.transaction() as connection:
        study, report = _reported(connection, study_id)
    return JSONResponse(from_report.importance(report, styles_of(study)))


@router.get("/charts/dependence")
def dependence_data(ledger: Ledger, study_id: StudyPath, param: _Name) -> Response:
    """Value against a parameter."""
    with ledger.transaction() as connection:
        study = studies.get(connection, StudyId(study_id)).study
        if param not in searched_numbers(study):
            raise NotFoundError(f"no arm of study {study_id} searches a number '{param}'")
        data = from_trials.dependence(connection, StudyId(study_id), study, styles_of(study), param)
    return JSONResponse(data)


@router.get("/charts/surface")
def surface_data(ledger: Ledger, study_id: StudyPath, arm: _Name) -> Response:
    """Value over delta x wd_ratio."""
    with ledger.transaction() as connection:
        study = studies.get(connection, StudyId(study_id)).study
        both = [entry for entry in study.arms if has_surface(entry)]
        if arm not in [entry.name for entry in both]:
            raise NotFoundError(f"study {study_id} has no arm '{arm}' that searches delta and wd_ratio")
        data = from_trials.surface(connection, StudyId(study_id), both, arm)
    return JSONResponse(data)


@router.get("/charts/parallel")
def parallel_data(ledger: Ledger, study_id: StudyPath, percent: _Percent = 5.0) -> Response:
    """The best trials over all parameters."""
    with ledger.transaction() as connection:
        study = studies.get(connection, StudyId(study_id)).study
        data = from_trials.parallel(connection, StudyId(study_id), study, styles_of(study), percent)
    return JSONResponse(data)


@router.get("/charts/curves")
def curves_data(
    ledger: Ledger,
    study_id: StudyPath,
    phase: _Phase = "confirm",
    metric: _Name = "value",
    x: _XAxis = "epoch",
    smooth: _Smooth = 0.0,
    low: _End = None,
    high: _End = None,
) -> Response:
    """Curves by epoch or step."""
    view = from_trials.CurveView(phase, metric, x, smooth, low, high)
    with ledger.transaction() as connection:
        study = studies.get(connection, StudyId(study_id)).study
        data = from_trials.curves(connection, StudyId(study_id), styles_of(study), view)
    return JSONResponse(data)


@router.get("/charts/invariance")
def invariance_data(ledger: Ledger, study_id: StudyPath, layer: _Name, metric: _LayerMetric) -> Response:
    """A layer or a group of layers over steps."""
    with ledger.transaction() as connection:
        study = studies.get(connection, StudyId(study_id)).study
        name, members = layers_charts.members_of(store.layer_names(connection, StudyId(study_id)), layer)
        rows = store.layers(connection, StudyId(study_id), members)
    return JSONResponse(layers_charts.invariance(rows, styles_of(study), name, len(members), metric))


def _reported(connection: Connection, study_id: int) -> tuple[Study, Mapping[str, Any]]:
    row = studies.get(connection, StudyId(study_id))
    found = latest_report(connection, row.id)
    if found is None:
        raise NotFoundError(f"study {study_id} has no report yet")
    return row.study, found[0]


def searched_numbers(study: Study) -> list[str]:
    """Searched parameters that are numbers, those of most arms first."""
    names = [name for arm in study.arms for name, dim in arm.dimensions.items() if dim.scale is not Scale.CHOICE]
    return sorted(set(names), key=lambda name: (-names.count(name), name))


def has_surface(arm: Arm) -> bool:
    """True where the arm searches delta and wd_ratio, both on a log scale."""
    both = [arm.dimensions.get(name) for name in ("delta", "wd_ratio")]
    return all(dim is not None and dim.scale is Scale.LOG for dim in both)
