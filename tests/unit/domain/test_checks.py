"""Verdicts and exit codes of checks, and their JSON form with its committed schema."""

import json
from pathlib import Path

import jsonschema
import pytest

from service.domain.checks import Check, CheckVerdict, ExitCode, Layer, LayerResult, check_from_dict
from tests.unit.domain.check_cases import COMMIT, check, full_check, layered, side
from workers.check.output.document import Outcome, exit_code, render_schema, to_document

PASS, FAIL, INCONCLUSIVE, CHANGED = (
    CheckVerdict.PASS,
    CheckVerdict.FAIL,
    CheckVerdict.INCONCLUSIVE,
    CheckVerdict.CHANGED,
)
SCHEMA = Path(__file__).parents[3] / "docs" / "check.schema.json"


@pytest.mark.parametrize(
    ("verdict", "plain", "strict", "bisecting"),
    [(PASS, 0, 0, 0), (FAIL, 1, 1, 1), (INCONCLUSIVE, 0, 3, 125), (CHANGED, 5, 5, 5)],
)
def test_exit_codes_follow_the_verdict(verdict: CheckVerdict, plain: int, strict: int, bisecting: int) -> None:
    made = [check(layered(verdict))]
    assert exit_code(made, None) == plain
    assert exit_code(made, None, is_strict=True) == strict
    assert exit_code(made, None, is_bisect=True) == bisecting


@pytest.mark.parametrize(
    ("failure", "plain", "bisecting"), [(ExitCode.USAGE, 2, 128), (ExitCode.INFRASTRUCTURE, 4, 125)]
)
def test_what_prevents_a_verdict_has_codes_that_bisection_understands(
    failure: ExitCode, plain: int, bisecting: int
) -> None:
    assert exit_code([], failure) == plain
    assert exit_code([], failure, is_bisect=True) == bisecting


def test_a_failure_of_one_optimizer_outweighs_all_that_others_came_to() -> None:
    made = [check(layered(PASS)), check(layered(FAIL)), check(layered(INCONCLUSIVE))]
    assert exit_code(made, ExitCode.INFRASTRUCTURE, is_strict=True) == ExitCode.FAIL
    assert exit_code(made[::2], ExitCode.INFRASTRUCTURE) == ExitCode.INFRASTRUCTURE


def test_the_worst_layer_decides_and_a_check_without_findings_is_skipped() -> None:
    assert check(layered(PASS), layered(CHANGED, Layer.TRAINING)).verdict is CHANGED
    assert check(layered(FAIL), layered(CHANGED, Layer.TRAINING)).verdict is FAIL
    assert check(LayerResult(Layer.SPEED, reason="not asked for")).verdict is CheckVerdict.SKIPPED


def test_an_acknowledged_change_passes_and_an_acknowledged_failure_does_not() -> None:
    assert check(layered(CHANGED), acknowledged="label").verdict is PASS
    assert check(layered(FAIL), layered(CHANGED, Layer.TRAINING), acknowledged="label").verdict is FAIL


def test_json_and_back_loses_nothing_and_believes_no_verdict() -> None:
    document = json.loads(json.dumps(full_check().to_dict()))
    document["verdict"] = document["layers"][0]["verdict"] = "PASS"
    again = check_from_dict(document)
    assert again == full_check()
    assert again.verdict is FAIL


@pytest.mark.parametrize(
    ("given", "revision", "words"),
    [
        ("main", COMMIT, "main (0123456789ab)"),
        (COMMIT, COMMIT, "0123456789ab"),
        ("0123456", COMMIT, "0123456789ab"),
        (".", "0123456789ab-dirty", "the working tree (0123456789ab-dirty)"),
        ("adamp==0.3.0", "0.3.0", "adamp==0.3.0"),
        ("torch.optim:AdamW", "2.13.0", "torch.optim:AdamW (2.13.0)"),
        ("torch.optim:AdamW", "", "torch.optim:AdamW"),
    ],
)
def test_a_side_is_named_once(given: str, revision: str, words: str) -> None:
    assert side(given, revision).words == words


def validate(outcome: Outcome) -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(to_document(outcome))


def test_the_committed_schema_is_current() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == render_schema(), "run python -m workers.check.output.document"


@pytest.mark.parametrize("made", [full_check(), check(layered(CHANGED), acknowledged="commit trailer"), check()])
def test_documents_fit_the_schema(made: Check) -> None:
    validate(Outcome((made,), 1))
    validate(Outcome((), 4, "there is no baseline"))


def test_a_document_with_an_unknown_key_or_verdict_does_not_fit() -> None:
    document = to_document(Outcome((full_check(),), 1))
    schema = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for damage in ({"verdict": "GOOD"}, {"more": 1}, {"checks": [{**document["checks"][0], "seed": "3"}]}):
        assert not schema.is_valid({**document, **damage})


def test_a_number_that_json_has_not_becomes_null() -> None:
    made = full_check()
    layers = (LayerResult(Layer.NUMERICS, tuple(made.layers[0].findings)),)
    document = to_document(Outcome((check(*layers, environment={"load": float("nan")}),), 1))
    assert document["checks"][0]["environment"]["load"] is None
