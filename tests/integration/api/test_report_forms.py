"""The report in every form, the tables that need the ledger's measurements, and costs from what was measured."""

import json
from pathlib import Path

import jsonschema
import pytest

from service.report_commands import budget_plan
from service.reports import store_report
from service.store.database import Database
from service.store.trials import confirm_curves, environments_of
from tests.asgi import Caller
from tests.integration.api.support import SMALL, STUDIES, run, submit
from tests.reference import estimates_oracle as oracle
from tests.reference.report_oracle import recompute

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "report.schema.json").read_text())
PAIR = {**SMALL, "search": {"trials": 6}}


def test_a_real_report_fits_the_schema_and_is_recomputed_from_itself(api: Caller, ledger: Database) -> None:
    study_id = submit(api, PAIR)
    run(ledger, study_id)
    report = api.get(f"{STUDIES}/{study_id}/report").json()
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    (found,), (expected,) = report["comparisons"], recompute(oracle.as_export(report))
    assert found["verdict"]["kind"] == expected["kind"]
    for row in report["estimates"]["expected_best"]["arms"]:
        assert row["value"] == pytest.approx(oracle.expected_best(report, row["arm"]))
        assert row["steps"] == [30.0 * n for n in range(1, 7)]
    for row in report["estimates"]["sensitivity"]["arms"]:
        assert row["importances"] == pytest.approx(oracle.importances(report, row["arm"]))
    (times,) = report["estimates"]["time_to_target"]["pairs"]
    assert [arm["n_runs"] for arm in times["arms"]] == [6, 6]
    assert times["horizon_epochs"] == 2


def test_curves_are_those_of_the_confirm_runs(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    trials = api.get(f"{STUDIES}/{study_id}/trials?phase=confirm&limit=500").json()["trials"]
    with ledger.transaction() as connection:
        curves = confirm_curves(connection, study_id)
        assert environments_of(connection, study_id) == []  # these attempts were claimed without one
    assert [curve.trial for curve in curves] == [trial["number"] for trial in trials]
    for curve, trial in zip(curves, trials, strict=True):
        assert (curve.epochs, curve.steps) == ((0, 1, 2), (0, 10, 20))
        assert curve.values[-1] == trial["value"]


@pytest.mark.parametrize(
    ("query", "kind", "part"),
    [
        ("format=md", "text/markdown", "# small"),
        ("format=html", "text/html", "<!doctype html>"),
        ("format=csv", "text/csv", "study,spec_hash,workload,arm"),
        ("format=svg", "image/svg+xml", "<svg"),
        ("format=svg&figure=expected-best", "image/svg+xml", "trials of one search"),
        ("format=json", "application/json", '"estimates"'),
    ],
)
def test_each_form_is_served_with_its_type(api: Caller, ledger: Database, query: str, kind: str, part: str) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    answer = api.get(f"{STUDIES}/{study_id}/report?{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert part in answer.text


def test_a_figure_without_data_and_an_unknown_form_are_problems(api: Caller) -> None:
    study_id = submit(api)
    missing = api.get(f"{STUDIES}/{study_id}/report?format=svg&figure=surface")
    assert (missing.status_code, "nothing to draw as 'surface'" in missing.text) == (404, True)
    assert api.get(f"{STUDIES}/{study_id}/report?format=pdf").status_code == 422


def test_every_form_of_a_study_that_has_just_begun(api: Caller) -> None:
    study_id = submit(api)
    for form in ("md", "html", "csv"):
        assert api.get(f"{STUDIES}/{study_id}/report?format={form}").status_code == 200


def test_costs_come_from_what_earlier_studies_measured(api: Caller, ledger: Database) -> None:
    before = api.post(f"{STUDIES}?validate_only=true", json=SMALL).json()["cost"]
    assert (before["n_measured"], before["spread"]["n_pairs"]) == (0, 0)
    study_id = submit(api)
    run(ledger, study_id)
    store_report(ledger, study_id)
    answer = api.post(f"{STUDIES}?validate_only=true", json={**SMALL, "replicates": 6, "seed": 1}).json()
    cost = answer["cost"]
    assert (cost["n_measured"], cost["spread"]["n_pairs"]) == (54, 1)
    assert cost["device_s"] == pytest.approx(0.5 * cost["n_trainings"])
    other = {**SMALL, "workload": {"name": "digits-mlp", "options": {"epochs": 4}}}
    assert api.post(f"{STUDIES}?validate_only=true", json=other).json()["cost"]["n_measured"] == 0
    shape, plan = budget_plan(answer, 0.1)
    assert (shape.n_arms, shape.select_runs) == (2, 4)
    assert plan is not None
    assert plan.device_s <= 360


def test_confounders_are_said_before_the_study_runs(api: Caller) -> None:
    document = {**SMALL, "arms": [{"name": "adam", "optimizer": "Adam"}, {"name": "adamp", "optimizer": "AdamP"}]}
    warnings = api.post(f"{STUDIES}?validate_only=true", json=document).json()["warnings"]
    assert any("AdamP is compared without AdamW" in text for text in warnings)
    study_id = submit(api, document)
    assert any("mixes two changes" in note for note in api.get(f"{STUDIES}/{study_id}/report").json()["notes"])
