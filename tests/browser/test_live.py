"""Open pages follow the ledger without a reload: by events, by looking again where events fail, to the verdict."""

import pytest
from playwright.sync_api import Page, expect

from service.store.leases import renew_lease
from tests.browser.scenes import begin, complete, submitted
from tests.integration.api.support import claim, finish, invented, plan
from tests.integration.store.support import LEASE

pytestmark = pytest.mark.usefixtures("nothing_left")
LATER = 16_000
"""Milliseconds after which a page that polls has looked again."""


def with_clock(page: Page) -> Page:
    """Loaded again with a clock that the test can put forward."""
    page.clock.install()
    page.reload()
    return page


def test_a_trial_that_ends_is_shown_where_it_stands(signed_in, ledger, client):
    study_id = submitted(client)
    running = begin(ledger, study_id, 2)
    page = signed_in(f"/studies/{study_id}")
    trials = page.locator("#trials")
    trials.scroll_into_view_if_needed()
    row = trials.get_by_role("row").filter(has=page.get_by_role("link", name=str(running.number), exact=True))
    expect(row).to_contain_text("running")
    expect(page.locator("#live")).to_have_text("live")
    page.evaluate("window.stayed = true")
    finish(ledger, running, invented(running))
    expect(row).to_contain_text("finished")
    expect(page.locator("#overview")).to_contain_text("3 of 54 trainings")
    assert page.evaluate("window.stayed")


def test_the_last_trial_brings_the_verdict(signed_in, ledger, client):
    study_id = submitted(client)
    begun = begin(ledger, study_id, 2)
    page = signed_in(f"/studies/{study_id}")
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("#overview")).to_contain_text("Not comparable yet: adamw 1 of 9, adamp 1 of 9 search trials")
    page.evaluate("window.stayed = true")
    finish(ledger, begun, invented(begun))
    complete(ledger, study_id)
    expect(page.locator("#overview")).to_contain_text("Take adamp")
    expect(page.locator("main .state").first).to_have_text("finished")
    expect(page.locator("#chart-effects")).to_have_attribute("data-drawn", "yes")
    expect(page.locator("#live")).to_contain_text("as of")
    assert page.evaluate("window.stayed")


def test_where_events_fail_the_page_looks_again_and_is_live_when_they_come_back(signed_in, ledger, client):
    study_id = submitted(client)
    running = begin(ledger, study_id, 2)
    page = signed_in(f"/studies/{study_id}", allowed="net::ERR_FAILED")
    page.route("**/events?*", lambda route: route.abort())
    with_clock(page)
    expect(page.locator("#live")).to_contain_text("as of")
    page.evaluate("window.stayed = true")
    finish(ledger, running, invented(running))
    page.clock.fast_forward(LATER)
    expect(page.locator("#overview")).to_contain_text("3 of 54 trainings")
    expect(page.locator("#live")).to_contain_text("as of")
    page.unroute("**/events?*")
    page.clock.fast_forward(LATER)
    expect(page.locator("#live")).to_have_text("live")
    again = claim(ledger)
    assert again is not None
    finish(ledger, again, invented(again))
    page.clock.fast_forward(2000)
    expect(page.locator("#overview")).to_contain_text("4 of 54 trainings")
    assert page.evaluate("window.stayed")


def test_a_running_trial_shows_its_epochs_and_then_its_result(signed_in, ledger, client):
    study_id = submitted(client)
    running = begin(ledger, study_id, 0)
    page = with_clock(signed_in(f"/studies/{study_id}/trials/{running.number}"))
    figure = page.locator("#chart-curve")
    figure.scroll_into_view_if_needed()
    expect(figure).to_have_attribute("data-drawn", "empty")
    page.evaluate("window.stayed = true")
    rows = [{"epoch": e, "step": 10 * e, "value": 1 / e, "metrics": {}, "layers": {}} for e in (1, 2)]
    with ledger.transaction() as connection:
        renew_lease(connection, running.trial_id, running.attempt, LEASE, rows)
    page.clock.fast_forward(LATER)
    expect(figure).to_have_attribute("data-drawn", "yes")
    expect(page.locator("#live")).to_have_text("live")
    finish(ledger, running, invented(running))
    page.clock.fast_forward(2000)
    expect(page.locator("main .state").first).to_have_text("finished")
    assert page.evaluate("window.stayed")


@pytest.mark.parametrize("path", ["/studies", "/queue"])
def test_lists_look_again(signed_in, ledger, client, path):
    page = with_clock(signed_in(path))
    study_id = submitted(client, name=f"appears in {path}")
    plan(ledger, study_id)
    expect(page.get_by_role("link", name=f"appears in {path}")).to_have_count(0)
    page.clock.fast_forward(LATER)
    expect(page.get_by_role("link", name=f"appears in {path}")).to_have_count(1)


def test_news_leave_what_a_reader_types_opens_and_scrolls(signed_in, ledger, client):
    study_id = submitted(client)
    running = begin(ledger, study_id, 3)
    page = signed_in(f"/studies/{study_id}", viewport={"width": 390, "height": 844})
    trials = page.locator("#trials")
    trials.scroll_into_view_if_needed()
    expect(page.locator("#live")).to_have_text("live")
    trials.locator("summary", has_text="Columns").click()
    trials.get_by_label("seed").check()
    region = trials.get_by_role("region", name="Trials, table")
    region.evaluate("region => region.scrollTo(120, 0)")
    typed = trials.get_by_label("Filter")
    typed.fill("arm=ad")
    finish(ledger, running, invented(running))
    expect(trials.get_by_role("row").nth(4)).to_contain_text("finished")
    expect(typed).to_have_value("arm=ad")
    expect(typed).to_be_focused()
    page.keyboard.type("amp")
    expect(typed).to_have_value("arm=adamp")
    expect(trials.get_by_label("seed")).to_be_checked()
    assert region.evaluate("region => region.scrollLeft") == 120
