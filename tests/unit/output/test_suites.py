"""Suites as files."""

import json
import re
from xml.etree import ElementTree

import pytest

from service.domain.suite import build_suite
from service.output.suites import FORMS, profile_svg, render_suite, suite_section
from tests.unit.domain.estimate_cases import document, full_source


@pytest.fixture(scope="module")
def suite():
    return build_suite([document(full_source(s, study=f"s{s}", workload=f"w{s}", replicates=6)) for s in (1, 2)])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_names_every_workload_and_the_pooled_effect(suite, form):
    text = render_suite(suite, 0.05, form)
    for name in ("w1", "w2", "adamp", "tuned"):
        assert name in text
    assert not re.search(r"\bnan\b|\bNone\b", text)


def test_the_forest_has_a_row_for_each_workload_and_a_diamond_for_each_pair(suite):
    root = ElementTree.fromstring(render_suite(suite, 0.05, "svg"))
    names = [root.iter(f"{{http://www.w3.org/2000/svg}}{tag}") for tag in ("circle", "path")]
    assert [len(list(found)) for found in names] == [4, 2]


def test_json_holds_the_pooled_numbers(suite):
    found = json.loads(render_suite(suite, 0.05, "json"))
    assert found["pairs"][0]["mean"] == suite.pairs[0].mean
    assert found["pairs"][0]["parts"][1]["workload"] == "w2"


def test_profiles_are_drawn_where_there_are_some(suite):
    assert ElementTree.fromstring(profile_svg(suite.profiles, is_file=True)).get("aria-label").startswith("Performance")
    assert profile_svg(()) is None


def test_what_cannot_be_pooled_says_so_in_every_form():
    reports = [document(full_source(s, workload=f"w{s}", replicates=r)) for s, r in ((1, 6), (2, 1))]
    for form in ("md", "html"):
        assert "no pooled effect, because fewer than 3 replicates on w2" in render_suite(
            build_suite(reports), 0.05, form
        )
    ElementTree.fromstring(render_suite(build_suite(reports), 0.05, "svg"))


def test_an_unknown_form_names_the_known_ones(suite):
    with pytest.raises(ValueError, match="forms json, md, html, svg, not 'csv'"):
        render_suite(suite, 0.05, "csv")


def test_the_page_of_results_pools_studies_of_the_same_arms_on_different_workloads_only():
    first, second, same = (
        document(full_source(s, workload=w, replicates=4)) for s, w in ((1, "a"), (2, "b"), (3, "a"))
    )
    assert suite_section([first, same]) == []
    assert suite_section([first, {**second, "arms": second["arms"][:1]}]) == []
    pooled = "\n".join(suite_section([first, same, second]))
    assert "adamp against adamw over 2 workloads" in pooled
    assert "pooled" in pooled
