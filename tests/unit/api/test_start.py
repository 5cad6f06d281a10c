"""Starting the API with what cannot work: one plain sentence, exit code 1."""

import pytest

from service.api.__main__ import main
from tests.unit.api.support import NOWHERE, TOKEN


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TANGENT_API_TOKEN": "short"}, "TANGENT_API_TOKEN must be set, to at least 16 characters"),
        ({"TANGENT_API_TOKEN": ""}, "at least 16 characters"),
        ({"TANGENT_DATABASE_URL": ""}, "TANGENT_DATABASE_URL is not set"),
        ({"TANGENT_DATABASE_URL": "mysql://x"}, "must be an address that starts with postgresql://"),
        ({"TANGENT_API_PORT": "99999"}, "TANGENT_API_PORT"),
        ({"TANGENT_API_PORT": "http"}, "TANGENT_API_PORT"),
        ({"TANGENT_MAX_BODY_BYTES": "0"}, "TANGENT_MAX_BODY_BYTES"),
        ({"TANGENT_POLL": "soon"}, "TANGENT_POLL"),
        ({"TANGENT_LOG_LEVEL": "loud"}, "TANGENT_LOG_LEVEL"),
        ({"TANGENT_API_HOST": "203.0.113.1"}, "the API cannot listen on port 0 of 203.0.113.1"),
    ],
)
def test_wrong_setting_is_one_sentence_and_exit_code_1(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"TANGENT_DATABASE_URL": NOWHERE, "TANGENT_API_TOKEN": TOKEN, "TANGENT_API_PORT": "0", **variables}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main() == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tangent: ")
    assert words in said.err
    assert said.err.count("\n") == 1
