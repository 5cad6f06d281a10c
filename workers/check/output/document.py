"""The JSON file of one call of `tangent check`: its checks, its exit code, and why it ended where there is no verdict.

docs/check.schema.json describes it; `python -m workers.check.output.document` writes that file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from service.domain.checks import SCHEMA, Check, CheckVerdict, ExitCode, worst
from service.domain.plain import to_plain


@dataclass(frozen=True)
class Outcome:
    """What one call came to.

    Attributes:
        checks: One for each configured optimizer, as far as it went.
        error: Why the next one has no verdict; "" where all have.
        exit_code: What the process returns.
    """

    checks: tuple[Check, ...]
    exit_code: int
    error: str = ""

    @property
    def verdict(self) -> CheckVerdict:
        """The worst of the checks."""
        return worst(check.verdict for check in self.checks)


def exit_code(
    checks: Sequence[Check], failure: ExitCode | None, *, is_strict: bool = False, is_bisect: bool = False
) -> ExitCode:
    """The exit code of all checks together: a FAIL first, then what prevented a verdict, then the others.

    Args:
        checks: Those that have a verdict.
        failure: The code of what prevented the next verdict; None where nothing did.
        is_strict: INCONCLUSIVE blocks.
        is_bisect: For `git bisect run`: what could not be judged is skipped, and a wrong call ends the bisection.
    """
    codes = {check.exit_code(is_strict=is_strict, is_bisect=is_bisect) for check in checks}
    if failure is not None and is_bisect:
        failure = ExitCode.BISECT_ABORT if failure is ExitCode.USAGE else ExitCode.BISECT_SKIP
    codes |= {failure} if failure is not None else set()
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.PASS)


_WORST_FIRST = (
    ExitCode.FAIL,
    ExitCode.USAGE,
    ExitCode.BISECT_ABORT,
    ExitCode.CHANGED,
    ExitCode.INFRASTRUCTURE,
    ExitCode.INCONCLUSIVE,
    ExitCode.BISECT_SKIP,
)


def to_document(outcome: Outcome) -> dict[str, Any]:
    """Plain JSON data; a number that is none, as an error of a step that raised, is null."""
    document: dict[str, Any] = to_plain(
        {
            "schema": SCHEMA,
            "verdict": outcome.verdict.value,
            "exit_code": int(outcome.exit_code),
            "error": outcome.error,
            "checks": [check.to_dict() for check in outcome.checks],
        }
    )
    return document


def render_schema() -> str:
    """docs/check.schema.json: the JSON schema of `to_document`, from the types of the domain."""
    check = TypeAdapter(Check).json_schema(ref_template="#/$defs/{model}", mode="serialization")
    definitions = {**check.pop("$defs"), "Check": check}
    verdict = {"$ref": "#/$defs/CheckVerdict"}
    for name in ("Check", "LayerResult"):
        definitions[name]["properties"]["verdict"] = verdict
    for definition in definitions.values():
        if "properties" in definition:
            definition.update(additionalProperties=False, required=sorted(definition["properties"]))
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What `tangent check --json` writes",
        "type": "object",
        "additionalProperties": False,
        "required": ["schema", "verdict", "exit_code", "error", "checks"],
        "properties": {
            "schema": {"const": SCHEMA},
            "verdict": {**verdict, "description": "The worst of the checks."},
            "exit_code": {"type": "integer", "description": "What the process returned."},
            "error": {"type": "string", "description": 'Why the next check has no verdict; "" where all have.'},
            "checks": {"type": "array", "items": {"$ref": "#/$defs/Check"}},
        },
        "$defs": definitions,
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    Path(__file__).parents[3].joinpath("docs", "check.schema.json").write_text(render_schema(), encoding="utf-8")
