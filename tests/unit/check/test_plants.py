import shutil
from pathlib import Path

import pytest

from service.errors import TangentError
from workers.check.plants import Edit, Plant, read_plants
from workers.check.selftest import SHORT
from workers.check.selftest_page import render

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


def test_the_page_says_what_was_not_caught():
    bug = {"name": "a bug", "path": "plain", "expected": "numerics", "layer": "", "findings": [], "is_right": False}
    told = {"explanation": "", "sentence": "", "n_script_lines": 0}
    noop = {"name": "a refactor", "seed": 1, "has_alarmed": True, "share": {"float64-x": 0.5, "float32-x": 2.0}}
    page = render({"date": "", "versions": {}, "plants": [{**bug, **told}], "noops": [noop]})
    assert "0 of 1 bugs tripped" in page
    assert "| a bug | **nothing** |" in page
    assert "1 alarms in 1 runs" in page
