"""The committed comparison with the authors' package keeps its promises, and its page is what it generates."""

import json

import pytest

from tests.compat import page

DOCUMENT = json.loads(page.DATA.read_text())
TRAJECTORIES = DOCUMENT["trajectories"]


def case_id(row):
    return f"{row['case']}-{row['dtype']}"


def test_the_page_is_generated_from_the_figures():
    assert page.PAGE.read_text() == page.render(DOCUMENT), "edited by hand? run python -m tests.compat.make"


def test_the_figures_name_date_and_versions():
    assert DOCUMENT["versions"]["adamp"] == "0.3.0"
    assert set(DOCUMENT["versions"]) >= {"tangent-adamp", "torch", "python"}
    assert len(DOCUMENT["date"]) == 10


@pytest.mark.parametrize("row", [r for r in TRAJECTORIES if r["dtype"] == "float32"], ids=case_id)
def test_our_float32_error_is_at_most_one_and_a_half_times_the_authors(row):
    assert max(row["error"]["ours"], row["error"]["ours_plain"]) <= 1.5 * row["error"]["theirs"]


@pytest.mark.parametrize("row", [r for r in TRAJECTORIES if r["dtype"] == "float32"], ids=case_id)
def test_our_float32_error_is_within_2e_6_of_the_displacement(row):
    assert row["n_steps"] == 20
    assert max(row["worst"]["ours"], row["worst"]["ours_plain"]) <= 2e-6


@pytest.mark.parametrize("row", [r for r in TRAJECTORIES if r["dtype"] == "float64"], ids=case_id)
def test_in_float64_both_equal_the_reference(row):
    assert max(row["worst"][who] for who in ("ours", "ours_plain", "theirs")) < 1e-12


@pytest.mark.parametrize("row", TRAJECTORIES, ids=case_id)
def test_decisions_away_from_the_bound_are_identical(row):
    decisions = row["decisions"]
    assert decisions["ours_differ"] == decisions["ours_plain_differ"] == decisions["theirs_differ"] == 0
    n_all = decisions["channel"] + decisions["layer"] + decisions["none"]
    assert decisions["near"] <= 0.01 * n_all


def test_every_view_was_decided_often():
    totals = [sum(row["decisions"][view] for row in TRAJECTORIES) for view in ("channel", "layer", "none")]
    assert min(totals) > 1000


def test_the_one_difference_is_the_authors_alias_of_step_and_momentum():
    figures = DOCUMENT["aliasing"]
    assert figures["ours_to_algorithm"] < 1e-12
    assert figures["theirs_to_alias"] < 1e-12
    assert figures["ours_to_alias"] > 1e-3
    assert figures["theirs_to_algorithm"] > 1e-3


@pytest.mark.parametrize("row", DOCUMENT["checkpoints"], ids=case_id)
def test_continuing_their_checkpoint_equals_continuing_it_with_theirs(row):
    assert row["apart"] < (1e-12 if row["dtype"] == "float64" else 1e-5)
    assert row["ours_error"] <= (1e-12 if row["dtype"] == "float64" else 1.5 * row["theirs_error"])


@pytest.mark.parametrize("row", DOCUMENT["probes"], ids=lambda row: row["input"])
def test_inputs_at_the_edge_work_or_are_refused_before_anything_changed(row):
    is_refused = row["input"] in ("sparse gradient", "complex weight")
    assert row["ours"].endswith("(before anything changed)") if is_refused else row["ours"] == "takes the step"
    assert row["theirs"].endswith("(after state was written)") or row["input"] == "float16 weight"
