"""Odd requests against a real ledger: never a 500. And the API under the database role that it has in production."""

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.app import context_of, create_app
from service.store import roles
from service.store.database import Database
from tests.asgi import Caller
from tests.integration.api.support import STUDIES, run, submit
from tests.unit.api import support

FUZZ = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TOKENS = ["1", "0", "-1", str(2**31), str(2**63), "1e3", "１", "\x00", "í\xa0\x80", "null", "1_0", " 1", "dHJpYWxzOjE"]
HEADERS = ["Authorization", "Content-Type", "Last-Event-ID", "Content-Length", "Host"]
odd = st.text(max_size=12) | st.integers().map(str) | st.sampled_from(TOKENS)
paths = st.sampled_from(
    ["", "/{}", "/1", "/1/trials", "/1/trials/{}", "/1/report", "/1/export", "/{}/cancel", "/{}/trials/{}"]
)
names = st.sampled_from(["limit", "page_token", "state", "arm", "phase", "format", "after", "validate_only", "{}"])


@pytest.fixture
def filled(api: Caller, ledger: Database) -> Caller:
    """With study 1, which has trials."""
    run(ledger, submit(api), most=2)
    return api


@FUZZ
@given(paths, st.lists(st.tuples(names, odd), max_size=3), odd, st.sampled_from(["GET", "POST", "PUT", "HEAD"]))
def test_odd_requests_never_are_a_500(
    filled: Caller, path: str, query: list[tuple[str, str]], value: str, method: str
) -> None:
    written = "&".join(f"{quote(name.replace('{}', text))}={quote(text, errors='replace')}" for name, text in query)
    place = path.replace("{}", quote(value, safe="", errors="replace"))
    response = filled.request(method, f"{STUDIES}{place}?{written}")
    assert response.status_code < 500, response.text


@FUZZ
@given(
    st.binary(max_size=30),
    st.sampled_from(HEADERS),
)
def test_odd_headers_never_are_a_500(api: Caller, value: bytes, name: str) -> None:
    response = api.post(STUDIES, content=b"{}", headers={name: value})  # type: ignore[dict-item]
    assert response.status_code < 500, response.text


def test_production_role_of_the_api_can_do_all_of_this(database_url: str, ledger: Database) -> None:
    roles.ensure_login(database_url, "tangent_api", "a-password-of-this-test", roles.SERVICE_GROUP)
    tail = database_url.partition("@")[2]
    url = f"postgresql://tangent_api:a-password-of-this-test@{tail}"
    app = create_app(support.settings(database_url=url))
    api = Caller(app, token=support.TOKEN)
    try:
        study_id = submit(api)
        run(context_of(app).database, study_id, most=3)
        assert api.post(f"{STUDIES}/{study_id}/cancel").status_code == 200
        for path in ("", "/trials", "/trials/0", "/report", "/export", "/events"):
            assert api.get(f"{STUDIES}/{study_id}{path}").status_code == 200, path
        for path in ("/api/v1/catalog", "/api/v1/workers", "/readyz"):
            assert api.get(path).status_code == 200, path
    finally:
        context_of(app).database.close()
