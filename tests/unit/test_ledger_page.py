"""The published figures of the ledger are those that were measured."""

import json
from pathlib import Path

from tests.bench.ledger_page import write_page

FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"


def test_the_page_is_generated_from_the_measurements():
    told, overhead = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("ledger", "overhead"))
    assert (FOLDER / "ledger.md").read_text() == write_page(told, overhead)


def test_a_missed_target_is_said():
    told, overhead = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("ledger", "overhead"))
    told["table"]["p95_ms"] = 1000.0
    (row,) = [line for line in write_page(told, overhead).splitlines() if "95th percentile" in line]
    assert row.endswith("| 1e+03 | at most 100 | **missed** |")
