"""The page of results is what the command writes from the committed reports, and nothing else."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jsonschema

from service.output.forms import render
from service.output.results import Published, read_published, results_page, strip_svg
from tests.unit.domain.estimate_cases import ARMS, document, full_source

DOCS = Path(__file__).parents[3] / "docs"


def test_the_committed_page_was_not_edited_by_hand():
    assert (DOCS / "results.md").read_text(encoding="utf-8") == results_page(read_published(DOCS / "results"))


def test_the_picture_of_the_readme_was_drawn_from_the_committed_reports():
    assert (DOCS / "results" / "strip.svg").read_text(encoding="utf-8") == strip_svg(
        read_published(DOCS / "results").reports
    )
    assert "docs/results/strip.svg" in (DOCS.parent / "README.md").read_text(encoding="utf-8")


def test_every_committed_report_fits_the_schema():
    schema = json.loads((DOCS / "report.schema.json").read_text())
    for _, report in read_published(DOCS / "results").reports:
        jsonschema.Draft202012Validator(schema).validate(report)


def test_the_page_has_every_verdict_and_counts_equal_arms():
    twin = dataclasses.replace(ARMS[0], name="adamp")
    controls = document(full_source(2, study="controls", arms=(ARMS[0], twin, ARMS[2]), shifts=(0.0, 0.0, -0.1)))
    page = results_page(Published([("a.json", document(full_source(1))), ("b.json", controls)]))
    assert page.count("| simulated | ") + page.count("| controls | ") == 4
    assert "Of 1 declared pair of equal arms, 0 were called better or worse" in page
    assert "[all numbers](results/b.json)" in page
    for pair in controls["comparisons"]:
        assert pair["verdict"]["sentence"].replace("_", "\\_") in page


def test_without_a_report_the_page_says_so():
    assert results_page(Published()).endswith("No study has been published yet.\n")


def test_the_command_writes_the_page_and_finds_edits(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "a.json").write_text(render(document(full_source(1)), "json"))

    def run(*arguments):
        argv = [sys.executable, "-m", "service.output.results", "--docs", str(tmp_path), *arguments]
        return subprocess.run(argv, cwd=DOCS.parent, capture_output=True, text=True, check=False)

    assert run("--check").returncode == 1
    assert run().returncode == 0
    assert run("--check").returncode == 0
    page = tmp_path / "results.md"
    page.write_text(page.read_text().replace("Worse", "Better").replace("R = 5", "R = 50"))
    done = run("--check")
    assert done.returncode == 1
    assert "is not what" in done.stdout
