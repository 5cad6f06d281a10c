"""docs/group-sequential.md from docs/group-sequential.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
DATA, PAGE = DOCS / "group-sequential.json", DOCS / "group-sequential.md"
COMMAND = "python -m tests.sequential.make"


def render(document: dict[str, Any]) -> str:
    """The page."""
    parts = [_HEAD.format(command=COMMAND, sd=document["sd"], margin=100 * document["margin"], n=document["n_studies"])]
    designs: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for entry in document["rows"]:
        designs.setdefault(tuple(entry["looks"]), []).append(entry)
    for looks, rows in designs.items():
        parts.append(f"## Looks after {', '.join(map(str, looks[:-1]))} and {looks[-1]} replicates")
        parts.append(_table(rows))
    return "\n\n".join(parts) + "\n"


_HEAD = """# Replicates that looking saves

Written by `{command}`; edit nothing here. A study file with

```yaml
replicates: 10
sequential: {{first: 3, step: 2}}
```

is looked at after 3, 5, 7, 9 and 10 replicates and stops when the table of verdicts decides every declared pair. Limits
spend the error over the looks (Lan & DeMets 1983; Hwang, Shih & DeCani 1990, gamma -2), with t quantiles; intervals
and p hold over all looks together (Jennison & Turnbull 2000).

Simulated: {n:,} studies for each line, one declared pair, replicates that vary by {sd:g} on the log of the endpoint (as
on scikit-learn's digits), margin {margin:g} %. *Better* is any kind of better; *fixed* is the design that runs all
replicates and looks once. *Covered* is the share of studies whose 95 % interval at the end holds the true change, *at
all looks* the share in which every look's does. The t quantiles are exact at the first look and an approximation after
it: over many looks that begin at 3 replicates the intervals together cover up to a point less than 95 %."""


def _table(rows: list[dict[str, Any]]) -> str:
    header = (
        "true change", "replicates that ran", "saved", "better", "fixed: better", "equivalent", "fixed: equivalent",
        "worse", "inconclusive", "fixed: inconclusive", "covered", "at all looks",
    )  # fmt: skip
    lines = ["| " + " | ".join(header) + " |", "|" + " ---: |" * len(header)]
    for entry in rows:
        fixed = entry["fixed"]
        cells = (
            f"{100 * entry['change']:.0f} %",
            f"{entry['replicates']:.1f} of {entry['looks'][-1]}",
            f"{100 * entry['saved'] / entry['looks'][-1]:.0f} %",
            *map(_share, (entry["better"], fixed["better"], entry["equivalent"], fixed["equivalent"])),
            *map(_share, (entry["worse"], entry["undecided"], fixed["undecided"])),
            *map(_share, (entry["covered"], entry["covered_always"])),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
