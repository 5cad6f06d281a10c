"""The published figures of the dashboard are those that were measured."""

import copy
import json
from pathlib import Path

import pytest

from tests.bench.dashboard import figures, keep
from tests.bench.dashboard_page import write_page
from tests.browser.measuring import Visit

FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"


@pytest.fixture
def told():
    return json.loads((FOLDER / "dashboard.json").read_text())


def row(page: str, words: str) -> str:
    (found,) = [line for line in page.splitlines() if words in line]
    return found


def test_the_page_is_generated_from_the_measurements(told):
    assert (FOLDER / "dashboard.md").read_text() == write_page(told)


def test_a_missed_target_is_said(told):
    slow = copy.deepcopy(told)
    slow["sizes"]["10000"]["pages"]["compare"]["ours"]["cold"]["seconds"] = 1e3
    slow["sizes"]["10000"]["pages"]["list"]["ours"]["server_bytes"] = 251e6
    assert row(write_page(slow), "| compare, cold: times faster").endswith("| at least 30 | **missed** |")
    assert row(write_page(slow), "memory of the server process").endswith("| 251 | at most 250 | **missed** |")


def test_a_page_that_never_came_is_said_and_counts_as_the_time_it_was_waited_for(told):
    late = copy.deepcopy(told)
    pages = late["sizes"]["10000"]["pages"]
    pages["curves"]["optuna"] = {"server_bytes": 1e9, "cold": {"not_ready_after_s": 240.0}}
    pages["curves"]["ours"]["cold"]["seconds"] = 2.0
    page = write_page(late)
    assert "more than 240.0 s | 120 | at least 50 | met |" in row(page, "| curves, cold: times faster")
    assert "not ready after 240" in page


def visit(seconds: float) -> Visit:
    return Visit(seconds, 1000, 0, 0, 10, 20, 30, 4)


def test_figures_are_medians_of_cold_and_warm_visits():
    found = figures([[visit(1.0), visit(0.2)], [visit(3.0), visit(0.4)], [visit(2.0), visit(0.3)]], 7)
    assert (found["cold"]["seconds"], found["warm"]["seconds"]) == (2.0, 0.3)
    assert found["cold"]["each_s"] == [1.0, 3.0, 2.0]
    assert found["server_bytes"] == 7


def test_a_size_that_is_measured_in_two_goes_keeps_both():
    told = {}
    keep(told, "100", {"date": "2026-01-01", "pages": {"list": 1}})
    keep(told, "100", {"date": "2026-01-02", "pages": {"curves": 2}})
    assert told == {"sizes": {"100": {"date": "2026-01-02", "pages": {"list": 1, "curves": 2}}}}
