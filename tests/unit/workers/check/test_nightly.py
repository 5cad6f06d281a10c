"""Nights against one release, judged together."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from service.domain.checks import Check, CheckVerdict, Finding, Layer, LayerResult
from tests.unit.domain.check_cases import check, finding
from workers.check.errors import UsageError
from workers.check.nightly import History, add_night, read_history, write_history

MARGINS = {"behaviour": 0.002, "train_loss": 0.02, "validation_loss": 0.1}
RELEASE = "v1"


def night(number: int, shift: float, sd: float, endpoint: str = "train-loss", n: int = 4) -> Check:
    """One night's check: the candidate's losses are `shift` larger on the log scale, give or take `sd`."""
    draws = random.Random(number)
    baseline = [draws.uniform(0.5, 0.6) for _ in range(n)]
    candidate = [value * math.exp(draws.gauss(shift, sd)) for value in baseline]
    made = Finding(
        Layer.TRAINING,
        f"digits-mlp-{endpoint}",
        CheckVerdict.PASS,
        "",
        data={"blocks": [{"block": 0, "baseline": baseline, "candidate": candidate}]},
    )
    return check(LayerResult(Layer.NUMERICS, (finding(CheckVerdict.PASS),)), LayerResult(Layer.TRAINING, (made,)))


def run(n_nights: int, shift: float, sd: float = 0.01, endpoint: str = "train-loss") -> list[Finding]:
    """What all nights so far said, night by night."""
    history, said = History(RELEASE), []
    for number in range(n_nights):
        history, judged = add_night(history, night(number, shift, sd, endpoint), MARGINS)
        said.append(judged.layers[-1].findings[-1])
    return said


def test_a_loss_that_one_night_does_not_show_fails_once_there_are_enough_nights() -> None:
    said = run(40, shift=0.03, sd=0.03)
    verdicts = [entry.verdict for entry in said]
    assert verdicts[0] is CheckVerdict.PASS
    assert "not decided yet" in said[0].sentence
    assert verdicts[-1] is CheckVerdict.FAIL
    assert said[0].sentence.startswith("digits-mlp, 1 night since the release: train loss over the run moves by ")
    assert said[-1].sentence.startswith("digits-mlp, 40 nights since the release: train loss over the run moves by +")
    assert said[-1].sentence.endswith("on 160 paired seeds: worse for certain")


def test_a_loss_within_the_margin_and_a_gain_pass() -> None:
    assert {entry.verdict for entry in run(30, shift=0.004)} == {CheckVerdict.PASS}
    assert "by less than" in run(30, shift=0.004)[-1].sentence
    assert {entry.verdict for entry in run(20, shift=-0.1)} == {CheckVerdict.PASS}


def test_no_difference_alarms_in_at_most_2_of_60_releases_of_40_nights() -> None:
    alarms = 0
    for series in range(60):
        history = History(RELEASE)
        for number in range(40):
            history, judged = add_night(history, night(1000 * series + number, 0.0, 0.05), MARGINS)
            if judged.layers[-1].findings[-1].verdict is CheckVerdict.FAIL:
                alarms += 1
                break
    assert alarms <= 2  # the limit is 0.0033 a series


def test_behaviour_changes_in_either_direction() -> None:
    for shift in (-0.02, 0.02):
        assert run(10, shift, 0.001, "behaviour")[-1].verdict is CheckVerdict.CHANGED


def test_equal_runs_pass() -> None:
    assert run(3, 0.0, 0.0)[-1].verdict is CheckVerdict.PASS


def test_the_pairs_of_each_night_can_be_recomputed_from_the_finding() -> None:
    last = run(3, 0.01)[-1]
    values = [value for entry in last.data["nights"] for value in entry["differences"]]
    assert last.estimate == pytest.approx(sum(values) / 12)


def test_a_night_without_training_adds_nothing() -> None:
    history, made = History(RELEASE), check(LayerResult(Layer.TRAINING, reason="not run"))
    assert add_night(history, made, MARGINS) == (history, made)


def test_the_file_keeps_nights_until_the_next_release(tmp_path: Path) -> None:
    path = tmp_path / "nights.json"
    assert read_history(path, RELEASE) == History(RELEASE)
    history, _ = add_night(History(RELEASE), night(0, 0.01, 0.01), MARGINS)
    history, _ = add_night(history, replace(night(1, 0.01, 0.01), name="sgdp"), MARGINS)
    write_history(path, history)
    assert read_history(path, RELEASE) == history
    assert [entry.name for entry in history.of("sgdp")] == ["sgdp"]
    assert read_history(path, "v2") == History("v2")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}', '{"schema": 1, "baseline": "v1", "nights": [{}]}'])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="holds no pairs of nightly checks"):
        read_history(path, RELEASE)
    assert path.read_text() == text
