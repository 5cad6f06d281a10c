"""A link that signs in works once."""

from tests.integration.api.conftest import api  # noqa: F401


def test_a_link_of_whoever_holds_the_token_signs_in_once(api):  # noqa: F811
    answer = api.post("/api/v1/login-links?next=/queue")
    assert answer.status_code == 201
    path = answer.json()["path"]
    bare = type(api)(api.app)
    first = bare.get(path)
    assert (first.status_code, first.headers["location"]) == (303, "/queue")
    assert "tangent_session" in first.headers["set-cookie"]
    second = bare.get(path)
    assert second.status_code == 403
    assert "has been used" in second.text


def test_a_link_needs_the_token_and_a_forged_one_is_refused(api):  # noqa: F811
    bare = type(api)(api.app)
    assert bare.post("/api/v1/login-links").status_code == 401
    assert bare.get("/login?code=forged").status_code == 403
