"""The newcomer's walk as text: docs/dashboard.md's part between two marks, from docs/dashboard/walk.json."""

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
PAGE, TOLD = DOCS / "dashboard.md", DOCS / "dashboard" / "walk.json"
BEGIN, END = "<!-- from dashboard/walk.json by tests.browser.pictures; do not edit -->", "<!-- end -->"
_WORDS_A_MINUTE = 240


def walk_text(told: dict[str, Any]) -> str:
    """The walk in sentences.

    Args:
        told: date, cpu, n_cores, browser; list_s, overview_s: seconds from the click to what is
            named; headline, by_how_much, how_sure, ruled_out, next: what stood there; n_words: their number.
    """
    machine = f"{told['date']}, {told['cpu']}, {told['n_cores']} cores, {told['browser']}"
    seconds = (_reading_s(len(told["headline"].split())), _reading_s(told["n_words"]))
    return (
        f"{machine}; the demo's ledger, a browser that has never been here. The printed link: after "
        f"{told['list_s']:.1f} s the list of studies, whose column Verdict already says the outcome of each pair. "
        f"**One click**, on the study's name: after {told['overview_s']:.1f} s, without scrolling at 1440 x 900,\n\n"
        f"> **{told['headline']}.** By how much: {told['by_how_much']}. How sure: {told['how_sure']}. "
        f"Ruled out: {told['ruled_out']}. Next: {told['next']}.\n\n"
        f"At {_WORDS_A_MINUTE} words a minute the first line takes {seconds[0]:.0f} s, all {told['n_words']} words "
        f"{seconds[1]:.0f} s. The lines to paste are one screen down, with a button that copies them."
    )


def _reading_s(n_words: int) -> float:
    return 60 * n_words / _WORDS_A_MINUTE


def page_with(told: dict[str, Any], page: str) -> str:
    """The page with its part made anew."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{walk_text(told)}\n{END}{rest.partition(END)[2]}"


def write(told: dict[str, Any]) -> None:
    """Keep the figures, and the page made from them."""
    TOLD.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page_with(told, PAGE.read_text()))
