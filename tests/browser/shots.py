"""`python -m tests.browser.shots FOLDER [PATH ...]`: pictures of pages, light and dark, wide and narrow, to look at.

Starts PostgreSQL and the API in a temporary folder, fills two studies of 200 trials an arm, signs
in by a link, and writes one PNG for each page, theme and width. Prints what a page did that it must not do.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from service.engines import PostgresServer, remove_engines
from service.reports import store_report
from service.store.database import Database
from service.store.migrate import upgrade
from tests.browser.conftest import FLAGS, Watched, chromium_path
from tests.browser.filling import fill
from tests.integration.api.support import ApiProcess

PATHS = (
    "/login",
    "/studies",
    "/studies/1",
    "/studies/new",
    "/studies/1/trials/0",
    "/compare?ids=1,2",
    "/queue",
    "/checks",
)
WIDTHS = (1440, 390)
NOT_THERE_YET = "figure[data-chart]:not([data-drawn]), [aria-busy=true], [data-part]:empty"


def main() -> None:
    """Take the pictures."""
    folder, paths = Path(sys.argv[1]), sys.argv[2:] or PATHS
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o711)
        home = Path(temporary) / "home"
        server = PostgresServer(home, log=home / "postgres.log", extra_settings={"fsync": "off"})
        try:
            url = server.start().url()
            upgrade(url)
            _fill(url)
            api = ApiProcess(url)
            try:
                _shoot(api, folder, paths)
            finally:
                api.stop()
        finally:
            server.stop()
            remove_engines(home)


def _fill(url: str) -> None:
    database = Database(url, application_name="tangent-shots")
    for n, name in ((200, "digits-cnn-adamp"), (200, "digits-cnn-again")):
        with database.transaction() as connection:
            study_id = fill(connection, n, name=name, seed=n)
        store_report(database, study_id)
    database.close()


def _shoot(api: ApiProcess, folder: Path, paths: list[str] | tuple[str, ...]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        for theme in ("light", "dark"):
            for width in WIDTHS:
                context = browser.new_context(
                    base_url=api.address, viewport={"width": width, "height": 900}, color_scheme=theme
                )
                page = context.new_page()
                watched = Watched(page, api.address)
                with api.client() as client:
                    page.goto(client.login_link("/studies"))
                for path in paths:
                    page.goto(path)
                    page.wait_for_load_state("networkidle")
                    see_all(page)
                    name = path.strip("/").replace("/", "-").replace("?", "-") or "start"
                    page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=True)
                for problem in watched.problems:
                    print(theme, width, problem)  # noqa: T201
                context.close()
        browser.close()


def see_all(page: Page) -> None:
    """Bring each part and chart into view until all have come, then go back to the page's head."""
    missing = page.locator(NOT_THERE_YET)
    for _ in range(400):
        if not missing.count():
            break
        page.evaluate("selector => document.querySelector(selector)?.scrollIntoView()", NOT_THERE_YET)
        page.wait_for_timeout(100)
    expect(missing).to_have_count(0)
    if page.locator("figure[data-chart]").count():
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(400)  # charts move into place


if __name__ == "__main__":
    main()
