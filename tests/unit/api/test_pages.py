"""Page tokens."""

import base64

import pytest

from service.api.pages import make_token, read_token
from service.errors import InvalidInputError


@pytest.mark.parametrize("key", [0, 1, 77, 2**63 - 1])
def test_token_brings_its_key_back(key: int) -> None:
    assert read_token("trials", make_token("trials", key)) == key


def test_end_of_a_list_has_no_token() -> None:
    assert make_token("trials", None) is None
    assert read_token("trials", None) is None


@pytest.mark.parametrize(
    "plain",
    [
        "studies:1",
        "trials:",
        "trials:-1",
        "trials:x",
        "trials:1e3",
        f"trials:{2**63}",
        "trials:²",
        "trials:" + "9" * 60,
    ],
)
def test_token_of_something_else_is_refused(plain: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_token("trials", base64.urlsafe_b64encode(plain.encode()).decode())


@pytest.mark.parametrize("token", ["", "5", "ä", "====", "\x00", "dHJpYWxzOjE\n", "/w=="])
def test_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_token("trials", token)
