"""Real Chromium on real pages: one browser and one API process for a module, signed in by a link."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, StorageState, sync_playwright

from service import control
from service.client import Client
from service.store.database import Database
from tests.integration.api.support import ApiProcess, register
from tests.integration.conftest import engines_home, fresh_database, postgres, redis  # noqa: F401

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str:
    """TANGENT_CHROMIUM, else Chromium from the PATH; a missing one is a failure, not a skip."""
    path = os.environ.get("TANGENT_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert path, "browser tests need Chromium: install it (Debian: apt-get install chromium), or set TANGENT_CHROMIUM"
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with its module: Playwright's event loop runs meanwhile, and other tests start loops of their own."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def module_ledger(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[tuple[str, Database]]:  # noqa: F811
    """A ledger for all tests of a module: (address, database)."""
    with fresh_database() as url:
        database = Database(url, application_name="tangent-tests")
        yield url, database
        database.close()


@pytest.fixture(scope="module")
def server(module_ledger: tuple[str, Database]) -> Iterator[ApiProcess]:
    """The API with the dashboard on that ledger."""
    process = ApiProcess(module_ledger[0])
    yield process
    process.stop()


@pytest.fixture(scope="module")
def client(server: ApiProcess) -> Iterator[Client]:
    """A client of that API."""
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def ledger(module_ledger: tuple[str, Database]) -> Database:
    """The module's database, with a worker that trials can be claimed for."""
    register(module_ledger[1])
    return module_ledger[1]


@pytest.fixture
def nothing_left(ledger: Database, client: Client) -> Iterator[None]:
    """Studies of earlier tests offer no trials to later ones."""
    yield
    for study in client.list_studies():
        if study["state"] in ("RUNNING", "PAUSED"):
            with ledger.transaction() as connection:
                control.cancel(connection, study["id"])


class Watched:
    """A page that notes what must not happen: errors, messages on the console, violations, foreign requests."""

    def __init__(self, page: Page, origin: str, allowed: str = "") -> None:
        self.page, self.problems = page, list[str]()
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", lambda m: self._hear(m, allowed))
        page.on(
            "request", lambda r: None if r.url.startswith((origin, "data:", "blob:")) else self.problems.append(r.url)
        )

    def _hear(self, message: ConsoleMessage, allowed: str) -> None:
        if message.type in ("error", "warning") and not (allowed and allowed in message.text):
            self.problems.append(f"console: {message.text}")


@pytest.fixture(scope="module")
def session(browser: Browser, server: ApiProcess) -> StorageState:
    """The cookie of a browser that has signed in by a link."""
    with browser.new_context(base_url=server.address) as context, server.client() as client:
        context.request.get(client.login_link("/studies/new"))
        return context.storage_state()


@pytest.fixture
def signed_in(browser: Browser, server: ApiProcess, session: StorageState) -> Iterator[Callable[..., Page]]:
    """Open a path, signed in; options are those of a browser context. Fails at the end where a page had a problem.

    Messages on the console that hold the words `allowed` are none.
    """
    contexts, watched = [], []

    def open_page(path: str, *, allowed: str = "", **options: object) -> Page:
        options = {"viewport": {"width": 1440, "height": 900}, "storage_state": session, **options}
        context = browser.new_context(base_url=server.address, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        watched.append(Watched(page, server.address, allowed))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # a route that is still held would keep its page open
        context.close()
    assert [problem for entry in watched for problem in entry.problems] == []
