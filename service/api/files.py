"""Study files as text for people: YAML 1.2 in the order of the schema, short lists on one line."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

_SHORT = 60
"""Characters up to which a list or an object without lists of its own stands on one line."""


def study_yaml(document: Mapping[str, Any]) -> str:
    """A study file as YAML; keys that are null are left out, which is what null means there."""
    writer = YAML()
    writer.width = 120
    writer.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    writer.dump(_styled(document), text)
    return text.getvalue()


def _styled(value: Any) -> Any:
    if isinstance(value, Mapping):
        styled = CommentedMap({key: _styled(entry) for key, entry in value.items() if entry is not None})
        return _in_a_line(styled) if _is_short(value) else styled
    if isinstance(value, (list, tuple)):
        listed = CommentedSeq([_styled(entry) for entry in value])
        return _in_a_line(listed) if _is_short(value) else listed
    return value


def _is_short(value: Any) -> bool:
    return len(str(value)) <= _SHORT


def _in_a_line(styled: Any) -> Any:
    styled.fa.set_flow_style()
    return styled
