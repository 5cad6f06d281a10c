"""Study files as people write them."""

import pytest
from ruamel.yaml import YAML

from service.domain.catalog import BUILT_IN
from service.domain.validation import study_from_file
from service.errors import TangentError
from service.studyfile import example, parse_study, read_study_file, template


@pytest.mark.parametrize("name", ["digits-cnn", "digits-mlp", "controls"])
def test_examples_are_valid_studies(name):
    assert study_from_file(example(name), BUILT_IN).n_runs > 0


def test_template_is_a_valid_study():
    assert study_from_file(parse_study(template("mine", "digits-mlp"), "t"), BUILT_IN).name == "mine"


@pytest.mark.parametrize(
    "text", ["arms: {lr: {log: [1e-4, 1]}}\nok: no", '{"arms": {"lr": {"log": [1e-4, 1]}}, "ok": "no"}']
)
def test_numbers_and_words_are_those_of_yaml_1_2_and_json(text):
    assert parse_study(text, "f") == {"arms": {"lr": {"log": [0.0001, 1]}}, "ok": "no"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "^f is neither YAML nor JSON: "),
        ('{"a": 1,}', "^f is neither YAML nor JSON: "),
        ("a: 1\na: 2", "^f is neither YAML nor JSON: .*duplicate"),
        ("- a", "^f must hold a mapping at its top"),
        ("", "^f must hold a mapping at its top"),
        ("margin: .nan", "^f holds what a study file cannot: "),
        ("margin: .inf", "^f holds what a study file cannot: "),
        ('{"margin": NaN}', "^f holds what a study file cannot: "),
        ("name: 2026-01-01", "^f holds what a study file cannot: .*date"),
        ("name: !!binary aGk=", "^f holds what a study file cannot: "),
        ("a: !!python/object/apply:os.system [ls]", "^f is neither YAML nor JSON: "),
        ("[" * 400, "^f is neither YAML nor JSON: "),
        ('{"a":' * 5000, "^f is neither YAML nor JSON: "),
    ],
)
def test_what_is_no_study_file_is_one_sentence(text, message):
    with pytest.raises(TangentError, match=message) as caught:
        parse_study(text, "f")
    assert "\n" not in str(caught.value)


def test_unreadable_file_is_named(tmp_path):
    (tmp_path / "latin").write_bytes(b"name: \xe9")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "latin"):
        with pytest.raises(TangentError, match="cannot read .*" + path.name):
            read_study_file(path)


def test_file_round_trips_through_yaml(tmp_path):
    path = tmp_path / "s.yaml"
    with path.open("w") as out:
        YAML().dump(example("controls"), out)
    assert read_study_file(path) == example("controls")
