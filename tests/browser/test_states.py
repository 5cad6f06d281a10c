"""Links that restore a view, and what a page shows while something is missing: empty, loading, old, refused, broken."""

import re
from contextlib import contextmanager

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.scenes import begin, finished, submitted
from tests.browser.test_pages import judge
from tests.integration.api.support import ApiProcess

LATER = 16_000


@pytest.fixture(scope="module")
def study(ledger, server) -> int:
    return finished(ledger, "finished")


def test_an_empty_ledger_says_on_each_page_what_belongs_there(signed_in, server):
    for path, words, action in (
        ("/studies", "No studies yet", "New study"),
        ("/queue", "Nothing waits", "New study"),
        ("/compare", "Choose studies", None),
        ("/checks", "No checks yet", None),
    ):
        page = signed_in(path)
        expect(page.locator("main")).to_contain_text(words)
        if action:
            expect(page.locator("main").get_by_role("link", name=action).first).to_be_visible()
        judge(page)


def everything_chosen(page: Page) -> dict[str, object]:
    """What the pickers say and the table of trials holds."""
    trials = page.locator("#trials")
    return {
        "by": page.get_by_label("Budget in").input_value(),
        "at": page.get_by_label("At a budget of").get_attribute("aria-valuetext"),
        "metric": page.locator("#metric").input_value(),
        "smooth": page.get_by_label("Smoothing").input_value(),
        "layer": page.get_by_label("Layers", exact=True).input_value(),
        "filter": trials.get_by_label("Filter").input_value(),
        "rows": trials.get_by_role("row").all_inner_texts(),
    }


def load_all(page: Page) -> None:
    for section in ("budget", "curves", "invariance", "trials"):
        page.locator(f"#{section}").scroll_into_view_if_needed()
        expect(page.locator(f"#{section} form").first).to_be_visible()
    for name in ("expected-best", "difference"):
        page.locator(f"#chart-{name}").scroll_into_view_if_needed()
        expect(page.locator(f"#chart-{name}")).to_have_attribute("data-drawn", "yes")
    expect(page.get_by_label("At a budget of")).to_have_attribute("aria-valuetext", re.compile(r"\d"))


def test_a_copied_link_restores_every_choice_on_the_page(signed_in, study):
    page = signed_in(f"/studies/{study}", permissions=["clipboard-read", "clipboard-write"])
    load_all(page)
    page.get_by_label("Budget in").select_option("steps")
    page.wait_for_url("**by=steps**")
    load_all(page)
    page.get_by_label("At a budget of").press("ArrowLeft")
    page.wait_for_url("**at=*")
    page.locator("#metric").select_option("train_loss")
    page.wait_for_url("**metric=train_loss**")
    page.get_by_label("Smoothing").select_option("0.6")
    page.wait_for_url("**smooth=0.6**")
    page.get_by_label("Layers", exact=True).select_option("fc.weight")
    page.wait_for_url("**layer=fc.weight**")
    trials = page.locator("#trials")
    trials.get_by_label("Filter").fill("arm=adamp phase=search lr<0.01")
    trials.locator("summary", has_text="Columns").click()
    trials.get_by_label("seed").check()
    trials.get_by_label("parameters").uncheck()
    trials.get_by_role("button", name="Show").click()
    expect(trials.get_by_role("columnheader", name="seed")).to_be_visible()
    trials.get_by_role("link", name="validation value").click()
    expect(trials.get_by_role("columnheader", name="validation value")).to_have_attribute("aria-sort", "ascending")
    trials.get_by_role("button", name="Copy link").click()
    expect(page.locator("#toast")).to_have_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    before = everything_chosen(page)
    other = signed_in(link)
    load_all(other)
    assert everything_chosen(other) == before
    assert len(before["rows"]) > 5
    page.go_back()
    expect(trials.get_by_role("columnheader", name="validation value")).not_to_have_attribute("aria-sort", "ascending")


def test_the_old_address_of_the_trials_leads_to_the_table(signed_in, study):
    page = signed_in(f"/studies/{study}/trials?filter=arm%3Dsgdp&sort=-value")
    expect(page.locator("#trials").get_by_label("Filter")).to_have_value("arm=sgdp")
    expect(page.get_by_role("columnheader", name="validation value")).to_have_attribute("aria-sort", "descending")


def test_a_filter_that_cannot_be_read_is_said_and_kept(signed_in, study):
    page = signed_in(f"/studies/{study}#trials")
    trials = page.locator("#trials")
    trials.get_by_label("Filter").fill("armm=adamp")
    trials.get_by_role("button", name="Show").click()
    expect(trials.get_by_role("alert")).to_contain_text("armm")
    expect(trials.get_by_label("Filter")).to_have_value("armm=adamp")
    expect(trials.get_by_label("Filter")).to_have_attribute("aria-invalid", "true")


def test_a_part_is_busy_after_300_ms_and_not_before(signed_in, study):
    page = signed_in("/studies", viewport={"width": 1440, "height": 400})
    held = []
    page.route("**/parts/budget", lambda route: held.append(route))
    page.clock.install()
    page.goto(f"/studies/{study}")
    part = page.locator("#budget [data-part]")
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    with page.expect_request("**/parts/budget"):
        part.evaluate("part => part.scrollIntoView()")
    page.clock.run_for(250)
    assert part.get_attribute("aria-busy") is None
    page.clock.run_for(100)
    assert part.get_attribute("aria-busy") == "true"
    page.clock.resume()
    judge(page)
    held[0].continue_()
    expect(part.locator("figure").first).to_be_attached()
    expect(part).not_to_have_attribute("aria-busy", "true")


def test_a_part_that_fails_at_first_can_be_tried_again_and_later_keeps_what_it_shows(signed_in, ledger, client):
    study_id = submitted(client)
    begin(ledger, study_id, 2)
    page = signed_in("/studies", allowed="500 (Internal Server Error)")
    page.route("**/parts/trials*", lambda route: route.fulfill(status=500, json={"detail": "broken", "error_id": "e1"}))
    page.goto(f"/studies/{study_id}")
    part = page.locator("#trials [data-part]")
    part.scroll_into_view_if_needed()
    expect(part.get_by_role("alert")).to_contain_text("This part could not be loaded: broken (id e1).")
    judge(page)
    page.unroute("**/parts/trials*")
    part.get_by_role("button", name="Try again").click()
    expect(part.get_by_role("table")).to_be_visible()
    page.route("**/parts/trials*", lambda route: route.fulfill(status=500, json={"detail": "broken", "error_id": "e2"}))
    part.evaluate(
        "async part => (await import(document.querySelector('script[type=module]').src.replace("
        "'app.js', 'parts.js'))).load(part)"
    )
    expect(part).to_have_attribute("data-stale", re.compile(r"as of \d\d:\d\d:\d\d: broken \(id e2\)"))
    expect(part.get_by_role("table")).to_be_visible()


def test_what_goes_wrong_inside_is_a_page_with_the_id_that_the_log_has(browser, module_ledger, ledger, client, session):
    study_id = submitted(client)
    with ledger.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE studies SET spec = '{{}}' WHERE id = {study_id}")
    own = ApiProcess(module_ledger[0])
    try:
        with browser.new_context(base_url=own.address, storage_state=session) as context:
            page = context.new_page()
            answer = page.goto(f"/studies/{study_id}")
            assert answer is not None
            assert answer.status == 500
            expect(page.get_by_role("heading", level=1)).to_have_text("Something went wrong here")
            error_id = page.locator("main code").inner_text()
            judge(page)
    finally:
        _, log = own.stop()
        with ledger.transaction() as connection:
            connection.exec_driver_sql(f"DELETE FROM studies WHERE id = {study_id}")
    assert re.fullmatch("[0-9a-f]{16}", error_id)
    assert error_id in log
    assert "KeyError" in log


@contextmanager
def database_down(postgres, url):
    """Nobody gets into the database, and whoever is in is thrown out."""
    name = url.split("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        try:
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")


def test_without_its_database_a_page_is_for_reading_until_it_is_back(
    signed_in, ledger, client, postgres, module_ledger
):
    study_id = submitted(client)
    begin(ledger, study_id, 2)
    page = signed_in(f"/studies/{study_id}", allowed="Failed to load resource")
    page.clock.install()
    page.reload()
    expect(page.locator("#live")).to_have_text("live")
    banner, pause = page.locator("#banner"), page.get_by_role("button", name="Pause")
    with database_down(postgres, module_ledger[0]):
        page.clock.fast_forward(LATER)
        expect(page.locator("#live")).to_contain_text("as of", timeout=20_000)
        page.clock.fast_forward(LATER)
        expect(banner).to_contain_text("The ledger does not answer", timeout=20_000)
        expect(pause).to_be_disabled()
        expect(page.locator("#overview")).to_contain_text("2 of 54 trainings")
        expect(page.locator("#overview")).to_have_attribute("data-stale", re.compile("as of "))
        judge(page)
        other = signed_in("/queue", allowed="503 (Service Unavailable)")
        expect(other.get_by_role("heading", level=1)).to_have_text("The ledger does not answer")
        judge(other)
    page.clock.fast_forward(LATER)
    expect(banner).to_be_hidden(timeout=20_000)
    expect(pause).to_be_enabled()
    expect(page.locator("#overview")).not_to_have_attribute("data-stale", re.compile("as of "))
