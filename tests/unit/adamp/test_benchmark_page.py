"""The published figures are those that were measured."""

import json
from pathlib import Path

from tests.bench.adamp_page import write_page

FOLDER = Path(__file__).parents[3] / "docs" / "benchmarks"


def test_the_page_is_generated_from_the_measurements():
    assert (FOLDER / "adamp.md").read_text() == write_page(json.loads((FOLDER / "adamp.json").read_text()))
