"""docs/mutation.md says what its data say."""

import json

from tests.mutation import page

DOCUMENT = json.loads(page.DATA.read_text())


def test_the_page_is_generated_from_the_data():
    assert page.PAGE.read_text() == page.render(DOCUMENT), "edited by hand? run python -m tests.mutation.make"


def test_at_least_95_percent_of_the_mutants_that_change_behaviour_are_killed():
    assert page.share_killed(DOCUMENT) >= 0.95


def test_every_survivor_has_a_reason():
    assert all(survivor["reason"] for survivor in DOCUMENT["survivors"])
