"""docs/group-sequential.md says what its figures say, and the figures are those of the service's own rule."""

import json

import numpy as np
import pytest

from service.domain.ruling import VerdictKind, kind_from_table
from service.domain.sequential import estimate_at_look
from tests.sequential import page, simulate

DOCUMENT = json.loads(page.DATA.read_text())
SHARES = ("better", "worse", "equivalent", "undecided", "covered", "covered_always")


def test_the_page_is_generated_from_the_figures():
    assert page.PAGE.read_text() == page.render(DOCUMENT), f"edited by hand? run {page.COMMAND}"


@pytest.mark.parametrize("recorded", DOCUMENT["rows"], ids=lambda row: f"{row['looks']} {row['change']}")
def test_a_second_simulation_gives_the_recorded_shares(recorded):
    again = simulate.row(tuple(recorded["looks"]), recorded["change"], 2000, seed=10_000 + recorded["seed"])
    for name in SHARES:
        slack = simulate.monte_carlo_error(recorded[name], 2000) + 0.002
        assert again[name] == pytest.approx(recorded[name], abs=1.5 * slack), name
    assert again["replicates"] == pytest.approx(recorded["replicates"], rel=0.05)


@pytest.mark.parametrize("recorded", DOCUMENT["rows"], ids=lambda row: f"{row['looks']} {row['change']}")
def test_looking_costs_no_error_and_little_power_and_the_interval_covers(recorded):
    error = simulate.monte_carlo_error(0.05, recorded["n_studies"])
    assert recorded["covered"] >= 0.95 - 0.007 - error
    assert recorded["covered_always"] >= 0.95 - 0.007 - error
    if recorded["change"] == 0:
        assert recorded["better"] + recorded["worse"] <= 0.05 + 0.007 + error
    assert recorded["fixed"]["better"] - 0.06 <= recorded["better"] <= recorded["fixed"]["better"] + 0.007 + error
    assert recorded["saved"] >= 0


def test_large_effects_save_more_than_a_third_of_the_replicates():
    for row in DOCUMENT["rows"]:
        if row["change"] == -0.2:
            assert row["saved"] > 0.35 * row["looks"][-1]


@pytest.mark.parametrize("effect", [0.0, -0.1, 0.3])
def test_each_simulated_decision_is_the_services(effect):
    looks = simulate.DESIGNS[0]
    draws = np.random.default_rng(9).normal(effect, simulate.SD, (12, looks[-1]))
    sides = {VerdictKind.EQUIVALENT: "equivalent", VerdictKind.INCONCLUSIVE: "undecided"}
    for k, n in enumerate(looks):
        ours = simulate.kinds_at(draws[:, :n], looks, k)
        for values, kind in zip(draws[:, :n], ours, strict=True):
            found = estimate_at_look(values.tolist(), looks)
            verdict = kind_from_table(found, found.p_value, simulate.MARGIN)
            side = "better" if verdict.is_better else "worse" if verdict.is_worse else sides[verdict]
            assert side == kind
