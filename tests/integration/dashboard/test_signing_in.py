"""A link that signs in works once."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.integration.api.conftest import api, start_api  # noqa: F401
from tests.unit.api.support import TOKEN


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


def test_the_command_prints_a_link_that_opens_the_study(start_api):  # noqa: F811
    process = start_api()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("TANGENT_")}
    given = {"TANGENT_API_URL": process.address, "TANGENT_API_TOKEN": TOKEN}
    done = subprocess.run(
        [Path(sys.executable).with_name("tangent"), "open", "7"],
        env={**inherited, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    link = done.stdout.strip()
    assert link.startswith(f"{process.address}/login?code=")
    answer = httpx.get(link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies/7")
