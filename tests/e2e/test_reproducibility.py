"""The same study file gives the same suggestions and bitwise the same values with one slot and with four."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import SMALL, succeed, tangent, write_study

pytestmark = pytest.mark.xdist_group("reproducibility")
TPE = {**SMALL, "name": "tpe", "search": {"sampler": "tpe", "trials": 12}, "replicates": 1}
"""More trials than TPE's start-up draws, so that later suggestions depend on earlier results."""


def run_studies(home: Path, folder: Path, slots: int) -> list[list[tuple[Any, ...]]]:
    succeed(tangent(home, "up", "--port", "0", "--slots", slots))
    files = [write_study(folder, document) for document in (SMALL, TPE)]
    results = []
    for number, file in enumerate(files, 1):
        succeed(tangent(home, "submit", file, "--wait", "--json"))
        results.append(trainings(json.loads(succeed(tangent(home, "export", number)))))
    succeed(tangent(home, "down"))
    return results


def trainings(export: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What each training was and gave, in an order that does not depend on which slot came first."""
    rows = [
        (
            *(trial[name] for name in ("arm", "replicate", "phase", "cell_number", "seed")),
            json.dumps(trial["params"], sort_keys=True),
            trial["value"],
            trial["test_value"],
        )
        for trial in export["trials"]
    ]
    return sorted(rows, key=repr)


def test_one_slot_and_four_give_the_same(home: Path, tmp_path: Path) -> None:
    alone = run_studies(home.with_name("one"), tmp_path, 1)
    together = run_studies(home.with_name("four"), tmp_path, 4)
    assert [len(study) for study in alone] == [42, 2 * (12 + 2 + 2)]
    assert alone == together
