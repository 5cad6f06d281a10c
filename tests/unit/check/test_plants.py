import json
import shutil
from pathlib import Path

import pytest

from service.errors import TangentError
from workers.check import selftest_results
from workers.check.plants import Edit, Plant, read_plants
from workers.check.selftest import SHORT, Outcome
from workers.check.selftest_noops import NoopRun, planned_runs
from workers.check.selftest_page import DATA, PAGE, render

ADAMP = Path(__file__).resolve().parents[3] / "adamp"
PLANTS = read_plants()


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_every_plant_fits_the_sources_as_they_are(plant, tmp_path):
    for edit in plant.edits:
        (tmp_path / edit.file).parent.mkdir(exist_ok=True)
        shutil.copy(ADAMP / edit.file, tmp_path / edit.file)
    plant.apply(tmp_path)
    assert all((tmp_path / edit.file).read_bytes() != (ADAMP / edit.file).read_bytes() for edit in plant.edits)


def test_a_plant_that_fits_no_more_stops_with_its_name_and_the_text(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(TangentError, match=r"'gone' looks for 'x = 2', which occurs 0 times in a\.py"):
        Plant("gone", "plain", "adamp", (Edit("a.py", "x = 2", "x = 3"),)).apply(tmp_path)


def test_names_are_unique_and_the_short_form_names_plants_that_are_there():
    names = [plant.name for plant in PLANTS]
    assert len(set(names)) == len(names)
    assert set(SHORT) <= set(names)


def test_there_are_bugs_for_both_paths_and_refactors():
    assert sum(plant.layer is not None for plant in PLANTS) >= 60
    assert sum(plant.layer is None for plant in PLANTS) >= 3
    assert {plant.path for plant in PLANTS} == {"plain", "native"}


def test_the_page_is_made_from_its_numbers():
    assert PAGE.read_text() == render(json.loads(DATA.read_text()))


def test_every_bug_was_caught_by_its_layer_and_no_refactor_alarmed():
    document = json.loads(DATA.read_text())
    assert [plant["name"] for plant in document["plants"]] == [plant.name for plant in PLANTS]
    assert [plant["name"] for plant in document["plants"] if not plant["is_right"]] == []
    assert len(document["noops"]) >= 150
    assert [noop for noop in document["noops"] if noop["has_alarmed"]] == []


def page_of(plant=None, noop=None):
    bug = {"name": "a bug", "path": "plain", "expected": "numerics", "layer": "", "findings": [], "is_right": False}
    told = {"explanation": "", "sentence": "", "n_script_lines": 0, "duration_s": 9.0}
    run = {"name": "a refactor", "seed": 1, "has_alarmed": True, "share": {"float64-x": 0.5, "float32-x": 2.0}}
    same = {"same code": {"n_pairs": 48, "n_simulated": 1000, "FAIL": 0.004, "mean_pairs": 4.0}}
    return {
        "date": "2026-01-02",
        "code": ["abc"],
        "machine": "2 x Z80",
        "versions": {},
        "plants": [{**bug, **told, **(plant or {})}],
        "noops": [{**run, **(noop or {})}],
        "cost": {
            "date": "2026-01-02",
            "code": "abc",
            "wall_s": 80.0,
            "cpu_s": 87.0,
            "load_1min": 0.1,
            "verdicts": {"adamp": "PASS", "sgdp": "PASS"},
        },
        "simulated": {"digits": same},
    }


def test_the_page_says_what_was_not_caught():
    page = render(page_of())
    assert "0 of 1 bugs tripped" in page
    assert "| a bug | **nothing** |" in page
    assert "1 alarms in 1 runs" in page
    assert "| digits | same code | 48 | 1,000 | 0.4 % | 0 | 4.0 |" in page
    assert "80 s, of which processors worked 87 s" in page


def test_an_interrupted_self_test_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    began = []

    def plants(names, seeds, _):
        for name in names:
            began.append(name)
            yield Outcome(name, "plain", "adamp", "", seeds[0], 0, "", (), "", "", "a = 1\nb = 2\n", True, 1.0)

    def refactors(runs, _):
        for name, seed in runs:
            began.append((name, seed))
            yield NoopRun(name, seed, False, {"float64": 0.1, "float32": 0.2})

    monkeypatch.setattr(selftest_results, "self_test", plants)
    monkeypatch.setattr(selftest_results, "noop_runs", refactors)
    kept, n_all = tmp_path / "build" / "kept.jsonl", len(PLANTS) + len(planned_runs(9))
    assert selftest_results.collect(9, 0.0, print, kept) == n_all - 1
    assert selftest_results.collect(9, 60.0, print, kept) == 0
    assert len(began) == len(set(began)) == n_all
    document = selftest_results.make_document(9, kept)
    assert [plant["name"] for plant in document["plants"]] == [plant.name for plant in PLANTS]
    assert {plant["n_script_lines"] for plant in document["plants"]} == {2}
    assert len(document["noops"]) == len(planned_runs(9)) >= 9
    assert document["simulated"]
