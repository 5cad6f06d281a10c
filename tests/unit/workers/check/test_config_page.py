"""docs/checking.md names every key of the configuration with its default, and every exit code."""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.domain.checks import ExitCode
from workers.check.config import CheckConfig, Equivalence, Margins, Tolerances, TrainingWorkload

PAGE = (Path(__file__).parents[4] / "docs" / "checking.md").read_text(encoding="utf-8")
TABLES: dict[str, type[BaseModel]] = {
    "": CheckConfig,
    "equivalences[].": Equivalence,
    "tolerances.": Tolerances,
    "workloads[].": TrainingWorkload,
    "margins.": Margins,
}
HIDDEN = {"name", "folder"}


def rows() -> Iterator[str]:
    """The table's lines."""
    for prefix, table in TABLES.items():
        for name, entry in table.model_fields.items():
            if prefix or name not in HIDDEN:
                yield f"| `{prefix}{name}` | {default(entry)} | {entry.description} |"


def default(entry: FieldInfo) -> str:
    if entry.is_required():
        return "required"
    value: Any = entry.get_default(call_default_factory=True)
    if value is None or value in ((), {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple) and isinstance(value[0], Enum):
        return "all"
    return f"`{json.dumps(dict(value) if isinstance(value, Mapping) else value)}`"


def test_every_key_stands_on_the_page_with_its_default_and_meaning() -> None:
    assert [row for row in rows() if row not in PAGE] == []


def test_every_exit_code_stands_on_the_page() -> None:
    assert [code for code in ExitCode if f"| {int(code)} |" not in PAGE] == []
