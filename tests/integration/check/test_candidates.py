"""Candidates that crash, hang or change in a layer that the baseline passes; acknowledgements; the default baseline."""

import json
from pathlib import Path

import pytest

from service.domain.checks import CheckVerdict, Layer
from tests.integration.check.support import CONFIG, MISTAKE, Toybox
from workers.check.acknowledgement import acknowledged_by
from workers.check.baselines import default_baseline
from workers.check.errors import InfrastructureError
from workers.check.git import Repository
from workers.check.sources import Given

PASS, FAIL = CheckVerdict.PASS, CheckVerdict.FAIL
EQUAL = """
[[tool.tangent.check.toy.equivalences]]
name = "without-momentum-is-sgd"
arguments = { momentum = 0.0 }
equals = "torch.optim:SGD"
equals_arguments = { lr = 0.1 }
"""


def test_a_crash_where_the_baseline_has_none_fails_the_layer(toybox: Toybox) -> None:
    toybox.replace("buffer = state", "import os; os.abort(); buffer = state")
    found = toybox.checked(baseline="HEAD", layers=tuple(Layer))
    assert found.verdict is FAIL
    (finding,) = found.layers[0].findings
    assert (finding.name, finding.verdict) == ("candidate-crash", FAIL)
    assert "died of SIGABRT during 'trajectory'; the baseline does not" in finding.sentence
    assert finding.explanation.startswith("It was in move, line 3")
    assert finding.explanation.endswith(" of toy/__init__.py.")
    assert "Fatal Python error: Aborted" in finding.data["log"]
    assert [layer.reason for layer in found.layers[1:]] == ["not run: numerics failed, which decides"] * 2


def test_a_hang_where_the_baseline_has_none_fails_the_layer(toybox: Toybox) -> None:
    toybox.write("pyproject.toml", CONFIG + "call_timeout_s = 15\n")
    toybox.replace("buffer = state", "import time; time.sleep(100); buffer = state")
    (finding,) = toybox.checked(baseline="HEAD").layers[0].findings
    assert finding.name == "candidate-hang"
    assert "did not answer within 15 s during 'trajectory'; the baseline does not" in finding.sentence


def test_a_crash_that_the_baseline_shares_is_no_verdict(toybox: Toybox) -> None:
    toybox.replace("buffer = state", "import os; os.abort(); buffer = state")
    toybox.commit()
    outcome, _ = toybox.check(baseline="HEAD")
    assert (outcome.exit_code, outcome.checks) == (4, ())
    assert "the baseline (HEAD) died of SIGABRT" in outcome.error


def test_a_candidate_that_raises_at_every_step_fails(toybox: Toybox) -> None:
    toybox.replace("buffer = state", "raise IndexError(7); buffer = state")
    assert toybox.checked(baseline="HEAD").verdict is FAIL


@pytest.mark.parametrize("how", ["flag", "commit trailer", "label"])
def test_an_acknowledged_change_of_behaviour_passes(toybox: Toybox, how: str, tmp_path: Path) -> None:
    base = toybox.git("rev-parse", "HEAD")
    toybox.replace(*MISTAKE)
    toybox.commit("change the decay", *(["Tangent-Check: behaviour-change"] if how == "commit trailer" else []))
    event = tmp_path / "event.json"
    labels = [{"name": "behaviour-change"}] if how == "label" else [{"name": "other"}]
    event.write_text(json.dumps({"pull_request": {"labels": labels}}))
    found = toybox.checked(baseline=base, event=event, is_change_expected=how == "flag")
    assert (found.verdict, found.acknowledged) == (PASS, how)
    assert found.layers[0].verdict is CheckVerdict.CHANGED


def test_no_acknowledgement_excuses_what_must_hold_however_the_optimizer_behaves(toybox: Toybox) -> None:
    toybox.write("pyproject.toml", CONFIG + EQUAL)
    toybox.commit()
    toybox.replace('param.sub_(group["lr"]', 'param.sub_(1.01 * group["lr"]')
    found = toybox.checked(baseline="HEAD", is_change_expected=True)
    verdicts = {finding.name: finding.verdict for finding in found.layers[0].findings}
    assert verdicts["float64-trajectories"] is CheckVerdict.CHANGED
    assert verdicts["without-momentum-is-sgd"] is FAIL
    assert found.verdict is FAIL


@pytest.mark.parametrize("text", [None, "{}", "[", "[]", '{"pull_request": null}'])
def test_other_events_acknowledge_nothing(text: str | None, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    if text is not None:
        event.write_text(text)
    sides = Given("baseline", "a:B"), Given("candidate", "a:C")
    assert acknowledged_by(*sides, None, flag=False, event=event) == ""


def baseline(toybox: Toybox, candidate: str = ".", *, is_nightly: bool = False) -> tuple[str, str]:
    found = default_baseline(Repository(toybox.folder), candidate, is_nightly=is_nightly)
    return found.commit, found.why


def test_the_default_baseline_is_where_the_candidate_comes_from(toybox: Toybox) -> None:
    first = toybox.git("rev-parse", "HEAD")
    with pytest.raises(InfrastructureError, match=r"the history is one commit.*--baseline"):
        baseline(toybox)
    toybox.write("notes.txt", "1")
    assert baseline(toybox) == (first, "HEAD, which the working tree changes")
    second = toybox.commit()
    assert baseline(toybox) == (first, "the commit before it")
    toybox.git("tag", "v1")
    assert baseline(toybox) == (first, "the commit before it")
    third = toybox.commit()
    assert baseline(toybox) == (second, "the last release, v1")
    toybox.git("checkout", "--quiet", "-b", "topic", "HEAD~1")
    toybox.commit("topic")
    toybox.commit("topic, second part")
    assert baseline(toybox) == (second, "the merge base with main")
    assert baseline(toybox, "main") == (second, "the last release, v1")
    assert third == toybox.git("rev-parse", "main")


def test_a_nightly_check_wants_a_release(toybox: Toybox) -> None:
    toybox.commit()
    with pytest.raises(InfrastructureError, match="there is no release"):
        baseline(toybox, is_nightly=True)


def test_layers_are_asked_in_their_order_and_those_not_asked_for_say_so(toybox: Toybox) -> None:
    found = toybox.checked(baseline="HEAD", layers=(Layer.NUMERICS,))
    assert [layer.layer for layer in found.layers] == list(Layer)
    assert [layer.reason for layer in found.layers[1:]] == ["not asked for"] * 2


def test_a_package_that_is_the_same_on_both_sides_needs_no_run(toybox: Toybox) -> None:
    toybox.write("README.md", "changed\n")
    toybox.commit()
    same = toybox.checked(baseline="HEAD~1", skips_unchanged=True)
    assert same.verdict is CheckVerdict.SKIPPED
    assert {layer.reason for layer in same.layers} == {"the package is the same on both sides"}
    toybox.replace(*MISTAKE)
    assert toybox.checked(baseline="HEAD~1", skips_unchanged=True).verdict is FAIL
