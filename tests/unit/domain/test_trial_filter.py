"""The filter language of the trials table: what it reads, and what it says of what it cannot read."""

import pytest

from service.domain.trial_filter import EXAMPLES, Condition, FilterError, parse_filter

PARAMS = ("lr", "delta", "weight_decay")


def test_words_numbers_and_hyperparameters_are_read():
    assert parse_filter("arm=adamp delta<0.1 state=COMPLETE value>=1e-3", PARAMS) == (
        Condition("arm", "=", "adamp"),
        Condition("delta", "<", 0.1, is_param=True),
        Condition("state", "=", "complete"),
        Condition("value", ">=", 0.001),
    )
    assert parse_filter("  ") == ()


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_that_the_page_shows_are_read(example):
    assert parse_filter(example, PARAMS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adamp", "'adamp' is no condition; write field=value"),
        ("armm=adamp", "there is no field 'armm'; there are arm, optimizer"),
        ("armm=adamp", "did you mean arm?"),
        ("arm<adamp", "arm holds a word: compare it with = or !=, not with <"),
        ("state=done", "state is one of waiting, running, complete, pruned, fail; got 'done'"),
        ("lr=fast", "lr is compared with a number, got 'fast'"),
        ("lr=nan", "lr is compared with a number, got 'nan'"),
        ("value<inf", "value is compared with a number, got 'inf'"),
        ("arm=a " * 21, "a filter has at most 20 conditions, got 21"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_rule(text, message):
    with pytest.raises(FilterError) as caught:
        parse_filter(text, PARAMS)
    assert message in str(caught.value)
