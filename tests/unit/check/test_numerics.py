import re
import runpy
import sys
import types

import pytest
import torch

from service.domain.checks import CheckVerdict
from tests.unit.check import numerics_support as toys
from workers.check.errors import InfrastructureError


def test_the_same_code_passes_with_no_error_at_all():
    result = toys.checked_once("Right")
    assert result.verdict is CheckVerdict.PASS
    assert {finding.name for finding in result.findings} == {
        "float64-trajectories",
        "float32-trajectories",
        "bfloat16-trajectories",
        "gradients-unmodified",
    }
    assert next(f for f in result.findings if f.name == "float64-trajectories").estimate == 0


def test_other_roundings_pass():
    result = toys.checked_once("Reordered")
    assert result.verdict is CheckVerdict.PASS
    assert 0 < result.findings[0].estimate < 1e-12


def test_a_failure_names_the_factors_that_all_failing_cases_share_and_no_other_has():
    found = toys.failing(toys.checked_once("CoupledDecayWhenHeavy"))
    assert "only where weight_decay > 0 and heavy is True." in found["float64-trajectories"].explanation
    assert set(found) == {"float64-trajectories"}  # lower precision is not tried where 64 bit fails


def test_a_failure_names_the_step_from_which_it_is_wrong():
    explanation = toys.failing(toys.checked_once("Forgetful"))["float64-trajectories"].explanation
    assert "number of steps > 6" in explanation
    assert "step 20" in explanation


def test_a_failure_names_the_argument_whose_change_looks_like_it():
    explanation = toys.failing(toys.checked_once("Damped"))["float64-trajectories"].explanation
    # Everywhere but in a few tensors that hardly move: 64 bit resolves no more.
    assert re.search(r"It fails in 21\d of 216 tensors, by no rule", explanation)
    assert "damping" in explanation


def test_a_loss_of_precision_fails_in_32_bit_alone():
    assert set(toys.failing(toys.checked_once("Coarse"))) == {"float32-trajectories"}


def test_a_step_that_changes_gradients_is_found():
    found = toys.failing(toys.checked_once("Scribbler"))
    assert "gradients-unmodified" in found
    assert "the baseline's does not" in found["gradients-unmodified"].sentence


def test_a_step_that_raises_fails_and_says_what_it_raises():
    finding = toys.failing(toys.checked_once("Raising"))["float64-trajectories"]
    assert "view size is not compatible" in finding.explanation
    assert "situation is" in finding.explanation


def test_a_closure_run_without_gradients_fails():
    finding = toys.failing(toys.checked_once("Deaf"))["float64-trajectories"]
    assert "situation is closure" in finding.explanation


def test_nan_fails_where_the_golden_is_finite():
    finding = toys.failing(toys.checked_once("NotANumber"))["float64-trajectories"]
    assert finding.estimate >= 1e6


def test_a_baseline_that_does_not_reproduce_itself_gives_no_verdict():
    with pytest.raises(InfrastructureError, match="the baseline does not reproduce itself"):
        toys.checked("Right", "Random")


def test_a_reference_judges_both_sides():
    reference = {"reference": f"{toys.HERE.name}:Right"}
    assert toys.checked("Reordered", "Damped", **reference).verdict is CheckVerdict.PASS
    assert toys.checked("Damped", "Damped", **reference).verdict is CheckVerdict.FAIL


def test_a_variant_that_changes_trajectories_fails_by_its_own_name():
    found = toys.failing(toys.checked("Right", variants=[{"damping": 0.5}]))
    assert set(found) == {"float64-trajectories-damping-0.5"}


def test_what_the_baseline_refuses_the_candidate_must_refuse():
    result = toys.checked("Right", extras=[{"damping": -1.0}])
    assert result.verdict is CheckVerdict.PASS
    assert "agree in all 130 cases, 9 of which both sides refuse (" in result.findings[0].sentence


def test_it_is_said_why_most_cases_are_refused_where_they_are():
    sentence = toys.checked("MatricesOnly", "MatricesOnly").findings[0].sentence
    assert "of which both sides refuse, as with ValueError: it steps matrices only (" in sentence


def test_an_equivalence_holds_or_fails_by_its_name():
    equal = {"name": "undamped-is-right", "arguments": {"damping": 0.0}, "equals": f"{toys.HERE.name}:Right"}
    right = toys.checked("Right", equivalences=[{**equal, "equals_arguments": {"lr": 0.1, "damping": 0.0}}])
    assert right.verdict is CheckVerdict.PASS
    wrong = toys.checked("Right", equivalences=[{**equal, "equals_arguments": {"lr": 0.11, "damping": 0.0}}])
    assert set(toys.failing(wrong)) == {"undamped-is-right"}


def test_a_property_of_the_users_own_is_called_with_the_optimizer():
    names = [f"{toys.HERE.name}:moves_at_all", f"{toys.HERE.name}:never_holds"]
    found = toys.failing(toys.checked("Right", properties=names))
    assert set(found) == {names[1]}
    assert "it asserts: make is something; the baseline fails it too" in found[names[1]].sentence


@pytest.mark.parametrize("candidate", ["CoupledDecayWhenHeavy", "Forgetful", "Coarse", "Deaf", "Raising"])
def test_the_script_fails_with_the_candidate_and_passes_with_the_baseline(candidate, tmp_path, monkeypatch):
    finding = next(iter(toys.failing(toys.checked_once(candidate)).values()))
    assert 0 < len(finding.script.splitlines()) <= 15
    (tmp_path / "script.py").write_text(finding.script)

    def run(optimizer):
        installed = types.SimpleNamespace(Right=optimizer)
        monkeypatch.setitem(sys.modules, "numerics_support", installed)
        runpy.run_path(str(tmp_path / "script.py"))

    default = torch.get_default_dtype()
    try:
        run(toys.Right)
        with pytest.raises((AssertionError, RuntimeError)):
            run(getattr(toys, candidate))
    finally:
        torch.set_default_dtype(default)
