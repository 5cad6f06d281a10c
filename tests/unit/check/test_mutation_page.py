"""The page on mutants that numerics catch alone is made from its numbers."""

import json

from tests.mutation.check_page import DATA, PAGE, render, share_caught

DOCUMENT = json.loads(DATA.read_text())


def test_the_page_is_made_from_its_numbers():
    assert PAGE.read_text() == render(DOCUMENT)


def test_survivors_are_listed_and_the_share_counts_what_is_not_equivalent():
    alive = [entry for entry in DOCUMENT["survivors"] if not entry["is_equivalent"]]
    n = sum(DOCUMENT["n_mutants"].values()) - len(DOCUMENT["survivors"]) + len(alive)
    assert share_caught(DOCUMENT) == 1 - len(alive) / n
    assert all(entry["function"] in PAGE.read_text() for entry in DOCUMENT["survivors"])
