"""The committed schema of the report's JSON holds for every report, and names every key of it."""

import json
from pathlib import Path

import jsonschema
import pytest

from service.domain.report import SCHEMA
from service.domain.trial import LayerMeasurement, Outcome, TrialState
from service.domain.verdict import VerdictKind
from tests.unit.domain.estimate_cases import document, full_source
from tests.unit.domain.report_cases import confirms, damaged_study

PATH = Path(__file__).parents[3] / "docs" / "report.schema.json"


def closed(node):
    """The schema with every object that names its keys closed to others."""
    if isinstance(node, list):
        return [closed(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    node = {key: closed(value) for key, value in node.items()}
    if node.get("type") in ("object", ["object", "null"]) and "properties" in node:
        node.setdefault("additionalProperties", False)
    return node


@pytest.fixture(scope="module")
def schema():
    return json.loads(PATH.read_text())


@pytest.fixture(scope="module")
def strict(schema):
    return jsonschema.Draft202012Validator(closed(schema))


def test_the_schema_is_one_and_has_the_reports_version(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"] == {"const": SCHEMA}
    assert set(schema["$defs"]["verdict"]["properties"]["kind"]["enum"]) == set(VerdictKind)
    assert set(schema["$defs"]["trial"]["properties"]["outcome"]["enum"]) == {*Outcome, None}
    assert set(schema["$defs"]["trial"]["properties"]["state"]["enum"]) == set(TrialState)


def test_full_reports_fit_and_hold_no_key_that_it_does_not_name(strict):
    source = full_source()
    runs = [t.number for t in source.trials if confirms("adamp")(t)]
    layers = [LayerMeasurement(n, "conv", e, 1.0 + e, 0.1, 0.5, True) for n in runs for e in (0, 1)]
    environments = [{"cpu": "A", "n_attempts": 3}]
    for seed in range(3):
        strict.validate(document(full_source(seed, layers=layers, environments=environments)))


@pytest.mark.parametrize("block", range(4))
def test_damaged_and_unfinished_ones_do_too(strict, block):
    for seed in range(10 * block, 10 * block + 10):
        strict.validate(document(damaged_study(seed)))


def test_a_missing_or_foreign_key_is_refused(strict):
    report = document(full_source())
    for wrong in ({k: v for k, v in report.items() if k != "trials"}, {**report, "mood": "good"}):
        assert not strict.is_valid(wrong)
