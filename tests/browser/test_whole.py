"""A study from the form to its verdict in one open page, on a real coordinator and a real worker."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from service.client import Client
from tests.browser.conftest import Watched
from tests.browser.test_actions import answer, press
from tests.integration.faults.support import SLOW, TOKEN, Program, Service

PATIENCE_MS = 90_000
SLOWLY = {
    "name": "slow",
    "workload": {"name": SLOW, "options": {"epochs": 100, "step_s": 0.2}},  # minutes: it is acted on while it runs
    "arms": [{"name": "adamw", "optimizer": "AdamW"}],
    "search": {"trials": 2},
    "select": {"top": 1, "seeds": 1},
    "confirm": {"seeds": 1},
    "replicates": 1,
}


@pytest.fixture(scope="module")
def service(module_ledger, redis, tmp_path_factory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"), module_ledger[0], redis.url)
    yield service
    service.close()


@pytest.fixture(scope="module")
def worker(service) -> Program:
    service.coordinator()
    service.start("workers", "--queues", "reports")
    return service.worker()


@pytest.fixture(scope="module")
def client(service, worker) -> Iterator[Client]:
    with Client(service.api().address, TOKEN) as client:
        yield client


@pytest.fixture
def page(browser, client) -> Iterator[Page]:
    with browser.new_context(base_url=client.base_url) as context:
        page = context.new_page()
        watched = Watched(page, client.base_url)
        yield page
        assert watched.problems == []


def test_a_study_goes_from_the_form_to_its_verdict_in_one_open_page(page, client):
    page.goto(client.login_link("/studies/new"))
    page.get_by_label("Name").first.fill("from form to verdict")
    page.get_by_label("epochs").fill("1")
    for label, value in {
        "T, search trials per cell": "2",
        "Select: top": "1",
        "Select: seeds": "1",
        "S, confirm seeds": "1",
        "R, replicates": "3",
    }.items():
        page.get_by_label(label).fill(value)
    expect(page.locator("#cost")).to_contain_text("= 24 trainings, about")
    expect(page.locator("#cost")).to_contain_text("on 1 slot")
    press(page, "Submit the study")
    expect(page.get_by_role("heading", level=1)).to_have_text("from form to verdict")
    page.evaluate("window.stayed = true")
    overview = page.locator("#overview")
    expect(overview.locator(".state").first).to_have_text("finished", timeout=PATIENCE_MS)
    expect(overview.locator(".answer")).to_be_visible(timeout=PATIENCE_MS)
    expect(overview).to_contain_text("24 of 24 trainings")
    expect(overview.get_by_role("button", name="Copy").first).to_be_visible()
    expect(page.locator("#chart-effects")).to_have_attribute("data-drawn", "yes")
    assert page.evaluate("window.stayed")


def test_the_queue_asks_a_real_worker_for_a_trial_and_then_for_no_more(page, client, worker):
    page.goto(client.login_link("/queue"))
    study_id = client.submit(SLOWLY)["id"]
    run = page.get_by_role("listitem").filter(has_text=f"study {study_id}, trial 0")
    expect(run).to_be_visible(timeout=PATIENCE_MS)
    run.get_by_role("button", name="Requeue").click()
    answer(page, "Requeue trial 0?", "Requeue")
    expect(page.locator("#toast")).to_have_text("Trial 0 waits again")
    worker.wait_for_line("attempt 1 of trial")  # which it no longer owns
    row = page.get_by_role("row").filter(has_text=f"process {worker.pid},")
    row.get_by_role("button", name="Drain").click()
    answer(page, "Drain this worker?", "Drain")
    expect(row).to_contain_text("draining")
    worker.wait_for_line("drains; leaves hints")
    row.get_by_role("button", name="Take trials again").click()
    expect(row).to_contain_text("online")
    client.cancel(study_id)
