"""docs/dashboard.md's figures are those of docs/dashboard/walk.json."""

import json

from tests.browser.walk import PAGE, TOLD, page_with


def test_the_walk_was_not_edited_by_hand():
    page = PAGE.read_text()
    assert page_with(json.loads(TOLD.read_text()), page) == page
