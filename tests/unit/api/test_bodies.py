"""From bytes to plain data."""

from typing import Any

import pytest

from service.api.bodies import MAX_NODES, MAX_YAML_BYTES, read_document
from service.api.problems import MalformedBodyError, UnsupportedMediaTypeError

JSON, YAML = "application/json", "application/yaml"


def test_json_and_yaml_of_one_file_are_equal() -> None:
    text = '{"name": "ä", "lr": {"log": [0.01, 1]}, "n": 3, "on": true}'
    yaml = "name: ä\nlr: {log: [1e-2, 1]}\nn: 3\non: true\n"
    assert read_document(text.encode(), JSON) == read_document(yaml.encode(), YAML)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01),
        ("1e3", 1000.0),
        ("no", "no"),
        ("on", "on"),
        ("0o10", 8),
        ("010", 10),
        ("true", True),
        ("~", None),
    ],
)
def test_yaml_scalars_are_those_of_version_1_2(text: str, value: Any) -> None:
    read = read_document(f"key: {text}".encode(), YAML)
    assert read == {"key": value}
    assert type(read["key"]) is type(value)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "", "text/yaml", "application/x-yaml"],
)
def test_content_types_that_are_read(content_type: str) -> None:
    assert read_document(b'{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data", "json", "x" * 5000])
def test_other_content_types_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="must be application/json or application/yaml"):
        read_document(b"{}", content_type)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(8)
)
MALFORMED: dict[str, tuple[str, bytes, str]] = {
    "empty JSON": (JSON, b"", "not JSON: Expecting value at line 1"),
    "cut off": (JSON, b'{"a": [1,', "not JSON"),
    "key twice": (JSON, b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
    "NaN": (JSON, b'{"a": NaN}', "NaN is no JSON number"),
    "infinity": (JSON, b'{"a": -Infinity}', "-Infinity is no JSON number"),
    "too many digits": (JSON, b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    "deep": (JSON, b"[" * 50 + b"]" * 50, "nested deeper than 20 levels"),
    "very deep": (JSON, b"[" * 90_000, "nested deeper than 20 levels"),
    "very deep objects": (JSON, b'{"a":' * 90_000, "nested deeper than 20 levels"),
    "many values": (JSON, b"[" + b"0," * MAX_NODES + b"0]", "more than 50,000 values"),
    "not UTF-8": (JSON, b'{"a": "\xff"}', "not UTF-8: byte 7"),
    "UTF-16": (JSON, '{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "two documents": (YAML, b"a: 1\n---\nb: 2\n", "not YAML"),
    "key twice in YAML": (YAML, b"a: 1\na: 2\n", "duplicate key"),
    "tab": (YAML, b"a:\n\t- 1\n", "not YAML"),
    "Python object": (YAML, b"!!python/object/apply:os.system ['true']", "not YAML"),
    "unknown tag": (YAML, b"a: !secret x", "not YAML"),
    "impossible date": (YAML, b"a: 2001-99-99", "not YAML"),
    "unknown alias": (YAML, b"a: *b", "undefined alias"),
    "alias of itself": (YAML, b"a: &a [*a]", "nested deeper than 20 levels"),
    "aliases that explode": (YAML, BOMB.encode(), "more than 50,000 values"),
    "deep YAML": (YAML, b"[" * 900, "nested deeper than 20 levels"),
    "large YAML": (YAML, b"#" * (MAX_YAML_BYTES + 1), "100,000 characters"),
    "NUL in YAML": (YAML, b"a: \x00", "not YAML"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_body_is_refused(name: str) -> None:
    content_type, body, words = MALFORMED[name]
    with pytest.raises(MalformedBodyError) as caught:
        read_document(body, content_type)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
