"""Confounders: found where they are, and not where they are not."""

import dataclasses

import pytest

from service.domain.catalog import BUILT_IN
from service.domain.lint import confounders, mixed_environments, study_warnings
from service.domain.report_input import ArmInput
from service.domain.validation import study_from_file
from service.studyfile import example
from tests.unit.domain.estimate_cases import document, full_source

LR = {"log": [1e-4, 1e-1]}
DECAY = {"log": [1e-4, 1.0]}
RATIO = {"log": [1e-2, 1.0]}
ADAMW = ArmInput("adamw", "AdamW", "adam", {"lr": LR, "weight_decay": DECAY})
ADAMP = ArmInput("adamp", "AdamP", "adam", {"lr": LR, "weight_decay": DECAY, "delta": 0.1, "wd_ratio": 0.1})
TUNED = dataclasses.replace(ADAMP, name="tuned", search={**ADAMP.search, "delta": RATIO, "wd_ratio": RATIO})
ADAM = ArmInput("adam", "Adam", "adam", {"lr": LR, "weight_decay": {"log": [1e-6, 1e-2]}})
SGD = ArmInput("sgd", "SGD", "sgd", {"lr": {"log": [1e-3, 1.0]}, "weight_decay": {"log": [1e-6, 1e-2]}})


def with_search(arm, **entries):
    return dataclasses.replace(arm, search={**arm.search, **entries})


def found(*arms, pruner="none"):
    pairs = [(arms[0].name, arm.name) for arm in arms[1:]]
    return list(confounders(arms, pairs, pruner))


@pytest.mark.parametrize(
    "arms", [(ADAMW, ADAMP), (ADAMW, ADAMP, TUNED), (ADAMW, ADAM), (ADAMW, SGD), (ADAM, SGD), (ADAMW,)]
)
def test_sound_studies_are_left_alone(arms):
    assert found(*arms) == []


@pytest.mark.parametrize(
    ("arms", "sentences"),
    [
        ((ADAM, ADAMP), ["AdamP is compared without AdamW", "adamp against adam mixes two changes"]),
        ((ADAMW, TUNED), ["tuned searches delta and wd_ratio out of the same budget, without an arm of AdamP"]),
        (
            (ADAMW, with_search(ADAMP, lr={"log": [1e-3, 1e-1]})),
            ["Unequal spaces: adamw has lr log [0.0001, 0.1], adamp has log [0.001, 0.1]"],
        ),
        ((ADAMW, with_search(ADAMP, lr=0.01)), ["adamp has fixed at 0.01"]),
        (
            (with_search(ADAMW, weight_decay=0), with_search(ADAMP, weight_decay=0, wd_ratio=RATIO)),
            ["adamp searches wd_ratio out of", "wd_ratio is searched in adamp where weight_decay is 0"],
        ),
        ((ADAMW, with_search(ADAMP, delta=0)), ["delta is 0 in adamp: it never projects."]),
    ],
)
def test_each_confounder_is_named(arms, sentences):
    texts = found(*arms)
    assert len(texts) == len(sentences)
    for text, part in zip(texts, sentences, strict=True):
        assert part in text


def test_a_pruner_is_a_confounder():
    assert "the expected best is biased" in found(ADAMW, ADAMP, pruner="median")[0]


def test_decay_ranges_of_different_meaning_may_differ():
    assert found(ADAM, with_search(ADAMW, weight_decay=RATIO)) == []


def test_machines_and_versions_that_differ_are_said():
    here = {"cpu": "A", "torch": "2.13", "platform": "x", "n_attempts": 30}
    assert mixed_environments([]) == mixed_environments([here, {**here, "platform": "y"}]) == []
    (text,) = mixed_environments([here, {**here, "cpu": "B", "n_attempts": 1}])
    assert text.startswith("The runs differ in cpu: A (30 runs) and B (1 run).")
    assert text in document(full_source(environments=[here, {**here, "cpu": "B", "n_attempts": 1}]))["notes"]


@pytest.mark.parametrize("name", ["digits-cnn", "digits-mlp"])
def test_the_examples_have_no_confounder(name):
    assert study_warnings(study_from_file(example(name), BUILT_IN)) == ()


def test_the_controls_handicap_is_named():
    texts = study_warnings(study_from_file(example("controls"), BUILT_IN))
    assert all("untuned has fixed at" in text for text in texts)
    assert texts


def test_too_few_replicates_are_said_before_the_study_runs():
    study = study_from_file({**example("digits-cnn"), "replicates": 2}, BUILT_IN)
    assert "2 replicates compare configurations, not optimizers" in study_warnings(study)[0]
