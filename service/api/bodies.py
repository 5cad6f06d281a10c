"""Reading a body: bytes to plain data, JSON or YAML 1.2, small enough to be looked at and free of surprises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from service.api.problems import MalformedBodyError, UnsupportedMediaTypeError

JSON_TYPES = ("application/json",)
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
MAX_YAML_BYTES = 100_000
MAX_DEPTH = 20
MAX_NODES = 50_000
# What ruamel.yaml's constructors raise on odd scalars, keys and nesting, besides its own errors.
_YAML_ERRORS = (YAMLError, ValueError, TypeError, OverflowError, RecursionError, AttributeError, LookupError)


def read_document(body: bytes, content_type: str) -> Any:
    """Decode a body.

    Args:
        body: The bytes as they came.
        content_type: The header, parameters included; empty is taken for JSON.

    Raises:
        UnsupportedMediaTypeError: Neither JSON nor YAML.
        MalformedBodyError: Not UTF-8, not well-formed, with a key twice, with NaN, too deep or too large.
    """
    media_type = content_type.partition(";")[0].strip().lower() or JSON_TYPES[0]
    if media_type not in (*JSON_TYPES, *YAML_TYPES):
        known = " or ".join((*JSON_TYPES, YAML_TYPES[0]))
        raise UnsupportedMediaTypeError(f"Content-Type must be {known}, got {media_type[:100]!r}")
    text = _decode(body)
    document = _from_json(text) if media_type in JSON_TYPES else _from_yaml(text)
    _check_size(document)
    return document


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8: byte {error.start} cannot be read") from error


def _from_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedBodyError(f"the body is not JSON: {error.msg} at {where}") from error
    except ValueError as error:
        raise MalformedBodyError(f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise MalformedBodyError(f"the body is nested deeper than {MAX_DEPTH} levels") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise ValueError(f"the key {key[:100]!r} stands twice in one object")
        document[key] = value
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number; every number must be finite")


def _from_yaml(text: str) -> Any:
    if len(text) > MAX_YAML_BYTES:
        raise MalformedBodyError(f"a YAML body may have {MAX_YAML_BYTES:,} characters; send more as JSON")
    # pure: the C parser reads YAML 1.1, where 1e-2 is text and `no` is false.
    reader = YAML(typ="safe", pure=True)
    try:
        return reader.load(text)
    except _YAML_ERRORS as error:
        raise MalformedBodyError(f"the body is not YAML: {_yaml_reason(error)}") from error


def _yaml_reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels"
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{reason}{where}".partition("\n")[0]


def _check_size(document: Any) -> None:
    """Refuse what is deep or large; YAML's aliases are counted wherever they are used, so that none can explode."""
    n_nodes, level = 0, [document]
    for _ in range(MAX_DEPTH):
        n_nodes += len(level)
        if n_nodes > MAX_NODES:
            raise MalformedBodyError(f"the body has more than {MAX_NODES:,} values")
        children = (child for node in level for child in _children(node))
        level = list(islice(children, MAX_NODES + 1))
        if not level:
            return
    raise MalformedBodyError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        yield from node.values()
    elif isinstance(node, (list, tuple, set)):
        yield from node
