"""Entity tags, and study files as YAML."""

import pytest

from service.api.bodies import read_document
from service.api.etags import _revision, etag_of, is_known
from service.api.files import study_yaml
from service.api.schemas import EXAMPLE, check_study_file
from service.domain.catalog import BUILT_IN
from service.domain.validation import study_from_file
from service.errors import RevisionError


@pytest.mark.parametrize("header", ['"7-42"', ' "7-42" '])
def test_own_tag_names_its_revision(header: str) -> None:
    assert _revision(7, header) == 42
    assert etag_of(7, 42) == '"7-42"'


def test_no_tag_and_any_tag_ask_for_no_revision() -> None:
    assert _revision(7, None) is None
    assert _revision(7, "*") is None


@pytest.mark.parametrize("header", ['"8-42"', 'W/"7-42"', "7-42", "", '"7-42", "7-43"', '"7-' + 20 * "9" + '"'])
def test_any_other_tag_matches_nothing(header: str) -> None:
    with pytest.raises(RevisionError, match='If-Match is no ETag of study 7; they look like "7-42"'):
        _revision(7, header)


@pytest.mark.parametrize(
    ("header", "is_there"),
    [(None, False), ("*", True), ('"7-42"', True), ('W/"7-42"', True), ('"7-41", "7-42"', True), ('"7-4"', False)],
)
def test_what_the_client_has_is_compared_weakly(header: str | None, is_there: bool) -> None:
    assert is_known(header, '"7-42"') is is_there


def test_file_as_yaml_reads_back_as_the_same_study() -> None:
    study = study_from_file(check_study_file(EXAMPLE), BUILT_IN)
    text = study_yaml(study.to_dict())
    again = study_from_file(check_study_file(read_document(text.encode(), "application/yaml")), BUILT_IN)
    assert again == study
    assert "null" not in text
    assert "compare: [[adamw, adamp], [adamp, adamp-tuned]]" in text
