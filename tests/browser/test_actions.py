"""What people do on the pages: done in the ledger, shown without a reload, asked first where something is lost."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from service import control, studies
from service.store.studies import get_study
from tests.browser.scenes import begin, complete, failure, noisy, submitted
from tests.integration.api.support import SMALL, WORKER, invented, plan, run

pytestmark = pytest.mark.usefixtures("nothing_left")
FRAGILE = {"arms": SMALL["arms"][:1], "compare": [], "replicates": 1, "limits": {"failures": 0}}


@pytest.fixture
def open_page(signed_in) -> Iterator:
    """Open a page, which must still be the same one at the end of the test."""
    pages = []

    def go(path: str, **options) -> Page:
        pages.append(signed_in(path, **options))
        pages[-1].evaluate("window.stayed = true")
        return pages[-1]

    yield go
    assert all(page.evaluate("window.stayed") for page in pages)


def state_of(ledger, study_id) -> str:
    with ledger.transaction() as connection:
        row = get_study(connection, study_id)
    assert row is not None
    return str(row.state)


def trial_of(client, study_id, number):
    return client.trial(study_id, number)


def press(page: Page, name: str) -> None:
    page.locator("main").get_by_role("button", name=name, exact=True).click()


def answer(page: Page, question: str, name: str) -> None:
    """Press a button of the dialog that asks `question`."""
    dialog = page.get_by_role("dialog", name=question)
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name=name, exact=True).click()
    expect(dialog).to_be_hidden()


def state(page: Page):
    return page.locator("main .state").first


def test_pause_and_resume(open_page, ledger, client):
    study_id = submitted(client)
    begin(ledger, study_id, 2)
    page = open_page(f"/studies/{study_id}")
    expect(page.locator("#live")).to_have_text("live")
    press(page, "Pause")
    expect(state(page)).to_have_text("paused")
    expect(page.locator("#toast")).to_contain_text("running trials end, no new one starts")
    assert state_of(ledger, study_id) == "PAUSED"
    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    press(page, "Resume")
    expect(state(page)).to_have_text("running")
    assert state_of(ledger, study_id) == "RUNNING"


def test_cancel_asks_first_and_shows_what_is_left(open_page, ledger, client):
    study_id = submitted(client)
    begin(ledger, study_id, 2)
    page = open_page(f"/studies/{study_id}")
    press(page, "Cancel")
    answer(page, "Cancel this study?", "Keep it")
    assert state_of(ledger, study_id) == "RUNNING"
    press(page, "Cancel")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert state_of(ledger, study_id) == "RUNNING"
    press(page, "Cancel")
    answer(page, "Cancel this study?", "Cancel the study")
    expect(state(page)).to_have_text("cancelled")
    assert state_of(ledger, study_id) == "CANCELLED"
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def test_failed_trials_wait_again_and_their_study_is_followed_again(open_page, ledger, client):
    study_id = submitted(client, **FRAGILE)
    run(ledger, study_id, result=lambda _: failure(), most=1)
    plan(ledger, study_id)
    assert state_of(ledger, study_id) == "FAILED"
    page = open_page(f"/studies/{study_id}")
    expect(page.locator("main")).to_contain_text("workload error: the disk is full")
    press(page, "Retry failed trials")
    expect(state(page)).to_have_text("running")
    expect(page.locator("main")).not_to_contain_text("the disk is full")
    expect(page.locator("#live")).to_have_text("live")
    assert trial_of(client, study_id, 0)["state"] == "WAITING"


def test_one_failed_trial_waits_again(open_page, ledger, client):
    study_id = submitted(client, **{**FRAGILE, "limits": {}})
    run(ledger, study_id, result=lambda claimed: invented(claimed) if claimed.phase == "search" else failure(), most=4)
    page = open_page(f"/studies/{study_id}/trials/3")
    expect(page.locator("main")).to_contain_text("OSError: the disk is full")
    press(page, "Retry")
    expect(state(page)).to_have_text("waiting")
    expect(page.locator("#toast")).to_have_text("Trial 3 waits again")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    assert trial_of(client, study_id, 3)["state"] == "WAITING"


def test_a_trial_that_another_has_replaced_says_so_instead(open_page, ledger, client):
    study_id = submitted(client)
    failed = begin(ledger, study_id, 1, failure()).number - 1
    page = open_page(f"/studies/{study_id}/trials/{failed}")
    expect(page.locator("main")).to_contain_text("No retry: trial 1 cannot run again")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)


def test_a_running_trial_is_requeued(open_page, ledger, client):
    study_id = submitted(client)
    busy = begin(ledger, study_id, 0).number
    page = open_page(f"/studies/{study_id}/trials/{busy}")
    press(page, "Requeue")
    answer(page, f"Requeue trial {busy}?", "Keep it")
    assert trial_of(client, study_id, busy)["state"] == "RUNNING"
    press(page, "Requeue")
    answer(page, f"Requeue trial {busy}?", "Requeue")
    expect(state(page)).to_have_text("waiting")
    attempts = trial_of(client, study_id, busy)["attempts"]
    assert [attempt["reason"] for attempt in attempts] == ["requeued by a user"]
    expect(page.locator("main")).to_contain_text("requeued by a user")


def test_more_replicates_are_what_an_undecided_verdict_asks_for(open_page, ledger, client):
    study_id = complete(ledger, submitted(client), noisy)
    page = open_page(f"/studies/{study_id}")
    button = page.get_by_role("button", name=re.compile(r"Run \d+ more replicates"))
    n = int(re.findall(r"\d+", button.inner_text())[0])
    button.click()
    answer(page, f"Run {n} more replicates?", "Keep it")
    button.click()
    answer(page, f"Run {n} more replicates?", "Run them")
    expect(page.locator("main")).to_contain_text(f"{n} replicates were added on")
    expect(state(page)).to_have_text("running")
    expect(page.locator("#live")).to_have_text("live")
    shown = client.show(study_id)
    assert (shown["registered_replicates"], shown["spec"]["replicates"]) == (3, 3 + n)


def test_a_clone_starts_from_the_study_and_says_so(signed_in, ledger, client):
    study_id = submitted(client, name="first")
    page = signed_in(f"/studies/{study_id}")
    page.get_by_role("link", name="Clone to a new study").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New study from first")
    expect(page.get_by_label("Name").first).to_have_value("first-again")
    page.get_by_label("R, replicates").fill("4")
    expect(page.locator("#cost")).to_contain_text("4 replicates × (3 search + 4 select + 2 confirm) = 72 trainings")
    press(page, "Submit the study")
    expect(page.get_by_role("heading", level=1)).to_have_text("first-again")
    expect(page.locator("main")).to_contain_text(f"from study {study_id}")
    cloned = client.show(int(page.url.rsplit("/", 1)[1]))
    assert (cloned["spec"]["replicates"], cloned["spec"]["arms"]) == (4, client.show(study_id)["spec"]["arms"])


def test_what_has_changed_meanwhile_is_said_and_shown(open_page, ledger, client):
    study_id = submitted(client)
    page = open_page(f"/studies/{study_id}", allowed="409 (Conflict)")
    page.route("**/events?*", lambda route: route.abort())
    with ledger.transaction() as connection:
        studies.cancel(connection, study_id)
    press(page, "Pause")
    expect(page.locator("#toast")).to_have_text(f"study {study_id} has ended: it is CANCELLED")
    expect(state(page)).to_have_text("cancelled")


def test_the_queue_pauses_requeues_and_drains(open_page, ledger, client):
    study_id = submitted(client, name="in-the-queue")
    busy = begin(ledger, study_id, 1).number
    page = open_page("/queue")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="in-the-queue"))
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("paused")
    assert state_of(ledger, study_id) == "PAUSED"
    expect(row.get_by_role("button", name="Resume")).to_be_focused()
    row.get_by_role("button", name="Resume").click()
    expect(row).to_contain_text("running")
    run = page.get_by_role("listitem").filter(has_text=f"study {study_id}, trial {busy}")
    run.get_by_role("button", name="Requeue").click()
    answer(page, f"Requeue trial {busy}?", "Requeue")
    expect(run).to_have_count(0)
    assert trial_of(client, study_id, busy)["state"] == "WAITING"
    press(page, "Drain")
    answer(page, "Drain this worker?", "Keep it")
    press(page, "Drain")
    answer(page, "Drain this worker?", "Drain")
    worker = page.get_by_role("row").filter(has=page.get_by_role("button", name="Take trials again"))
    expect(worker).to_contain_text("draining")
    assert [w["state"] for w in client.workers() if w["id"] == str(WORKER)] == ["draining"]
    press(page, "Take trials again")
    expect(page.get_by_role("button", name="Drain", exact=True)).to_be_focused()
    assert [w["state"] for w in client.workers() if w["id"] == str(WORKER)] == ["online"]
    row.get_by_role("button", name="Cancel").click()
    answer(page, "Cancel in-the-queue?", "Cancel the study")
    expect(row).to_have_count(0)
    assert state_of(ledger, study_id) == "CANCELLED"


def test_delete_wants_the_name_typed(signed_in, ledger, client):
    study_id = submitted(client, name="to be deleted")
    with ledger.transaction() as connection:
        control.cancel(connection, study_id)
    page = signed_in(f"/studies/{study_id}")
    press(page, "Delete")
    dialog = page.get_by_role("dialog", name="Delete this study and all its trials?")
    yes = dialog.get_by_role("button", name="Delete")
    expect(yes).to_be_disabled()
    dialog.get_by_label("Type to be deleted to confirm").fill("to be deletet")
    expect(yes).to_be_disabled()
    dialog.get_by_label("Type to be deleted to confirm").fill("to be deleted")
    yes.click()
    page.wait_for_url("/studies")
    expect(page.get_by_role("link", name="to be deleted")).to_have_count(0)
    with ledger.transaction() as connection:
        assert get_study(connection, study_id) is None


def test_signing_out_ends_the_session(signed_in):
    page = signed_in("/queue", allowed="403 (Forbidden)")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("/login")
    page.goto("/queue")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_label("Token").fill("not the token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not this server's token")
