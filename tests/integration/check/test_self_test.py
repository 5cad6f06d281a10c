"""The short form of the self-test: each kind of plant once, through the command; `make test-long` plants all."""


import pytest

from workers.check.selftest import SHORT, self_test


@pytest.mark.timeout(600)
def test_planted_bugs_trip_their_layer_and_a_refactor_none():
    outcomes = list(self_test(SHORT, [0], lambda _: None))
    assert [outcome.name for outcome in outcomes if not outcome.is_right] == []
    assert len(outcomes) == len(SHORT)
    assert {outcome.exit_code for outcome in outcomes if outcome.expected} == {1}
    assert {outcome.exit_code for outcome in outcomes if not outcome.expected} == {0}
