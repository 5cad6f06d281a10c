"""What was fixed before the first trial, what came later, looks and the replicates that they saved, reuse."""

import dataclasses

import pytest

from service.domain.looks import take_look
from service.domain.report_registration import (
    NOT_PREREGISTERED,
    Registration,
    Reuse,
    registration_document,
    registration_sentences,
    reuse_sentences,
    reuse_warnings,
)
from service.domain.trial import Outcome, TrialState
from service.output.forms import render
from tests.unit.domain.estimate_cases import document, full_source

AT = "2026-03-04T05:06:07+00:00"


def look(n, *, is_decided, kind="inconclusive"):
    interval = {"lower": -0.2, "upper": 0.1}
    pair = {"baseline": "a", "challenger": "b", "kind": kind, "effect": -0.05, "interval_95": interval, "holm_p": 0.2}
    return {"replicates": n, "is_decided": is_decided, "pairs": [pair]}


def amendment(n, *, after_look):
    return {"replicates": n, "after_look": after_look, "at": AT}


def test_a_study_that_ran_as_registered_says_so_in_one_sentence():
    (sentence,) = registration_sentences(Registration(replicates=5), 5, 100)
    assert sentence.startswith("Preregistered: ")
    assert sentence.endswith("before the first trial, with 5 replicates.")


def test_every_look_is_told_with_its_decision_and_what_was_saved():
    taken = (look(3, is_decided=False), look(5, is_decided=True, kind="better_by_margin"))
    registration = Registration(replicates=9, planned_looks=(3, 5, 7, 9), looks=taken)
    first, second, third, last = registration_sentences(registration, 5, 100)
    assert "looks after 3, 5, 7 and 9 replicates" in first
    assert second == "Look 1, after 3 replicates: b against a inconclusive (-18 % to +11 %): not decided."
    assert "better by margin" in third
    assert third.endswith("decided, and the study stopped.")
    assert last == "4 replicates of 9 (400 trainings) saved against the fixed design."
    found = registration_document(registration, 5, 100)
    assert (found["replicates_saved"], found["trainings_saved"]) == (4, 400)


@pytest.mark.parametrize(
    ("looks", "saved"),
    [((), None), ((look(3, is_decided=False),), None), ((look(3, is_decided=False), look(5, is_decided=False)), 0)],
)
def test_nothing_was_saved_before_the_end_and_nothing_by_a_study_that_took_every_look(looks, saved):
    registration = Registration(replicates=5, planned_looks=(3, 5), looks=looks)
    assert registration.n_saved == saved
    assert any("saved none" in text for text in registration_sentences(registration, 5, 10)) == (saved == 0)


def test_what_was_added_is_numbered_dated_and_says_what_it_does_to_the_interval():
    both = (amendment(1, after_look=False), amendment(2, after_look=True))
    found = registration_document(Registration(replicates=5, amendments=both), 8, 10)
    assert [entry["first_replicate"] for entry in found["amendments"]] == [5, 6]
    _, before, after = found["sentences"]
    assert before == (
        "Added later: 1 replicate (number 5) on 2026-03-04, before any result could be seen: the intervals stay as "
        "planned."
    )
    assert "2 replicates (numbers 6 to 7)" in after
    assert after.endswith("all intervals are therefore those that hold at every look (anytime-valid).")


@pytest.mark.parametrize("after_look", [True, False])
def test_only_replicates_added_after_a_look_make_the_interval_anytime_valid(after_look):
    extended = Registration(replicates=4, amendments=(amendment(1, after_look=after_look),))
    plain, found = document(full_source()), document(full_source(registration=extended))
    effects = [report["comparisons"][0]["effect"] for report in (plain, found)]
    assert found["was_extended_after_look"] == after_look == effects[1]["is_anytime_valid"]
    assert (effects[0]["interval_95"] == effects[1]["interval_95"]) != after_look


def test_every_form_marks_what_was_added():
    extended = Registration(replicates=4, amendments=(amendment(1, after_look=True),))
    report = document(full_source(registration=extended))
    for form in ("html", "md"):
        text = render(report, form)
        assert "replicate 4 (added later)" in text
        assert "replicate 3 (added later)" not in text
        assert "Added later: 1 replicate (number 4) on 2026-03-04" in text


def test_an_imported_study_is_called_not_preregistered_wherever_it_is_shown():
    report = document(full_source(registration=Registration(origin="imported")))
    assert report["notes"][0] == NOT_PREREGISTERED == report["registration"]["sentences"][0]
    page = render(report, "html")
    assert NOT_PREREGISTERED in page
    assert "frozen before the first trial" not in page


def test_what_was_taken_from_other_studies_is_counted_and_a_difference_is_a_warning():
    reuse = Reuse(n_reused=12, n_equal=3, n_different=2, saved_s=240.0, studies=(3, 7))
    taken, again = reuse_sentences(reuse)
    expected = (
        "12 trainings had run before and were taken from studies 3 and 7, which saved about 4 minutes of one slot."
    )
    assert taken == expected
    assert again == "3 trainings ran again for comparison, and every bit was equal."
    report = document(full_source(reuse=reuse))
    assert report["reuse"]["n_reused"] == 12
    (warning,) = [note for note in report["notes"] if "ran again for comparison" in note]
    assert warning.startswith("2 trainings ran again for comparison and gave other results")
    assert reuse_warnings(dataclasses.replace(reuse, n_different=0)) == []


def test_a_look_of_the_ledger_is_told_as_it_was_taken():
    source = full_source(registration=Registration(planned_looks=(5, 9)))
    taken = take_look(source)
    report = document(dataclasses.replace(source, registration=Registration("submitted", 9, (5, 9), (taken,))))
    assert report["registration"]["looks"] == [taken]
    for pair, comparison in zip(taken["pairs"], report["comparisons"], strict=True):
        assert pair["interval_95"] == comparison["effect"]["interval_95"]


def test_a_pruner_is_named_its_trials_are_counted_and_its_bias_is_said():
    source = full_source(pruner="median")
    first = source.trials[0]
    trials = [dataclasses.replace(first, outcome=Outcome.PRUNED, state=TrialState.PRUNED), *source.trials[1:]]
    report = document(dataclasses.replace(source, trials=trials))
    assert report["arms"][0]["n_pruned"] == 1
    page = render(report, "html")
    for part in ("(random, pruner median)", ", 1 pruned", "The pruner median stops search trials early"):
        assert part in page
