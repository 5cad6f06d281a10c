"""The data of each chart on a filled study: its shape, its size, and its numbers recomputed from the trials."""

import math
import re
from statistics import median

import numpy as np
import pytest
from sqlalchemy import text

from service.domain.trial import Outcome
from service.importance import MIN_TRIALS
from service.reports import store_report
from service.store.studies import get_study
from service.store.trials import records
from tests.browser.filling import LAYERS, N_EPOCHS, fill
from tests.integration.api.conftest import api  # noqa: F401

ARMS = ["sgdw", "sgdp", "adamw", "adamp"]
EVERY = (
    "effects",
    "expected-best",
    "expected-best?by=steps",
    "expected-best?by=device_s",
    "difference",
    "difference?by=steps",
    "difference?by=device_s",
    "importance",
    "dependence?param=lr",
    "dependence?param=delta",
    "surface?arm=adamp",
    "parallel",
    "curves",
    "curves?smooth=0.6&low=0.05&high=",
    "invariance?layer=conv1.weight&metric=weight_norm",
    "invariance?layer=group:scale-invariant&metric=channel_cos",
)


@pytest.fixture
def filled(ledger):
    with ledger.transaction() as connection:
        study_id = fill(connection, 300)
    store_report(ledger, study_id)
    return study_id


@pytest.fixture
def data(api, filled):  # noqa: F811
    """A chart's data."""

    def get(name):
        response = api.get(f"/studies/{filled}/charts/{name}")
        assert response.status_code == 200, response.text
        return response.json()

    return get


@pytest.fixture
def searched(ledger, filled):
    """Finished search trials of an arm."""
    with ledger.transaction() as connection:
        trials = records(connection, filled)

    def get(arm):
        return [t for t in trials if (t.arm, t.phase, t.outcome) == (arm, "search", Outcome.FINISHED)]

    return get


def of_arm(chart, arm):
    (found,) = [entry for entry in chart["series"] if entry["arm"] == arm]
    return found


def test_every_chart_is_small_and_says_where_its_numbers_come_from(data):
    looks = {}
    for name in EVERY:
        chart = data(name)
        parts = chart.get("series", [])
        n = sum(len(entry.get(key) or ()) for entry in parts for key in ("points", "raw", "band", "values", "lines"))
        assert 0 < n + len(chart.get("cells", ())) + sum("interval" in entry for entry in parts) <= 2000, name
        assert chart["title"]
        assert chart["caption"].endswith(".")
        assert all(len(row) == len(chart["table"]["columns"]) for row in chart["table"]["rows"])
        assert chart["table"]["rows"], name
        for entry in parts:
            assert looks.setdefault(entry["arm"], (entry["colour"], entry["dash"])) == (entry["colour"], entry["dash"])
    assert len({colour for colour, _ in looks.values()}) == 4


def test_dependence_is_the_median_and_spread_of_the_trials_in_each_field(data, searched):
    chart = data("dependence?param=lr")
    logs = [math.log(t.params["lr"]) for arm in ARMS for t in searched(arm)]
    low, high = min(logs), max(logs)
    fields = {}
    for trial in searched("adamp"):
        place = min(19, math.floor((math.log(trial.params["lr"]) - low) / (high - low) * 20))
        fields.setdefault(place, []).append(trial)
    mine = of_arm(chart, "adamp")
    expected = [[median(t.params["lr"] for t in f), median(t.value for t in f)] for _, f in sorted(fields.items())]
    np.testing.assert_allclose(mine["points"], expected, rtol=1e-5)
    spread = [np.quantile([t.value for t in f], [0.1, 0.9]) for _, f in sorted(fields.items())]
    np.testing.assert_allclose([ends[1:] for ends in mine["band"]], spread, rtol=1e-5)


def test_only_arms_that_search_a_parameter_are_shown_against_it(data):
    assert [entry["arm"] for entry in data("dependence?param=delta")["series"]] == ["sgdp", "adamp"]


def test_a_surface_holds_each_trial_once_and_outlines_the_best_well_known_field(data, searched):
    chart = data("surface?arm=adamp")
    cells = {}
    for trial in searched("adamp"):
        place = tuple(min(7, math.floor((math.log10(trial.params[p]) + 2) / 2 * 8)) for p in ("delta", "wd_ratio"))
        cells.setdefault(place, []).append(trial.value)
    assert {(i, j): n for i, j, _, n in chart["cells"]} == {place: len(values) for place, values in cells.items()}
    for i, j, value, _ in chart["cells"]:
        assert value == pytest.approx(median(cells[i, j]), rel=1e-5)
    known = {place: median(values) for place, values in cells.items() if len(values) >= 3}
    assert tuple(chart["best"]) == min(known, key=known.__getitem__)
    assert chart["scale"] == data("surface?arm=sgdp")["scale"]
    assert chart["x"]["names"][0] == chart["y"]["names"][0] == "0.01"


def test_parallel_lines_are_the_best_trials_of_each_arm(data, searched):
    chart = data("parallel?percent=10")
    names = [axis["name"] for axis in chart["axes"]]
    best = sorted(searched("sgdp"), key=lambda t: t.value)
    expected = best[: math.ceil(0.1 * len(best))]
    lines = of_arm(chart, "sgdp")["lines"]
    np.testing.assert_allclose([line[names.index("value")] for line in lines], [t.value for t in expected], rtol=1e-5)
    np.testing.assert_allclose(
        [line[names.index("lr")] for line in lines], [t.params["lr"] for t in expected], rtol=1e-5
    )
    assert all(line[names.index("delta")] is None for line in of_arm(chart, "adamw")["lines"])
    assert len(of_arm(data("parallel?percent=1"), "sgdp")["lines"]) == 3


def test_curves_are_medians_and_quartiles_over_the_phase_and_can_be_smoothed(ledger, filled, data):
    with ledger.transaction() as connection:
        rows = connection.execute(
            text(
                "SELECT m.epoch, m.step, m.value FROM measurements m JOIN trials t ON t.id = m.trial_id "
                "JOIN cells c ON c.id = t.cell_id JOIN arms a ON a.id = c.arm_id "
                "WHERE t.study_id = :id AND t.phase = 'confirm' AND a.name = 'sgdp'"
            ),
            {"id": filled},
        ).all()
    by_step = {}
    for row in rows:
        by_step.setdefault(row.step, []).append(row.value)
    quartiles = {step: np.quantile(values, [0.25, 0.5, 0.75]) for step, values in sorted(by_step.items())}
    plain = of_arm(data("curves?x=step"), "sgdp")
    np.testing.assert_allclose(plain["points"], [[step, q[1]] for step, q in quartiles.items()], rtol=1e-5)
    np.testing.assert_allclose(plain["band"], [[step, q[0], q[2]] for step, q in quartiles.items()], rtol=1e-5)
    soft = of_arm(data("curves?x=step&smooth=0.6"), "sgdp")
    assert soft["raw"] == plain["points"]
    weights = [0.6 ** (2 - i) for i in range(3)]
    expected = np.average([q[1] for q in quartiles.values()][:3], weights=weights)
    assert soft["points"][2][1] == pytest.approx(expected, rel=1e-5)
    assert soft["points"][0] == plain["points"][0]
    assert data("curves?low=0.05")["y"] == {"name": "validation value", "scale": "log", "min": 0.05, "max": None}


def test_layers_are_shown_over_steps_and_arms_that_never_project_have_no_rate(data):
    norm = data(f"invariance?layer={LAYERS[0]}&metric=weight_norm")
    assert [entry["arm"] for entry in norm["series"]] == ARMS
    expected = [[8 * e, 3 * (1 + 0.05 * e)] for e in range(1, N_EPOCHS + 1)]
    np.testing.assert_allclose(of_arm(norm, "adamp")["points"], expected, rtol=1e-5)
    rate = data(f"invariance?layer={LAYERS[0]}&metric=projection_rate")
    assert [entry["arm"] for entry in rate["series"]] == ["sgdp", "adamp"]
    assert {y for _, y in rate["series"][0]["points"]} == {0.9}


def test_cosines_of_every_arm_stand_beside_the_bound_of_those_that_project(data):
    cos = data("invariance?layer=conv1.weight&metric=channel_cos")
    assert [entry["arm"] for entry in cos["series"]] == ARMS
    assert [y for _, y in of_arm(cos, "adamw")["points"]] == pytest.approx([0.004 * 1.2] * N_EPOCHS)
    assert cos["marks"] == [{"axis": "y", "at": pytest.approx(0.1 / 3, rel=1e-3), "label": "delta of sgdp, adamp"}]
    assert [row[3] for row in cos["table"]["rows"] if row[0] == "sgdw"] == [None] * N_EPOCHS


def test_a_group_of_layers_is_the_median_over_its_layers(data):
    norm = data("invariance?layer=group:scale-invariant&metric=weight_norm")
    assert norm["title"].startswith("scale-invariant layers")
    expected = [[8 * e, median([3, 4]) * (1 + 0.05 * e)] for e in range(1, N_EPOCHS + 1)]
    np.testing.assert_allclose(of_arm(norm, "adamp")["points"], expected, rtol=1e-5)


def test_charts_of_the_report_show_its_numbers(api, filled, data):  # noqa: F811
    report = api.get(f"/api/v1/studies/{filled}/report").json()
    report = report.get("report", report)
    effect = report["comparisons"][0]["effect"]
    interval = effect["relative_interval_95"]
    shown = data("effects")["series"][0]
    expected = [effect["relative_change"], interval["lower"], interval["upper"]]
    np.testing.assert_allclose(shown["interval"], [100 * x for x in expected])
    curve = next(e for e in report["estimates"]["expected_best"]["arms"] if e["arm"] == "sgdp")
    points = of_arm(data("expected-best"), "sgdp")["points"]
    np.testing.assert_allclose([y for _, y in points], curve["value"], rtol=1e-5)
    pair = report["estimates"]["difference"]["pairs"][0]
    points = data("difference")["series"][0]["points"]
    known = [100 * math.expm1(y) for y in pair["log_ratio"] if y is not None]
    np.testing.assert_allclose([y for _, y in points], known, rtol=1e-5)
    shares = data("importance")
    names, values = shares["x"]["names"], of_arm(shares, "sgdp")["values"]
    entry = next(e for e in report["estimates"]["sensitivity"]["arms"] if e["arm"] == "sgdp")
    assert dict(zip(names, values, strict=True)) == entry["importances"]
    assert f": {MIN_TRIALS} finished search trials" in shares["empty"]


def test_a_chart_that_cannot_be_is_refused(api, filled):  # noqa: F811
    refused = {
        "dependence?param=momentum": 404,
        "surface?arm=sgdw": 404,
        "surface?arm=nobody": 404,
        "curves?phase=warmup": 422,
        "curves?smooth=1": 422,
        "curves?low=inf": 422,
        "parallel?percent=0": 422,
        "expected-best?by=days": 422,
        "nothing": 404,
    }
    assert {name: api.get(f"/studies/{filled}/charts/{name}").status_code for name in refused} == refused


def test_without_a_report_the_others_are_there_and_its_own_are_not(api, ledger):  # noqa: F811
    with ledger.transaction() as connection:
        study_id = fill(connection, 200)
        assert get_study(connection, study_id).state == "FINISHED"
    assert api.get(f"/studies/{study_id}/charts/effects").status_code == 404
    assert api.get(f"/studies/{study_id}/charts/curves").status_code == 200
    assert api.get(f"/studies/{study_id + 1}/charts/curves").status_code == 404


def test_a_view_of_a_section_is_in_its_address(api, filled):  # noqa: F811
    part = api.get(
        f"/studies/{filled}/parts/curves?phase=search&metric=train_loss&x=step&smooth=0.9&low=0.1&high="
    ).text
    assert "phase=search&amp;metric=train_loss&amp;x=step&amp;smooth=0.9&amp;low=0.1" in part
    assert '<option value="0.9" selected>' in part
    never = api.get(f"/studies/{filled}/parts/invariance?layer=fc.weight").text
    assert re.search(r"Never projected</h3>.*</svg>sgdp</span>\s*: fc.weight</li>", never, re.DOTALL)
