"""What a check says: layers, findings, verdict and exit code; pure data, the same on a terminal, in JSON and on a page.

A check compares a candidate optimizer's code with a baseline's in three layers, the cheapest first: numerics; speed and
memory; training. It stops as soon as it is decided, and what was skipped says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

SCHEMA = 1
_COMMIT, _SHORT = re.compile("[0-9a-f]{40}"), 12


class Layer(StrEnum):
    """The layers in the order in which they run."""

    NUMERICS = "numerics"
    SPEED = "speed"
    TRAINING = "training"


class CheckVerdict(StrEnum):
    """What a finding, a layer or a check came to."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    CHANGED = "CHANGED"  # behaves otherwise than the baseline, and nobody has acknowledged it
    SKIPPED = "SKIPPED"


class ExitCode(IntEnum):
    """What `tangent check` returns to its caller."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INFRASTRUCTURE = 4
    CHANGED = 5
    BISECT_SKIP = 125
    BISECT_ABORT = 128  # a wrong call: `git bisect run` stops at any code from 128


_WORST_FIRST = (CheckVerdict.FAIL, CheckVerdict.CHANGED, CheckVerdict.INCONCLUSIVE, CheckVerdict.PASS)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Stable name, such as "golden", "delta-zero-is-adamw", "aten-operators", "step-time", "train-loss".
        sentence: What was found, with value and limit; the first thing that a person reads.
        estimate: With `low`, `high` (95 %, where there is an interval) and `limit`, in `unit`.
        explanation: Why it failed: which factors of a grid do; "" where it passed.
        script: A standalone Python program of at most 15 lines that shows the failure; "" where there is none.
        command: The command line, with its seed, that repeats this finding.
        data: Raw values, from which the finding can be recomputed.
    """

    layer: Layer
    name: str
    verdict: CheckVerdict
    sentence: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    unit: str = ""
    explanation: str = ""
    script: str = ""
    command: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerResult:
    """One layer's findings.

    Attributes:
        reason: Why the layer was skipped or stopped early; "" where it ran to its end.
        duration_s: Wall seconds.
    """

    layer: Layer
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    duration_s: float = 0.0

    @property
    def verdict(self) -> CheckVerdict:
        """The worst of the findings; SKIPPED where there are none."""
        return worst(finding.verdict for finding in self.findings)


@dataclass(frozen=True)
class Side:
    """One of the two codes.

    Attributes:
        given: What the user named, such as "main", "tangent-adamp==1.2.0" or "torch.optim:AdamW".
        optimizer: "package:Class".
        revision: Commit id or installed version; "dirty" is appended where files differ from the commit.
        versions: Python, torch and what else was recorded of its environment.
    """

    given: str
    optimizer: str
    revision: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """As it was named, with its revision where that says more; a commit's id by its first 12 digits."""
        given = "the working tree" if self.given == "." else self.given
        commit = _COMMIT.fullmatch(self.revision)
        revision = self.revision[:_SHORT] if commit else self.revision
        if commit and self.revision.startswith(given):
            return revision
        return given if not revision or given.endswith(revision) else f"{given} ({revision})"


@dataclass(frozen=True)
class Check:
    """The report of a check.

    Attributes:
        name: Of the configuration, such as "adamp"; checks of one name form a history.
        acknowledged: How a change of behaviour was acknowledged ("flag", "commit trailer", "label"), or "".
        created_at: ISO 8601 with its offset.
    """

    name: str
    baseline: Side
    candidate: Side
    layers: tuple[LayerResult, ...]
    seed: int
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    acknowledged: str
    created_at: str
    duration_s: float
    schema: int = SCHEMA

    @property
    def verdict(self) -> CheckVerdict:
        """The worst layer's; a change of behaviour that was acknowledged counts as PASS."""
        found = [layer.verdict for layer in self.layers]
        if self.acknowledged:
            found = [CheckVerdict.PASS if verdict is CheckVerdict.CHANGED else verdict for verdict in found]
        return worst(found)

    def exit_code(self, *, is_strict: bool = False, is_bisect: bool = False) -> ExitCode:
        """The process's exit code; INCONCLUSIVE blocks only where `is_strict`."""
        if self.verdict is CheckVerdict.INCONCLUSIVE:
            return ExitCode.BISECT_SKIP if is_bisect else ExitCode.INCONCLUSIVE if is_strict else ExitCode.PASS
        return {
            CheckVerdict.FAIL: ExitCode.FAIL,
            CheckVerdict.CHANGED: ExitCode.CHANGED,
        }.get(self.verdict, ExitCode.PASS)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, with the verdicts written out."""
        document = asdict(self)
        document["verdict"] = self.verdict.value
        for entry, layer in zip(document["layers"], self.layers, strict=True):
            entry["verdict"] = layer.verdict.value
        return document


def worst(verdicts: Iterable[CheckVerdict]) -> CheckVerdict:
    """FAIL before CHANGED before INCONCLUSIVE before PASS; SKIPPED where there is nothing else."""
    found = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), CheckVerdict.SKIPPED)


def check_from_dict(document: Mapping[str, Any]) -> Check:
    """Read what `Check.to_dict` wrote; verdicts are recomputed, not believed.

    Raises:
        KeyError, TypeError, ValueError: The document is not one.
    """
    fields = {
        key: value for key, value in document.items() if key not in ("verdict", "layers", "baseline", "candidate")
    }
    return Check(
        **fields,
        baseline=Side(**document["baseline"]),
        candidate=Side(**document["candidate"]),
        layers=tuple(_layer_from_dict(entry) for entry in document["layers"]),
    )


def _layer_from_dict(document: Mapping[str, Any]) -> LayerResult:
    findings: Sequence[Mapping[str, Any]] = document["findings"]
    return LayerResult(
        layer=Layer(document["layer"]),
        findings=tuple(
            Finding(**{**entry, "layer": Layer(entry["layer"]), "verdict": CheckVerdict(entry["verdict"])})
            for entry in findings
        ),
        reason=document["reason"],
        duration_s=document["duration_s"],
    )
