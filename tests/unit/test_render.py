"""Strips, bars and times, cell by cell."""

import pytest

from service.bars import bar, progress_line
from service.render import STRIP_WIDTH, human_time, interval_strip, number, percent, strip_scale

MIDDLE = (STRIP_WIDTH - 1) // 2


def comparison(lower=None, mean=None, upper=None, kind="better"):
    interval = None if lower is None and upper is None else {"lower": lower, "upper": upper}
    return {"effect": {"interval_95": interval, "mean": mean}, "verdict": {"kind": kind}}


def strip(lower=None, mean=None, upper=None, *, margin=0.05, scale=0.36):
    """At this scale a cell is 0.02 wide, zero in the middle one."""
    return interval_strip(comparison(lower, mean, upper), margin, scale).plain


def where(text, mark):
    return [i for i, cell in enumerate(text) if cell == mark]


def test_strip_has_its_width_whatever_it_shows():
    for ends in [(None, None, None), (-9.0, 0.0, 9.0), (0.1, 0.2, 0.3), (-5.0, -4.0, -3.0)]:
        assert len(strip(*ends)) == STRIP_WIDTH


def test_zero_is_in_the_middle_and_the_margin_around_it():
    text = strip(margin=0.06)
    assert where(text, "│") == [MIDDLE]
    assert where(text, "░") == [MIDDLE + i for i in (-3, -2, -1, 1, 2, 3)]


def test_interval_and_effect_stand_at_their_places():
    text = strip(-0.2, -0.12, -0.1)
    assert (where(text, "┣"), where(text, "●"), where(text, "┫")) == ([MIDDLE - 10], [MIDDLE - 6], [MIDDLE - 5])
    assert where(text, "━") == [MIDDLE - 9, MIDDLE - 8, MIDDLE - 7]
    assert where(text, "│") == [MIDDLE]


def test_interval_over_zero_covers_the_mark_of_zero():
    text = strip(-0.1, 0.02, 0.1)
    assert where(text, "│") == []
    assert text[MIDDLE] == "━"
    assert text[MIDDLE + 1] == "●"


def test_mirrored_effect_gives_the_mirrored_strip():
    turned = strip(0.1, 0.12, 0.2)[::-1].translate(str.maketrans("┣┫", "┫┣"))
    assert turned == strip(-0.2, -0.12, -0.1)


def test_ends_off_the_scale_are_arrows():
    text = strip(-3.0, 0.1, 3.0)
    assert (text[0], text[-1]) == ("◄", "►")
    assert where(text, "┣") == where(text, "┫") == []


def test_effect_off_the_scale_leaves_the_arrow_that_says_so():
    assert strip(0.1, 0.9, 3.0)[-1] == "►"
    assert strip(-3.0, -0.9, -0.1)[0] == "◄"


@pytest.mark.parametrize("ends", [(None, None, None), (None, 0.1, None), (-0.1, None, 0.1), (None, 0.1, 0.2)])
def test_nothing_known_shows_the_empty_axis(ends):
    assert strip(*ends) == strip()


def test_scale_holds_every_interval_and_margin_up_to_its_limit():
    def report(margin, *intervals):
        return {"margin": margin, "comparisons": [comparison(low, 0.0, high) for low, high in intervals]}

    assert strip_scale([]) == pytest.approx(0.105)
    assert strip_scale([report(0.2)]) == pytest.approx(0.315)
    assert strip_scale([report(0.05, (-0.1, 0.4)), report(0.05, (-0.6, 0.1))]) == pytest.approx(0.63)
    assert strip_scale([report(0.05, (None, None))]) == pytest.approx(0.105)
    assert strip_scale([report(0.05, (-9.0, 9.0))]) == 2.0


@pytest.mark.parametrize(("kind", "style"), [("better", "green"), ("worse_by", "red"), ("inconclusive", "yellow")])
def test_colour_follows_the_verdict(kind, style):
    assert style in str(interval_strip(comparison(kind=kind), 0.05, 0.3).style)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (float("inf"), "–"),
        (float("nan"), "–"),
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (190, "3 min 10 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert human_time(seconds) == words


def test_numbers_that_are_missing_are_dashes():
    assert (number(None), percent(None)) == ("–", "–")
    assert (number(0.123456), percent(-0.115), percent(0.2)) == ("0.1235", "−11.5 %", "+20 %")


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((0, 0, 0, 0), "·········· 0/0"),
        ((5, 10, 0, 0), "█████····· 5/10"),
        ((5, 10, 1, 0), "█████▒···· 5/10"),
        ((10, 10, 3, 0), "██████████ 10/10"),
        ((0, 1000, 1, 0), "▒········· 0/1000"),
        ((12, 10, 0, 2), "██████████ 12/10 2 failed"),
    ],
)
def test_bar_never_leaves_its_width(counts, text):
    assert bar(*counts, 10).plain == text


def test_cancelled_trials_are_not_called_failed():
    assert bar(1, 9, 0, 0, 5, cancelled=3).plain.endswith(" 1/9 3 cancelled")
    assert bar(1, 9, 0, 2, 5, cancelled=3).plain.endswith(" 1/9 3 cancelled 2 failed")
    counts = {"n_complete": 4, "n_pruned": 0, "n_fail": 5, "n_cancelled": 3}
    view = {"name": "s", "state": "CANCELLED", "eta_s": None, "progress": [], "counts": counts, "n_planned": 9}
    assert progress_line(view) == "s: cancelled, 4 of 9 trainings, 2 failed, 3 cancelled"
    only = {**view, "counts": {**counts, "n_fail": 3}}
    assert progress_line(only) == "s: cancelled, 4 of 9 trainings, 3 cancelled"
