"""docs/check-mutation.md, generated from docs/check-mutation.json."""

import json
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any

from tests.mutation.check_reasons import ELSEWHERE

_DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA = _DOCS / "check-mutation.json"
PAGE = _DOCS / "check-mutation.md"


def render(document: dict[str, Any]) -> str:
    """The page's text."""
    survivors = document["survivors"]
    alive = [entry for entry in survivors if not entry["is_equivalent"]]
    equivalent = [entry for entry in survivors if entry["is_equivalent"]]
    parts = [
        _head(document),
        _table(document),
        f"## Not caught\n\n{_list(alive)}",
        f"## Equivalent: nothing can tell them apart\n\n{_list(equivalent)}",
    ]
    return "\n\n".join(parts) + "\n"


def share_caught(document: dict[str, Any], leave_out: Container[str] = ()) -> float:
    """Of the mutants that change behaviour, but for survivors of the reasons `leave_out`."""
    n_caught = sum(document["n_mutants"].values()) - len(document["survivors"])
    alive = [entry for entry in document["survivors"] if not entry["is_equivalent"]]
    return n_caught / (n_caught + sum(entry["reason"] not in leave_out for entry in alive))


def _head(document: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    not_run = ", ".join(f"{n} of {file}.py" for file, n in document["not_run"].items())
    n_run, n_not = sum(document["n_mutants"].values()), sum(document["not_run"].values())
    left = (
        f"\nMade and not run, because processors were scarce: {not_run}. What ran of these modules was drawn at random."
    )
    share, share_here = (100 * share_caught(document, reasons) for reasons in ((), ELSEWHERE))
    return f"""# Mutants of adamp that the check's numerics catch alone

Generated from `docs/check-mutation.json` by `python -m tests.mutation.check_alone`; do not edit. {document["date"]}:
{document["machine"]}, {versions}, code {document["code"]}.

mutmut's mutants of adamp, none of adamp's tests, and layer 1 of `tangent check` on each, its interface included. Of
{n_run:,} that ran, {share:.1f} % of those that are not equivalent were caught, and {share_here:.1f} % without the
survivors that show on a GPU only, over several ranks, without the native step, in SGDW, or in a function that no step
runs.{left if n_not else ""}

A mutant that raises, crashes or hangs at what the baseline does is caught, and so is one whose refusals say other
words. `eager.py` ran with `fused=False`, `functional.py` and `projection.py` with `capturable=True` besides, which
makes a CPU run them. Code that only SGDP runs was checked as SGDP, what both share as both, all other as AdamP; what no
checked optimizer runs on a CPU was left out: SGDW, and SGDP in `functional.py`. Survivors were judged by the rules in
`tests/mutation/reasons.py` and `check_reasons.py`, by reading and without proof."""


def _table(document: dict[str, Any]) -> str:
    rows = ["| file | mutants | caught | equivalent | not caught |", "|---|---|---|---|---|"]
    of_file = [(entry["function"].split(".")[1], entry["is_equivalent"]) for entry in document["survivors"]]
    counts = Counter(of_file)
    for file, n in ((file, n) for file, n in document["n_mutants"].items() if n):
        equivalent, alive = counts[file, True], counts[file, False]
        rows.append(f"| {file}.py | {n} | {n - equivalent - alive} | {equivalent} | {alive} |")
    return "\n".join(rows)


def _list(survivors: list[dict[str, Any]]) -> str:
    if not survivors:
        return "None."
    by_reason: dict[str, list[str]] = {}
    for survivor in survivors:
        lines = [f"  `{line}`" for line in survivor["change"]]
        by_reason.setdefault(survivor["reason"], []).append(f"- {survivor['function']}\n" + "\n".join(lines))
    return "\n\n".join(f"**{reason}**\n\n" + "\n".join(entries) for reason, entries in by_reason.items())


if __name__ == "__main__":
    PAGE.write_text(render(json.loads(DATA.read_text())))
