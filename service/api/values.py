"""Values that a study file may hold, with their JSON schemas: texts, numbers, ranges, plain options."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from service.domain.space import Scale

MAX_TEXT = 200
MAX_ENTRIES = 64
MAX_CHOICES = 1000
_LARGEST_INT = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SCALAR_SCHEMA: dict[str, Any] = {"type": ["number", "string", "boolean"]}


def check_text(value: str) -> str:
    """Text that Postgres can keep and a terminal can show: no control characters, not too long."""
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters or halves of surrogate pairs")
    if len(value) > MAX_TEXT:
        raise ValueError(f"must have at most {MAX_TEXT} characters, got {len(value)}")
    return value


def check_scalar(value: object) -> bool | int | float | str:
    """A value of a hyperparameter or option: a finite number, text, or a truth value."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(value)
    if isinstance(value, int) and not -_LARGEST_INT <= value <= _LARGEST_INT:
        raise ValueError("must be a number that fits into 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be finite, got {value}")
    if isinstance(value, (int, float)):
        return value
    raise ValueError(f"must be a number, text, true or false, got {shown(value)}")


def check_entry(value: object) -> Any:
    """An entry of a search space: a fixed value, or a range such as {"log": [1e-4, 1e-1]}."""
    if not isinstance(value, Mapping):
        return check_scalar(value)
    known = ", ".join(Scale)
    if len(value) != 1 or (scale := next(iter(value))) not in set(Scale):
        given = ", ".join(shown(key) for key in list(value)[:5]) or "nothing"
        raise ValueError(f"a range is {{scale: [low, high]}} with one scale of {known}; got {given}")
    values = value[scale]
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"{scale} takes a list, got {shown(values)}")
    if len(values) > MAX_CHOICES:
        raise ValueError(f"{scale} takes at most {MAX_CHOICES} values, got {len(values)}")
    return {str(scale): [check_scalar(entry) for entry in values]}


def check_plain(value: object, depth: int = 3) -> Any:
    """A scalar, or lists and objects of such, at most three deep: what a sampler may be given."""
    if isinstance(value, (list, tuple)) and depth:
        if len(value) > MAX_CHOICES:
            raise ValueError(f"takes at most {MAX_CHOICES} values, got {len(value)}")
        return [check_plain(entry, depth - 1) for entry in value]
    if isinstance(value, Mapping) and depth:
        if len(value) > MAX_ENTRIES:
            raise ValueError(f"takes at most {MAX_ENTRIES} entries, got {len(value)}")
        return {check_text(str(key)): check_plain(entry, depth - 1) for key, entry in value.items()}
    return None if value is None else check_scalar(value)


Text = Annotated[str, AfterValidator(check_text)]
Whole = Annotated[int, Field(ge=-_LARGEST_INT, le=_LARGEST_INT)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Scalar = Annotated[bool | int | float | str, PlainValidator(check_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
PlainJson = Annotated[Any, PlainValidator(check_plain)]
_RANGE = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_CHOICES = {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1, "maxItems": MAX_CHOICES}
_ENTRY_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _SCALAR_SCHEMA,
        *(
            {
                "type": "object",
                "properties": {scale.value: _CHOICES if scale is Scale.CHOICE else _RANGE},
                "required": [scale.value],
                "additionalProperties": False,
            }
            for scale in Scale
        ),
    ]
}
SpaceEntry = Annotated[Any, PlainValidator(check_entry), WithJsonSchema(_ENTRY_SCHEMA)]


def shown(value: object) -> str:
    """A value as a message may quote it."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple, set)):
        return "a list"
    if isinstance(value, int) and not -_LARGEST_INT <= value <= _LARGEST_INT:
        return "a huge number"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
