"""A comparison in a few words: what to take, what is ruled out, what to do next."""

import math

import pytest

from service.dashboard.summary import summaries, wanted


def pair(kind, mean=-0.2, low=-0.3, high=-0.1, n=5, **verdict):
    interval = None if low is None else {"lower": low, "upper": high}
    told = {"words": kind, "sentence": "whole", "reasons": [], "n_more_replicates": None, "more_s": None, **verdict}
    return {
        "baseline": "adamw",
        "challenger": "adamp",
        "holm_p": 0.012,
        "effect": {"n": n, "mean": mean, "interval_95": interval},
        "verdict": {"kind": kind, **told},
    }


def of(*pairs):
    return summaries({"comparisons": list(pairs)})


@pytest.mark.parametrize(
    ("kind", "answer", "next_words"),
    [
        ("better_by_margin", "Take adamp", "paste the lines of adamp below"),
        ("worse", "Keep adamw", "paste the lines of adamw below"),
        ("equivalent", "Either will do", "stay with adamw"),
        ("no_verdict", "Not decided", "run more replicates"),
        ("not_comparable", "Not decided", "wait"),
    ],
)
def test_each_verdict_has_an_answer_and_a_next_step(kind, answer, next_words):
    (found,) = of(pair(kind))
    assert found.answer == answer
    assert found.next.startswith(next_words)


def test_an_inconclusive_pair_says_what_certainty_costs():
    (found,) = of(pair("inconclusive", n_more_replicates=9, more_s=60.0))
    assert found.next == "9 more replicates, about 1 minute"
    assert (found.n_more, found.take) == (9, None)
    (slow,) = of(pair("inconclusive", n_more_replicates=0))
    assert slow.n_more is None
    assert slow.next.startswith("stop here")
    (doubted,) = of(pair("inconclusive", reasons=["lr of adamp lies at its edge"]))
    assert doubted.next == "a new study: lr of adamp lies at its edge"


def test_numbers_are_changes_in_percent_with_their_interval():
    (found,) = of(pair("better", mean=math.log(0.82), low=math.log(0.78), high=math.log(0.88)))
    assert found.change == "-18 %"
    assert found.certainty == "95 % from -22 % to -12 %, p = .012, 5 replicates"
    assert found.ruled_out == "a change below -22 % or above -12 %"
    (unknown,) = of(pair("no_verdict", low=None))
    assert unknown.ruled_out == "nothing yet"
    assert unknown.certainty == "no interval from 5 replicates"


def test_lines_to_paste_come_first_for_the_preferred_arm():
    assert wanted(of(pair("better"), pair("inconclusive"), pair("better"))) == ["adamp"]
    assert summaries(None) == []
