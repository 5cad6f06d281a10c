"""The real optuna-dashboard as a process over a real ledger: looked at, and refused every change."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).parents[3]
CHANGES = [
    ("DELETE", "/api/studies/{study}", None),
    ("POST", "/api/studies", {"study_name": "x", "directions": ["minimize"]}),
    ("POST", "/api/studies/{study}/rename", {"study_name": "x"}),
    ("PUT", "/api/studies/{study}/note", {"version": 1, "body": "x"}),
    ("POST", "/api/trials/{trial}/tell", {"state": "Fail"}),
    ("POST", "/api/trials/{trial}/user-attrs", {"user_attrs": {"a": 1}}),
]


def start(url: str, *words: str) -> "subprocess.Popen[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "service.optuna_dashboard", *words],
        cwd=REPOSITORY,
        env={**own, "TANGENT_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(url: str, study_id: int) -> Iterator[str]:
    process = start(url, str(study_id), "--port", "0")
    try:
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=90) == ("", "")
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def address(finished: tuple[str, int]) -> Iterator[str]:
    with running(*finished) as printed:
        yield printed


@pytest.fixture
def browser(address: str) -> Iterator[httpx.Client]:
    """A client that has opened the printed address."""
    with httpx.Client(base_url=address.partition("/?")[0]) as client:
        opened = client.get(address, follow_redirects=True)
        assert opened.status_code == 200
        assert "<title>Optuna Dashboard</title>" in opened.text
        assert "token" not in str(opened.url)
        yield client


def studies(browser: httpx.Client) -> dict[str, int]:
    listed = browser.get("/api/studies").json()["study_summaries"]
    return {study["study_name"]: study["study_id"] for study in listed}


def test_it_lists_the_study_s_cells_arms_and_reruns(browser):
    assert set(studies(browser)) == {f"study-1/arm{a}{rest}" for a in (0, 1) for rest in ("", "/r0", "/r1", "/reruns")}


def test_it_shows_a_cell_s_trials_importance_and_plots(browser):
    study_id = studies(browser)["study-1/arm0/r0"]
    detail = browser.get(f"/api/studies/{study_id}").json()
    assert len(detail["trials"]) == 12
    assert detail["best_trials"][0]["values"] == [min(trial["values"][0] for trial in detail["trials"])]
    assert detail["has_intermediate_values"]
    assert browser.get(f"/api/studies/{study_id}/param_importances").json()["param_importances"][0]
    assert browser.get(f"/api/studies/{study_id}/plot/timeline").status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_every_change_is_refused_with_the_way_out(browser, method, path, body):
    study_id = studies(browser)["study-1/arm0/r0"]
    before = browser.get(f"/api/studies/{study_id}").json()
    refused = browser.request(method, path.format(study=study_id, trial=before["trials"][0]["trial_id"]), json=body)
    assert refused.status_code == 403
    assert "submit a study with `tangent submit`" in refused.json()["reason"]
    assert browser.get(f"/api/studies/{study_id}").json() == before


def test_without_the_token_nothing_is_shown(address):
    base = address.partition("/?")[0]
    for path in ("/dashboard", "/api/studies", "/?token=wrong"):
        refused = httpx.get(base + path)
        assert refused.status_code == 403
        assert refused.json()["reason"].startswith("open the address with its token")


def test_a_page_of_another_host_is_not_answered(browser):
    refused = browser.get("/api/studies", headers={"Host": "evil.example:8080"})
    assert refused.status_code == 421
    assert refused.json()["reason"] == "this dashboard answers to 127.0.0.1 only"


def ended(url: str, *words: str) -> str:
    process = start(url, *words)
    said, wrong = process.communicate(timeout=90)
    assert (process.returncode, said) == (1, "")
    return wrong


def test_an_unknown_study_and_a_taken_port_are_said_in_one_sentence(finished, address):
    url, study_id = finished
    assert ended(url, "99") == "tangent: there is no study 99\n"
    port = address.partition("/?")[0].rpartition(":")[2]
    wrong = ended(url, str(study_id), "--port", port)
    assert wrong == f"tangent: port {port} cannot be used (Address already in use); choose one with --port\n"


def test_without_the_package_the_line_that_installs_it_is_given(finished, tmp_path):
    (tmp_path / "optuna_dashboard.py").write_text("raise ImportError('not here')\n")
    url, study_id = finished
    own = {**os.environ, "TANGENT_DATABASE_URL": url, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "service.optuna_dashboard", str(study_id)],
        cwd=REPOSITORY,
        env=own,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'optuna-dashboard>=0.21,<0.22'")
