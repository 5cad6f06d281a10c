"""Both sides of the comparison: each dashboard's server over the same trials, and a browser of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright
from sqlalchemy import text

from service.domain.trial import StudyId
from service.reports import store_report
from service.store.database import Database
from tests.bench._dashboard_views import Side
from tests.bench._engines import Engines
from tests.bench._optuna_side import OptunaDashboard, optuna_dashboard, trials_by_arm, write_sqlite
from tests.browser.conftest import FLAGS, chromium_path
from tests.browser.filling import fill
from tests.browser.measuring import Visit, resident_bytes, visit
from tests.integration.api.support import ApiProcess

CAP_S = 240.0
"""For so long a page is waited for."""


class Chromium:
    """One browser of a side; started anew where a page was left in the middle of its work."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._browser = self._launch()

    def _launch(self) -> Browser:
        return self._playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))

    @property
    def version(self) -> str:
        return self._browser.version

    def context(self) -> BrowserContext:
        """Nothing cached, nobody signed in."""
        return self._browser.new_context(viewport={"width": 1440, "height": 900})

    def restart(self) -> None:
        self._browser.close()
        self._browser = self._launch()


class OurSide:
    """Our dashboard over one filled ledger."""

    def __init__(self, url: str, study_id: StudyId, playwright: Playwright) -> None:
        self._api, self._study_id, self._chromium = ApiProcess(url), study_id, Chromium(playwright)

    def open(self, side: Side, *, is_warm: bool) -> list[Visit | None]:
        """A cold visit and, where `is_warm`, a second one with what the first left in the cache."""
        with self._chromium.context() as context, self._api.client() as client:
            context.request.get(client.login_link("/studies/new"))
            address = self._api.address + side.path.format(study=self._study_id)
            return [visit(context, address, side.is_ready, cap_s=CAP_S) for _ in range(1 + is_warm)]

    @property
    def server_bytes(self) -> int:
        return resident_bytes(self._api.process.pid)

    def stop(self) -> None:
        self._api.stop()


class OptunaSide:
    """optuna-dashboard over the same trials."""

    def __init__(self, server: OptunaDashboard, playwright: Playwright) -> None:
        self._server, self._chromium = server, Chromium(playwright)

    def open(self, side: Side, *, is_warm: bool) -> list[Visit | None]:
        context = self._chromium.context()
        found = [visit(context, self._server.address + side.path, side.is_ready, cap_s=CAP_S)]
        if found[0] is None:
            self._chromium.restart()
            return found
        if is_warm:
            found.append(visit(context, self._server.address + side.path, side.is_ready, cap_s=CAP_S))
        context.close()
        return found

    @property
    def server_bytes(self) -> int:
        return resident_bytes(self._server.pid)


@contextmanager
def both_sides(started: Engines, n_per_arm: int) -> Iterator[tuple[OurSide, OptunaSide]]:
    """Both servers over the same trials, each with a browser of its own."""
    url = started.database(f"filled_{n_per_arm}", is_ledger=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optuna.db"
        database = Database(url, application_name="tangent-bench")
        study_id = filled(database, n_per_arm)
        store_report(database, study_id)
        write_sqlite(trials_by_arm(database, study_id), path)
        database.close()
        with optuna_dashboard(path, Path(folder) / "log") as server, sync_playwright() as first:
            ours = OurSide(url, study_id, first)
            try:
                yield ours, OptunaSide(server, first)
            finally:
                ours.stop()


def filled(database: Database, n_per_arm: int) -> StudyId:
    """The study, with Postgres's statistics up to date."""
    with database.transaction() as connection:
        study_id = fill(connection, n_per_arm)
    with database.session() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    return study_id
