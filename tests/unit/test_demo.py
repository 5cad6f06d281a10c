"""The demo's studies and its last screen, without a service."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from service.demo import STUDIES, demo_study, lines_to_paste, show_result
from service.domain.catalog import BUILT_IN
from service.domain.validation import study_from_file
from service.output.results import read_published

REPORTS = dict(read_published(Path(__file__).parents[2] / "docs" / "results").reports)
IN_ORDER = [REPORTS[f"{name}.json"] for name in STUDIES]


@pytest.mark.parametrize("name", STUDIES)
def test_seed_changes_every_study(name):
    hashes = {study_from_file(demo_study(name, seed), BUILT_IN).spec_hash for seed in range(3)}
    assert len(hashes) == 3


@pytest.mark.parametrize("is_quick", [False, True])
def test_all_studies_are_valid_and_declare_pairs(is_quick):
    for name in STUDIES:
        study = study_from_file(demo_study(name, 1, is_quick=is_quick), BUILT_IN)
        assert len(study.compare) == 2


def test_screen_shows_every_verdict_and_fits_120_columns():
    console = Console(width=120, record=True, file=io.StringIO())
    show_result(console, IN_ORDER)
    text = console.export_text()
    for report in IN_ORDER:
        for comparison in report["comparisons"]:
            assert f"{comparison['challenger']} ← {comparison['baseline']}" in text
    tables = text.split("4  What to do next")[0]
    assert max(len(line.rstrip()) for line in tables.splitlines()) <= 120
    assert "steps" in text
    assert "projected" in text


def test_lines_to_paste_construct_adamp():
    import torch

    import adamp  # noqa: F401 (the lines import it)

    lines = lines_to_paste(IN_ORDER[:-1], 100)
    scope = {"model": torch.nn.Linear(2, 2)}
    exec("\n".join(lines), scope)
    assert type(scope["optimizer"]).__name__ == "AdamP"
