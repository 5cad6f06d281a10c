"""Every page in real Chromium, light and dark, wide and narrow: whole, quiet, within its width, accessible."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.browser.conftest import Watched
from tests.browser.scenes import Scene, everything
from tests.browser.shots import see_all

SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
AXE = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"], rules: {"target-size": {enabled: true}}});
  return found.violations.flatMap(({id, nodes}) => nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`));
}"""
PAGES = {
    "/studies": "Studies",
    "/studies?q=nothing-has-this-name": "Studies",
    "/studies/new": "New study",
    "/studies/new?from={finished}": "New study from digits-cnn-adamp",
    "/studies/{finished}": "digits-cnn-adamp",
    "/studies/{running}": "still-running",
    "/studies/{finished}/trials/7": "Trial 7",
    "/studies/{running}/trials/{failed}": "Trial {failed}",
    "/studies/{running}/trials/{busy}": "Trial {busy}",
    "/compare": "Compare",
    "/compare?ids={finished},{again}": "Compare",
    "/queue": "Queue",
    "/checks": "Checks",
    "/checks/{check}": "adamp",
}
"""Addresses and their headings."""


@pytest.fixture(scope="module")
def scene(module_ledger, server) -> Scene:
    with server.client() as client:
        return everything(module_ledger[1], client)


def judge(page: Page) -> None:
    """Fails where the page is wider than the window, or axe finds something."""
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = "\n".join(page.evaluate(AXE))
    assert not found, found


def unfold(page: Page) -> None:
    """Open what is closed at first, and the table of the first chart."""
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    tables = page.get_by_role("button", name="Table", exact=True)
    if tables.count():
        tables.first.click()


def look(open_page: Callable[..., Page], path: str, heading: str, **options: Any) -> None:
    """Open the page in both themes, each at both widths."""
    for theme, first, second in (("light", "wide", "narrow"), ("dark", "narrow", "wide")):
        page = open_page(path, color_scheme=theme, viewport=SIZES[first], **options)
        assert page.get_by_role("heading", level=1).inner_text() == heading
        assert page.locator("main").count() == page.locator("h1").count() == 1
        see_all(page)
        unfold(page)
        judge(page)
        page.set_viewport_size(SIZES[second])
        page.wait_for_timeout(200)  # charts follow the width
        judge(page)


def filled_in(words: str, scene: Scene) -> str:
    return words.format(**{**vars(scene), "finished": scene.finished[0], "again": scene.finished[1]})


@pytest.mark.parametrize("path", PAGES)
def test_page_is_whole_quiet_within_its_width_and_accessible(signed_in, scene, path):
    look(signed_in, filled_in(path, scene), filled_in(PAGES[path], scene))


def test_what_must_not_happen_is_noticed(browser, server, session):
    """The other tests here would be green if nobody heard a violation."""
    with browser.new_context(base_url=server.address, storage_state=session) as context:
        page = context.new_page()
        watched = Watched(page, server.address)
        page.goto("/queue")
        judge(page)
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'x = 1'}))")
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')")
        page.evaluate("fetch('https://elsewhere.example/').catch(() => {})")
        page.evaluate("setTimeout(() => { throw new Error('by the test'); })")
        page.wait_for_timeout(200)
        heard = "\n".join(watched.problems)
        for words in ("script-src 'self'", "style-src 'self'", "connect-src 'self'", "by the test"):
            assert words in heard
        assert page.evaluate("'x' in window") is False
        page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"/favicon.ico\">')")
        with pytest.raises(AssertionError, match="image-alt"):
            judge(page)
        page.evaluate("document.querySelector('main').style.width = '2000px'")
        with pytest.raises(AssertionError, match="scrollWidth"):
            judge(page)


def test_page_that_is_not_there_is_one_too(signed_in, scene):
    look(signed_in, "/studies/99", "There is no such page", allowed="404 (Not Found)")


def test_signing_in_is_one_too(browser, server):
    def open_page(path, **options):
        page = browser.new_context(base_url=server.address, **options).new_page()
        watched.append(Watched(page, server.address))
        page.goto(path)
        return page

    watched: list[Watched] = []
    look(open_page, "/login", "Sign in")
    for entry in watched:
        entry.page.context.close()
        assert entry.problems == []
