"""Whether somebody said that the optimizer is meant to behave otherwise than before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.domain.checks import CheckVerdict, Finding, LayerResult
from workers.check.git import Repository
from workers.check.interface import NAME
from workers.check.sources import Given

VALUE = "behaviour-change"
"""Value of the commit trailer "Tangent-Check", and name of the label."""


def acknowledged_by(
    baseline: Given, candidate: Given, repository: Repository | None, *, flag: bool, event: Path | None
) -> str:
    """How a change of behaviour was acknowledged: "flag", "commit trailer", "label", or "" where it was not.

    Args:
        repository: Where both sides are refs of it.
        flag: That of the command line.
        event: GitHub's event file; a pull request's labels stand in it.
    """
    if flag:
        return "flag"
    if repository is not None and baseline.is_git and candidate.is_git:
        first, last = (
            repository.commit_of("HEAD" if side.text == "." else side.text) for side in (baseline, candidate)
        )
        if VALUE in repository.trailers(first, last):
            return "commit trailer"
    return "label" if event is not None and VALUE in _labels(event) else ""


def with_acknowledgement(result: LayerResult) -> LayerResult:
    """A layer, after an acknowledged change: that trajectories or interface are not the baseline's is then no failure.

    Properties and equivalences must hold however the optimizer behaves.
    """
    return replace(result, findings=tuple(map(_as_change, result.findings)))


def _as_change(finding: Finding) -> Finding:
    is_change = ("-trajectories" in finding.name or finding.name == NAME) and finding.verdict is CheckVerdict.FAIL
    return replace(finding, verdict=CheckVerdict.CHANGED) if is_change else finding


def _labels(event: Path) -> list[str]:
    try:
        document: Any = json.loads(event.read_text(encoding="utf-8"))
        return [str(label["name"]) for label in document["pull_request"]["labels"]]
    except (OSError, ValueError, KeyError, TypeError):  # another kind of event
        return []
