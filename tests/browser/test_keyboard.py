"""By keyboard alone: no test here touches a mouse, and every stop on the way can be seen."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.scenes import Scene, everything

FOCUS = """() => {
  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + Math.min(box.height / 2, innerHeight / 2));
  const region = at.matches("[role=region]");
  return {
    says: (at.ariaLabel ?? at.labels?.[0]?.textContent ?? at.textContent).trim().replace(/\\s+/g, " "), tag: at.tagName,
    isOutlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    isSeen: at.contains(top) || region || (top?.contains(at) ?? false),
    isLarge: region || at.closest("p, li, dd, td, th, figcaption") !== null
      || Math.min(box.width, box.height) >= 24 || at.matches("[type=checkbox], [type=radio]"),
  };
}"""
MOST_STOPS = 60


@pytest.fixture(scope="module")
def scene(module_ledger, server) -> Scene:
    with server.client() as client:
        return everything(module_ledger[1], client)


def stop(page: Page) -> str:
    """What has the focus; fails where one cannot see it."""
    found = page.evaluate(FOCUS)
    missing = [name for name in ("isOutlined", "isSeen", "isLarge") if not found[name]]
    assert not missing, (missing, found)
    return str(found["says"])


def tab_to(page: Page, wanted: str, key: str = "Tab") -> list[str]:
    """Press Tab until something called `wanted` has the focus; returns the names of the stops."""
    stops = []
    for _ in range(MOST_STOPS):
        page.keyboard.press(key)
        stops.append(stop(page))
        if stops[-1].startswith(wanted):
            return stops
    raise AssertionError(f"no '{wanted}' among {stops}")


def test_from_the_skip_link_to_a_cancelled_study(signed_in, scene):
    page = signed_in("/studies")
    assert tab_to(page, "Skip to the content") == ["Skip to the content"]
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, "New study")
    page.keyboard.press("/")
    expect(page.get_by_label("Search studies")).to_be_focused()
    page.keyboard.type("still")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies?q=still")
    tab_to(page, "still-running")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("still-running")
    tab_to(page, "Cancel")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Cancel this study?")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "Cancel the study")
    page.keyboard.press("Enter")
    expect(page.locator("main .state").first).to_have_text("cancelled", timeout=30_000)
    tab_to(page, "Clone to a new study")


def test_a_chart_its_picker_its_slider_and_its_table(signed_in, scene):
    page = signed_in(f"/studies/{scene.finished[0]}")
    tab_to(page, "Budget")
    page.keyboard.press("Enter")
    expect(page.locator("#chart-expected-best")).to_have_attribute("data-drawn", "yes")
    expect(page.locator("#chart-difference")).to_have_attribute("data-drawn", "yes")
    tab_to(page, "Budget in")
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**by=steps**")
    expect(page.get_by_label("Budget in")).to_be_focused()
    expect(page.locator("#chart-expected-best")).to_have_attribute(
        "data-chart", f"/studies/{scene.finished[0]}/charts/expected-best?by=steps"
    )
    expect(page.locator("#chart-expected-best")).to_have_attribute("data-drawn", "yes")
    expect(page.locator("#chart-difference")).to_have_attribute("data-drawn", "yes")
    tab_to(page, "At a budget of")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#budget-words")).to_contain_text("adamp against adamw")
    tab_to(page, "Table")
    page.keyboard.press("Enter")
    expect(page.locator("#chart-expected-best").get_by_role("table")).to_be_visible()
    assert tab_to(page, "Expected best")[:3] == ["CSV", "SVG", "PNG"]  # and then the table itself, to scroll in it


def test_the_trials_are_sorted_and_filtered_without_losing_the_place(signed_in, scene):
    page = signed_in(f"/studies/{scene.finished[0]}")
    tab_to(page, "Trials")
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="Trials")).to_be_visible()
    tab_to(page, "Filter")
    page.keyboard.type("arm=adamp phase=search")
    page.keyboard.press("Enter")
    expect(page.locator("#filter-help")).to_contain_text("50 trials")
    expect(page.get_by_label("Filter")).to_be_focused()
    tab_to(page, "validation value")
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="validation value")).to_have_attribute("aria-sort", "ascending")
    assert stop(page).startswith("validation value")
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="validation value")).to_have_attribute("aria-sort", "descending")
    assert stop(page).startswith("validation value")


@pytest.mark.parametrize("path", ["/studies/new", "/queue", "/checks", "/compare"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_stop_of_a_page_can_be_seen_and_the_last_one_is_left(signed_in, scene, path, theme):
    page = signed_in(path, color_scheme=theme)
    stops = []
    for _ in range(2 * MOST_STOPS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        stops.append(stop(page))
    else:
        raise AssertionError(f"the focus does not leave the page: {stops}")
    assert {"Skip to the content", "Studies", "Theme", "Sign out"} <= set(stops)
