"""`python -m tests.browser.pictures LINK [STUDY]`: README's two pictures and the newcomer's walk, in a running service.

LINK is what `make demo OPEN=1` or `tangent open` prints, not used yet; STUDY the name of a finished study of the
ledger, demo-digits-cnn if not given. Writes docs/dashboard/overview.png, what decides, docs/dashboard/invariance.png,
why, and docs/dashboard/walk.json with its part of docs/dashboard.md.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.bench.overhead import cpu_model
from tests.browser.conftest import FLAGS, chromium_path
from tests.browser.shots import see_all
from tests.browser.walk import DOCS, write

FOLDER = DOCS / "dashboard"
OVERVIEW, INVARIANCE = {"width": 1280, "height": 710}, {"width": 1280, "height": 610}


def main() -> None:
    """Walk, then take both pictures."""
    link, study = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "demo-digits-cnn"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        page, told = _walk(browser, link, study)
        write(told)
        page.set_viewport_size(OVERVIEW)
        see_all(page)
        page.screenshot(path=FOLDER / "overview.png")
        page.set_viewport_size(INVARIANCE)
        page.locator("#invariance").evaluate("part => part.scrollIntoView()")
        page.wait_for_timeout(500)  # charts move into place
        page.screenshot(path=FOLDER / "invariance.png")
        browser.close()


def _walk(browser: Browser, link: str, study: str) -> tuple[Page, dict[str, Any]]:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
    name, answer = page.get_by_role("link", name=study, exact=True), page.locator("#overview .pair").first
    list_s = _until(lambda: page.goto(link), lambda: expect(name).to_be_visible())
    overview_s = _until(name.click, lambda: expect(answer).to_be_visible())
    expect(answer).to_be_in_viewport(ratio=1)
    facts = dict(zip(answer.locator("dt").all_inner_texts(), answer.locator("dd").all_inner_texts(), strict=True))
    headline = " ".join(answer.locator(".answer").inner_text().split())
    return page, {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_model(),
        "n_cores": os.cpu_count(),
        "browser": f"Chromium {browser.version}",
        "list_s": round(list_s, 2),
        "overview_s": round(overview_s, 2),
        "headline": headline,
        **{key.lower().replace(" ", "_"): value for key, value in facts.items()},
        "n_words": len(f"{headline} {' '.join(f'{key} {value}' for key, value in facts.items())}".split()),
    }


def _until(act: Callable[[], object], has_come: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    has_come()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
