"""The published studies: their files run as they stand, and committed reports are theirs."""

import json

import pytest

from service.domain.catalog import BUILT_IN
from service.domain.lint import study_warnings
from service.domain.validation import study_from_file
from service.output.results import read_published
from tests.results.make import DOCS, EQUAL, LONGER, MAIN, PAIRS, equal_files, study_file

RESULTS = DOCS / "results"


@pytest.mark.parametrize("name", [*MAIN, *LONGER, EQUAL])
def test_every_file_is_a_study_and_its_tiny_form_too(name):
    study = study_from_file(study_file(name), BUILT_IN)
    assert study.name == name
    tiny = study_from_file(study_file(name, is_tiny=True), BUILT_IN)
    assert [arm.name for arm in tiny.arms] == [arm.name for arm in study.arms]
    assert tiny.n_runs < study.n_runs / 9


@pytest.mark.parametrize("name", MAIN[:2])
def test_the_comparisons_have_every_optimizer_both_p_variants_and_no_confounder(name):
    study = study_from_file(study_file(name), BUILT_IN)
    assert {arm.optimizer for arm in study.arms} == set(BUILT_IN.optimizers)
    assert study.replicates == 10
    for optimizer in ("AdamP", "SGDP"):
        searches = ["delta" in arm.dimensions for arm in study.arms if arm.optimizer == optimizer]
        assert sorted(searches) == [False, True]
    assert study_warnings(study) == ()


def test_the_equal_studies_differ_in_nothing_but_the_seed_and_no_study_shares_one():
    files = equal_files(PAIRS)
    assert len(files) == 80
    assert len({json.dumps({**document, "seed": 0}) for document in files}) == 1
    seeds = [document["seed"] for document in (*files, *map(study_file, (*MAIN, *LONGER)))]
    assert len(set(seeds)) == len(seeds)


def test_committed_reports_are_of_the_files_as_they_stand():
    for path, report in read_published(RESULTS).reports:
        name = path.removesuffix(".json")
        if report["study"] == name:  # a report of an earlier file has another name
            assert report["spec_hash"] == study_from_file(study_file(name), BUILT_IN).spec_hash
    equal = read_published(RESULTS).equal_arms
    for study, document in zip(equal["studies"] if equal else [], equal_files(PAIRS), strict=bool(equal)):
        assert study["spec_hash"] == study_from_file(document, BUILT_IN).spec_hash
