"""The measured operating characteristics: the page is made from the numbers, and the numbers keep what is promised."""

import json

import pytest

from service.domain.sequential import limits
from tests.bench.check_training import simulate
from tests.bench.check_training_page import DATA, PAGE, page
from workers.check.config import Margins
from workers.check.training import Plan

DOCUMENT = json.loads(DATA.read_text())
PLAN = Plan(tuple(DOCUMENT["looks"]))


def test_the_page_is_made_from_the_numbers():
    assert PAGE.read_text() == page(DOCUMENT)


def test_the_limits_shown_are_those_in_use():
    assert DOCUMENT["pass_limits"] == pytest.approx(limits(DOCUMENT["looks"], 0.05))
    assert DOCUMENT["fail_limits"] == pytest.approx(limits(DOCUMENT["looks"], 0.01 / 3))
    assert DOCUMENT["margins"] == Margins().model_dump()


def test_the_same_code_never_failed_and_rarely_changed_in_what_was_measured():
    rows = [row for measured in DOCUMENT["workloads"].values() for row in measured["same"].values()]
    assert len(rows) == 8
    assert all(row.get("FAIL", 0.0) <= 1e-3 for row in rows)
    assert all(row.get("CHANGED", 0.0) <= 0.015 for row in rows)


def test_a_simulated_check_passes_noise_within_the_margins_and_fails_a_loss():
    even = [(-1) ** k * 1e-4 * (1 + k % 5) for k in range(48)]
    pool = {"behaviour": even, "train_loss": even, "validation_loss": even}
    margins = DOCUMENT["margins"]
    assert simulate(pool, PLAN, margins, 50) == {"PASS": 1.0, "mean_pairs": 4.0}
    worse = {**pool, "train_loss": [value + 0.1 for value in even]}
    found = simulate(worse, PLAN, margins, 50)
    assert found["FAIL"] == 1.0
    assert found["mean_pairs"] == 8.0
