"""Who may see a page, and who may change something: sessions, CSRF tokens, origins, hosts, headers."""

import re

import pytest

from service.dashboard.sessions import COOKIE, Sessions, next_path
from tests.unit.api.support import TOKEN, caller, problem_of

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGES = ("/studies", "/queue", "/studies/7?x=1", "/nothing")


def sign_in(client, **headers):
    return client.post("/login", content=f"token={TOKEN}&next=/queue", headers={**FORM, **headers})


def cookie_of(response):
    return response.headers["set-cookie"].split(";")[0]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_without_a_session_leads_to_the_sign_in_and_back(path):
    response = caller(token=None).get(path)
    assert response.status_code == 303
    assert response.headers["location"].startswith("/login?next=/")


def test_the_right_token_signs_in_with_a_cookie_that_scripts_and_other_sites_do_not_get():
    response = sign_in(caller(token=None))
    assert (response.status_code, response.headers["location"]) == (303, "/queue")
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    secure = sign_in(type(caller())(caller().app, base_url="https://localhost"))
    assert "; secure" in secure.headers["set-cookie"].lower()


def test_a_wrong_token_is_refused_in_words_and_sets_no_cookie():
    response = caller(token=None).post("/login", content="token=wrong", headers=FORM)
    assert response.status_code == 403
    assert "not this server" in response.text
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("value", ["x", "", "eyJhIjoxfQ.aaaa.bbbb"])
def test_a_cookie_that_is_not_ours_is_no_session(value):
    response = caller(token=None).get("/studies", headers={"Cookie": f"{COOKIE}={value}"})
    assert response.status_code == 303


def test_a_cookie_of_another_token_is_no_session():
    foreign = Sessions("another token, as long")
    response = sign_in(caller(token=None))
    assert foreign.read(cookie_of(response).partition("=")[2]) is None
    assert Sessions(TOKEN).read(cookie_of(response).partition("=")[2]) is not None


def test_a_session_reads_the_api_and_changes_it_only_with_its_csrf_token():
    client = caller(token=None)
    cookie = cookie_of(sign_in(client))
    session = Sessions(TOKEN).read(cookie.partition("=")[2])
    assert client.get("/api/v1/catalog", headers={"Cookie": cookie}).status_code == 503  # no ledger here, but let in
    url, signed = "/api/v1/studies", {"Cookie": cookie}
    assert client.post(url, json={}, headers=signed).status_code == 403
    assert client.post(url, json={}, headers={**signed, "X-CSRF-Token": "0" * 64}).status_code == 403
    assert client.post(url, json={}, headers={**signed, "X-CSRF-Token": session.csrf_token}).status_code == 422


def test_a_page_carries_another_csrf_token_each_time_and_each_is_accepted():
    client = caller(token=None)
    cookie = cookie_of(sign_in(client))
    page = {"Cookie": cookie, "Accept": "text/html"}
    found = [re.findall('name="csrf-token" content="([0-9a-f]+)"', client.get("/x", headers=page).text) for _ in "ab"]
    (first,), (second,) = found
    assert first != second
    session = Sessions(TOKEN).read(cookie.partition("=")[2])
    assert session.csrf_token not in first
    signed = {"Cookie": cookie}
    for token in (first, second):
        answer = client.post("/api/v1/studies", json={}, headers={**signed, "X-CSRF-Token": token})
        assert answer.status_code == 422
    for token in (first[:64], first[64:], first[:64] + second[64:], f"{first}00", "zz", "é"):
        assert not session.accepts(token)


def test_pages_are_compressed_where_the_browser_takes_it_and_the_api_is_not():
    client = caller()
    html = {"Accept": "text/html"}
    packed = client.get("/x", headers={**html, "Accept-Encoding": "gzip"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    plain = client.get("/x", headers={**html, "Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "There is no such page" in plain.text
    assert "There is no such page" in packed.text
    api = client.get("/api/v1/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert len(api.content) > 1000
    assert "content-encoding" not in api.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_another_site_sends_is_refused_even_with_the_right_tokens(headers):
    client = caller(token=None)
    cookie = cookie_of(sign_in(client))
    token = Sessions(TOKEN).read(cookie.partition("=")[2]).csrf_token
    given = {"Cookie": cookie, "X-CSRF-Token": token, **headers}
    assert client.post("/api/v1/studies", json={}, headers=given).status_code == 403
    assert sign_in(client, **headers).status_code == 403
    assert sign_in(client, Origin="http://localhost").status_code == 303


def test_a_bearer_token_needs_no_csrf_token():
    assert caller().post("/api/v1/studies", json={}).status_code == 422


def test_another_host_name_is_refused_before_anything_else():
    problem = problem_of(caller(host="rebound.example", token=None).get("/studies"))
    assert problem["status"] == 400


def test_signing_out_forgets_the_cookie():
    client = caller(token=None)
    cookie = cookie_of(sign_in(client))
    token = Sessions(TOKEN).read(cookie.partition("=")[2]).csrf_token
    response = client.post("/logout", headers={"Cookie": cookie, "X-CSRF-Token": token})
    assert response.status_code == 204
    assert "max-age=0" in response.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("/queue?x=1", "/queue?x=1"),
        ("//evil.example", "/studies"),
        ("/\\evil.example", "/studies"),
        ("https://evil.example", "/studies"),
        ("", "/studies"),
        (None, "/studies"),
    ],
)
def test_after_signing_in_one_stays_on_this_site(given, target):
    assert next_path(given) == target


def test_every_page_carries_the_policy_and_no_inline_script_or_style():
    response = caller(token=None).get("/login")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", response.text)


def test_a_page_that_fails_is_a_page_and_a_script_gets_the_problem():
    client = caller(token=None)
    signed = {"Cookie": cookie_of(sign_in(client))}
    html = client.get("/nothing", headers={**signed, "Accept": "text/html"})
    assert (html.status_code, html.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page" in html.text
    assert problem_of(client.get("/nothing", headers={**signed, "Accept": "application/json"}))["status"] == 404


def test_files_are_served_in_the_best_compression_and_for_ever_or_not_at_all():
    client = caller(token=None)
    page = client.get("/login").text
    url = re.search(r'href="(/static/[^"]+tangent\.css)"', page).group(1)
    response = client.get(url, headers={"Accept-Encoding": "gzip, br"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/css")
    if "source" not in url:
        assert response.headers["content-encoding"] == "br"
        assert "immutable" in response.headers["cache-control"]
    for path in ("/static/../access.py", "/static/source/../access.py", "/static/%2e%2e/access.py", "/static/none.js"):
        assert client.get(path).status_code in (303, 404)
