"""A newcomer's walk: from the address that the terminal prints to "which optimizer, how sure", in two clicks."""

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.scenes import finished

SIZES = [(1440, 900), (390, 844)]


@pytest.fixture(scope="module")
def study(module_ledger) -> int:
    return finished(module_ledger[1], "digits-cnn-adamp")


def is_in_window(found: Locator) -> bool:
    inside = """e => { const r = e.getBoundingClientRect();
        return r.top >= 0 && r.left >= 0 && r.bottom <= innerHeight && r.right <= innerWidth; }"""
    return bool(found.evaluate(inside))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_two_clicks_and_no_scrolling_lead_to_which_optimizer_and_how_sure(signed_in, study, width, height):
    page = signed_in("/studies", viewport={"width": width, "height": height})
    line = page.get_by_role("row").filter(has_text="digits-cnn-adamp")
    assert is_in_window(line.get_by_text("adamp against adamw: "))
    line.get_by_role("link", name="digits-cnn-adamp").click()
    card = page.get_by_role("article").first
    for name in ("By how much", "How sure"):
        expect(card.get_by_text(name)).to_be_visible()
        assert is_in_window(card.get_by_text(name)), name
    assert is_in_window(card.locator(".answer"))
    assert card.locator(".answer").inner_text().startswith(("Take sgdp:", "Either will do:", "Not decided:"))
    assert "replicates" in card.inner_text()


def test_on_a_narrow_screen_a_study_is_a_card_that_is_still_a_row_of_the_table(signed_in, study):
    page = signed_in("/studies", viewport={"width": 390, "height": 844})
    line = page.get_by_role("table").get_by_role("row").filter(has_text="digits-cnn-adamp")
    box = line.bounding_box()
    assert box["x"] + box["width"] <= 390
    assert box["height"] < 420
    assert line.get_by_role("cell").count() == 6
    assert line.get_by_role("rowheader").count() == 1
