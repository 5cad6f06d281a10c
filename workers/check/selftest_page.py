"""docs/check.md, from what the self-test found: `python -m workers.check.selftest_page [--noops N] [--only-page]`.

The run's data lies in docs/check.json; the page says nothing that is not in it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch

from workers.check.selftest import ROOT, self_test
from workers.check.selftest_noops import noop_runs

DATA, PAGE = (ROOT / "docs" / f"check.{kind}" for kind in ("json", "md"))

_BLIND = """- **What no case holds**: GPUs, several processes, sparse or complex tensors beyond their refusal, compiled
  steps, and tensors of more than 34,000 elements in the numerics layer.
- **A fault that is rarer than its seeds**: cases are drawn; a bug in one of a million gradients is met by luck. Another
  `--seed` draws others.
- **Decisions at their threshold**: cases within 1e-3 of it are left out, for there two right programs may differ.
- **Arguments that the configuration does not name**: `dimensions`, `extras` and `variants` say what is tried.
- **What is no result of a step**: messages of refusals, diagnostics, `repr`, documentation. That a step refuses is
  seen, its words are not.
- **A bug that the baseline has too**: the baseline is the golden, unless a `reference` is named.
- **Losses of speed below the limit**, 10 % by default: those of many changes add up, which only a nightly comparison
  with the last release shows."""


def main(words: Sequence[str]) -> int:
    """Run the self-test, write its data and the page; 1 where a plant was judged wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noops", type=int, default=150, help="runs of refactors")
    parser.add_argument("--only-page", action="store_true", help="write the page from the data that is there")
    given = parser.parse_args(words)
    if not given.only_page:
        document = run(given.noops)
        DATA.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    document = json.loads(DATA.read_text(encoding="utf-8"))
    PAGE.write_text(render(document), encoding="utf-8")
    return int(not all(plant["is_right"] for plant in document["plants"]) or any_alarm(document))


def run(n_noops: int) -> dict[str, Any]:
    """Every plant through the command, then the refactors with many seeds."""

    def tell(text: str) -> None:
        sys.stderr.write(f"  {text}\n")

    plants = [asdict(outcome) for outcome in self_test(None, [0], tell)]
    noops = [asdict(noop) for noop in noop_runs(n_noops, tell)] if n_noops else []
    return make_document(plants, noops)


def make_document(plants: list[dict[str, Any]], noops: list[dict[str, Any]]) -> dict[str, Any]:
    """What docs/check.json holds."""
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    plants = [{**plant, "n_script_lines": len(plant["script"].splitlines())} for plant in plants]
    for plant in plants:
        del plant["script"]  # each is short, all together are long
    return {"date": datetime.now(UTC).date().isoformat(), "versions": versions, "plants": plants, "noops": noops}


def any_alarm(document: Mapping[str, Any]) -> bool:
    """Whether a refactor alarmed."""
    return any(noop["has_alarmed"] for noop in document["noops"])


def render(document: Mapping[str, Any]) -> str:
    """The page's text."""
    plants = document["plants"]
    bugs = [plant for plant in plants if plant["expected"]]
    parts = [
        _head(document, bugs),
        "## Planted bugs",
        *(f"### {title}\n\n{_table(chosen)}" for title, chosen in _sections(bugs) if chosen),
        f"## Refactors\n\n{_refactors(document)}",
        f"## What the check cannot see\n\n{_BLIND}",
    ]
    return "\n\n".join(parts) + "\n"


def _head(document: Mapping[str, Any], bugs: Sequence[Mapping[str, Any]]) -> str:
    n_right = sum(bug["is_right"] for bug in bugs)
    n_scripts = sum(bug["n_script_lines"] > 0 for bug in bugs if bug["expected"] == "numerics")
    n_numeric = sum(bug["expected"] == "numerics" for bug in bugs)
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    return f"""# What `tangent check` catches

Generated from `docs/check.json` by `python -m workers.check.selftest_page`; do not edit.
{document["date"]}: {versions}.

`tangent check --self-test` plants bugs into a copy of adamp's sources, in plain torch and in C, and runs the same
command on each: the working tree with the bug against the commit before it. {n_right} of {len(bugs)} bugs tripped the
layer named for them beforehand. {n_scripts} of the {n_numeric} that numerics caught came with a failing program of at
most 15 lines."""


def _sections(bugs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    numeric = [bug for bug in bugs if bug["expected"] == "numerics"]
    return [
        ("Numerics, plain torch", [bug for bug in numeric if bug["path"] == "plain"]),
        ("Numerics, the native step in C", [bug for bug in numeric if bug["path"] == "native"]),
        ("Speed and memory", [bug for bug in bugs if bug["expected"] == "speed"]),
        ("Training", [bug for bug in bugs if bug["expected"] == "training"]),
    ]


def _table(bugs: Sequence[Mapping[str, Any]]) -> str:
    rows = ["| bug | caught by | in its own words |", "|---|---|---|"]
    for bug in bugs:
        caught = ", ".join(bug["findings"]) if bug["is_right"] else f"**{bug['layer'] or 'nothing'}**"
        rows.append(f"| {bug['name']} | {caught} | {bug['explanation'] or bug['sentence']} |")
    return "\n".join(rows)


def _refactors(document: Mapping[str, Any]) -> str:
    once = [plant for plant in document["plants"] if not plant["expected"]]
    noops = document["noops"]
    n_alarms = sum(noop["has_alarmed"] for noop in noops)
    n_wrong = sum(not plant["is_right"] for plant in once)
    told = [
        f"Changes of nothing but roundings, through the command: {n_wrong} alarms in {len(once)} runs. The "
        f"numerics layer by itself, each run with cases of its own: {n_alarms} alarms in "
        f"{len(noops)} runs"
        + (f" (with 95 % confidence fewer than {100 * 3 / len(noops):.1f} %)." if noops and not n_alarms else ".")
    ]
    rows = [
        "| refactor | runs | alarms | 64-bit error over its limit, median and largest | 32-bit |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(noop["name"] for noop in noops):
        own = [noop for noop in noops if noop["name"] == name]
        alarms = sum(noop["has_alarmed"] for noop in own)
        rows.append(f"| {name} | {len(own)} | {alarms} | {_shares(own, 'float64')} | {_shares(own, 'float32')} |")
    return "\n\n".join([*told, "\n".join(rows)] if noops else told)


def _shares(noops: Sequence[Mapping[str, Any]], dtype: str) -> str:
    largest = [max(share for name, share in noop["share"].items() if name.startswith(dtype)) for noop in noops]
    return f"{statistics.median(largest):.2g}, {max(largest):.2g}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
