"""docs/mutation.md, generated from docs/mutation.json."""

from pathlib import Path
from typing import Any

_DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA = _DOCS / "mutation.json"
PAGE = _DOCS / "mutation.md"


def render(document: dict[str, Any]) -> str:
    """The page's text."""
    survivors = document["survivors"]
    equivalent = [s for s in survivors if s["is_equivalent"]]
    alive = [s for s in survivors if not s["is_equivalent"]]
    parts = [
        _head(document, n_equivalent=len(equivalent)),
        f"## Alive\n\n{_list(alive)}",
        f"## Equivalent: no test can tell them apart\n\n{_list(equivalent)}",
    ]
    return "\n\n".join(parts) + "\n"


def share_killed(document: dict[str, Any]) -> float:
    """Of the mutants that change behaviour."""
    n_equivalent = sum(s["is_equivalent"] for s in document["survivors"])
    return float(document["n_killed"] / (document["n_mutants"] - n_equivalent))


def _head(document: dict[str, Any], *, n_equivalent: int) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    n, n_killed, n_left = document["n_mutants"], document["n_killed"], sum(document["not_run"].values())
    not_run = ", ".join(f"{count} of {name}" for name, count in document["not_run"].items())
    left = f"{n_left} more were made and not run: {not_run}." if n_left else "All that were made were run."
    earlier = document["earlier"]
    if earlier["n_mutants"]:
        left += (
            f" The verdicts of {earlier['n_mutants']} are those of commit {earlier['commit']}: their functions have not"
            " changed since."
        )
    return f"""# Mutation testing of adamp's Python

Generated from `docs/mutation.json` by `python -m tests.mutation.make`; do not edit. {document["date"]}, commit
{document["commit"]}: {versions}.

{n} mutants of {", ".join(document["files"])}:
{n_killed} killed, {len(document["survivors"])} survived, of which {n_equivalent} are equivalent. That is
{100 * share_killed(document):.1f} % of the others killed. {left}

Later changes of that code were not mutated.

{document["how"]}"""


def _list(survivors: list[dict[str, Any]]) -> str:
    if not survivors:
        return "None."
    by_reason: dict[str, list[str]] = {}
    for survivor in survivors:
        lines = [f"  `{line}`" for line in survivor["change"]]
        by_reason.setdefault(survivor["reason"], []).append(f"- {survivor['function']}\n" + "\n".join(lines))
    return "\n\n".join(f"**{reason}**\n\n" + "\n".join(entries) for reason, entries in by_reason.items())
