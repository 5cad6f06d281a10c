"""docs/check.md, from what the self-test found: `python -m workers.check.selftest_page [--seconds S] [--noops N]`.

The run's data lies in docs/check.json; the page says nothing that is not in it. A run that is stopped, or ends after
--seconds, is continued by the next; `--anew` forgets what was found, `--only-page` runs nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from workers.check.selftest import ROOT
from workers.check.selftest_results import KEPT, collect, make_document, measure_cost

DATA, PAGE = (ROOT / "docs" / f"check.{kind}" for kind in ("json", "md"))

_BLIND = """- **What no case holds**: GPUs, several processes, sparse or complex tensors beyond their refusal, compiled
  steps, and tensors of more than 34,000 elements in the numerics layer.
- **A fault that is rarer than its seeds**: cases are drawn; a bug in one of a million gradients is met by luck. Another
  `--seed` draws others.
- **Decisions at their threshold**: cases within 1e-3 of it are left out, for there two right programs may differ.
- **Arguments that the configuration does not name**: `dimensions`, `extras` and `variants` say what is tried.
- **What nobody asks for**: documentation, warnings, ranges of the profiler, methods that `methods` does not name,
  and values that the interface's tables do not try.
- **A bug that the baseline has too**: the baseline is the golden, unless a `reference` is named.
- **Losses of speed below the limit**, 10 % by default: those of many changes add up, which only a nightly comparison
  with the last release shows."""


def main(words: Sequence[str]) -> int:
    """Run what is missing of the self-test, write its data and the page.

    Returns:
        1 where a plant was judged wrongly or a refactor alarmed, 3 where something is still missing, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noops", type=int, default=150, help="runs of refactors")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin nothing new after so long")
    parser.add_argument("--anew", action="store_true", help="forget what an earlier run found")
    parser.add_argument("--cost", action="store_true", help="measure one check of this repository, and nothing else")
    parser.add_argument("--only-page", action="store_true", help="write the page from the data that is there")
    given = parser.parse_args(words)
    if given.cost:
        _write_data({**_published(), "cost": measure_cost()})
    elif not given.only_page:
        if given.anew:
            KEPT.unlink(missing_ok=True)
        if n_missing := collect(given.noops, given.seconds, _tell):
            _tell(f"{n_missing} results are missing: go on with the same command")
            return 3
        made = make_document(given.noops)
        _write_data({**made, "cost": made["cost"] or _published()["cost"]})
    document = _published()
    PAGE.write_text(render(document), encoding="utf-8")
    return int(not all(plant["is_right"] for plant in document["plants"]) or any_alarm(document))


def _published() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return document


def _write_data(document: Mapping[str, Any]) -> None:
    DATA.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _tell(text: str) -> None:
    sys.stderr.write(f"  {text}\n")


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
        f"## The same code, simulated\n\n{_simulated(document)}",
        *([f"## What a check costs\n\n{_cost(document['cost'])}"] if document.get("cost") else []),
        f"## What the check cannot see\n\n{_BLIND}",
    ]
    return "\n\n".join(parts) + "\n"


def _head(document: Mapping[str, Any], bugs: Sequence[Mapping[str, Any]]) -> str:
    n_right = sum(bug["is_right"] for bug in bugs)
    n_scripts = sum(bug["n_script_lines"] > 0 for bug in bugs if bug["expected"] == "numerics")
    n_numeric = sum(bug["expected"] == "numerics" for bug in bugs)
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    seconds = statistics.median(bug["duration_s"] for bug in bugs) if bugs else 0.0
    return f"""# What `tangent check` catches

Generated from `docs/check.json` by `python -m workers.check.selftest_page`; do not edit.
{document["date"]}: {document["machine"]}, {versions}, code {", ".join(document["code"])}.

`tangent check --self-test` plants bugs into a copy of adamp's sources, in plain torch and in C, and runs the same
command on each: the working tree with the bug against the commit before it. {n_right} of {len(bugs)} bugs tripped the
layer named for them beforehand, after {seconds:.0f} s in the median. {n_scripts} of the {n_numeric} that numerics
caught came with a failing program of at most 15 lines."""


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
        + " Each ran the paths that it changes, and compared the interface, for which nothing is drawn, once."
    ]
    rows = [
        "| refactor | runs | alarms | 64-bit error over its limit: median, largest | 32-bit |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(noop["name"] for noop in noops):
        own = [noop for noop in noops if noop["name"] == name]
        alarms = sum(noop["has_alarmed"] for noop in own)
        rows.append(f"| {name} | {len(own)} | {alarms} | {_shares(own, 'float64')} | {_shares(own, 'float32')} |")
    return "\n\n".join([*told, "\n".join(rows)] if noops else told)


def _simulated(document: Mapping[str, Any]) -> str:
    rows = [
        "| network | the same code, but for | pairs run | checks simulated | FAIL | CHANGED | mean pairs |",
        "|---|---|---|---|---|---|---|",
    ]
    for workload, by_change in document["simulated"].items():
        for change, same in by_change.items():
            shares = " | ".join(_percent(same.get(verdict, 0.0)) for verdict in ("FAIL", "CHANGED"))
            counts = f"{same['n_pairs']} | {same['n_simulated']:,}"
            rows.append(f"| {workload} | {change} | {counts} | {shares} | {same['mean_pairs']:.1f} |")
    told = (
        "The training layer, drawn from pairs of real runs by its own rules; "
        "[check/training.md](check/training.md) has the rest."
    )
    return "\n\n".join([told, "\n".join(rows)])


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share else "0"


def _cost(cost: Mapping[str, Any]) -> str:
    verdicts = ", ".join(f"{name} {verdict}" for name, verdict in cost["verdicts"].items())
    return (
        f"`tangent check` of this repository's two optimizers against their own commit, all layers, on {cost['date']}: "
        f"{cost['wall_s']:.0f} s, of which processors worked {cost['cpu_s']:.0f} s, at a load of "
        f"{cost['load_1min']:.1f} before ({verdicts}); code {cost['code']}. What cannot be decided takes longest."
    )


def _shares(noops: Sequence[Mapping[str, Any]], dtype: str) -> str:
    largest = [max(share for name, share in noop["share"].items() if name.startswith(dtype)) for noop in noops]
    return f"{statistics.median(largest):.2g}, {max(largest):.2g}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
