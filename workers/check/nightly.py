"""Training pairs of many nights against one release, judged together: small losses cannot add up unseen.

A check of a pull request passes what is worse by less than the margin; a dozen of those may be worse by much more. A
nightly check compares with the last release instead, on seeds that no night had before, and judges all pairs since that
release by limits that hold whenever one looks (the t-mixture). A new release starts anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from service.domain.checks import Check, CheckVerdict, Finding, Layer, LayerResult
from service.domain.sequential import Decision, Plan, decide, repeated_interval
from service.domain.statistics import mean
from workers.check.endpoints import ENDPOINTS, Endpoint, percent_words
from workers.check.errors import UsageError

SCHEMA = 1
_ANYTIME = Plan((2,), is_anytime=True)


@dataclass(frozen=True)
class Night:
    """What one night added.

    Attributes:
        differences: By finding, such as "digits-mlp-train-loss": log candidate - log baseline, one for each seed.
    """

    name: str
    candidate: str
    seed: int
    created_at: str
    differences: Mapping[str, list[float]]


@dataclass(frozen=True)
class History:
    """All nights against one release.

    Attributes:
        baseline: The release's commit.
    """

    baseline: str
    nights: tuple[Night, ...] = ()
    schema: int = field(default=SCHEMA)

    def of(self, name: str) -> list[Night]:
        """The nights of one optimizer."""
        return [night for night in self.nights if night.name == name]


def read_history(path: Path, baseline: str) -> History:
    """The history in a file; an empty one where there is no file, or one of another release.

    Raises:
        UsageError: The file holds something else.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']}, not {SCHEMA}")
        found = History(document["baseline"], tuple(Night(**entry) for entry in document["nights"]))
    except FileNotFoundError:
        return History(baseline)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} holds no pairs of nightly checks ({error}); name another file") from error
    return found if found.baseline == baseline else History(baseline)


def write_history(path: Path, history: History) -> None:
    """Replace the file in one move."""
    text = json.dumps(asdict(history), indent=1, allow_nan=False) + "\n"
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def add_night(history: History, check: Check, margins: Mapping[str, float]) -> tuple[History, Check]:
    """Take a night's pairs in, and add what all nights together say to the check's training layer.

    Args:
        margins: By endpoint, on the log scale.
    """
    differences = _differences(check)
    if not differences:
        return history, check
    night = Night(check.name, check.candidate.revision, check.seed, check.created_at, differences)
    history = replace(history, nights=(*history.nights, night))
    found = tuple(
        _finding(key, endpoint, history.of(check.name), margins[endpoint.name])
        for key in differences
        for endpoint in ENDPOINTS
        if key.endswith(_slug(endpoint))
    )
    layers = tuple(
        replace(layer, findings=(*layer.findings, *found)) if layer.layer is Layer.TRAINING else layer
        for layer in check.layers
    )
    return history, replace(check, layers=layers)


def _differences(check: Check) -> dict[str, list[float]]:
    """Of the first block of each training finding: a second one is there only where the first failed."""
    layer = next((layer for layer in check.layers if layer.layer is Layer.TRAINING), LayerResult(Layer.TRAINING))
    blocks = {finding.name: finding.data["blocks"][0] for finding in layer.findings if "blocks" in finding.data}
    return {
        name: [
            math.log(after) - math.log(before)
            for before, after in zip(block["baseline"], block["candidate"], strict=True)
            if before > 0 and after > 0
        ]
        for name, block in blocks.items()
    }


def _finding(key: str, endpoint: Endpoint, nights: list[Night], margin: float) -> Finding:
    differences = [value for night in nights for value in night.differences.get(key, [])]
    decision = decide(differences, margin, _ANYTIME)
    interval = repeated_interval(differences, _ANYTIME)
    low, high = percent_words(interval.lower), percent_words(interval.upper)
    n = f"{len(nights)} night" + "s" * (len(nights) != 1)
    sentence = (
        f"{key.removesuffix(_slug(endpoint))}, {n} since the release: {endpoint.words} moves by "
        f"{percent_words(mean(differences))} (95 % at any number of nights {low} to {high}) on {len(differences)} "
        f"paired seeds: {_words(decision, percent_words(margin).lstrip('+'))}"
    )
    return Finding(
        Layer.TRAINING,
        f"nightly-{key}",
        _verdict(decision, is_behaviour=endpoint.is_behaviour),
        sentence,
        estimate=mean(differences),
        low=interval.lower,
        high=interval.upper,
        limit=margin,
        unit="log",
        data={"nights": [{**asdict(night), "differences": night.differences.get(key, [])} for night in nights]},
    )


def _verdict(decision: Decision, *, is_behaviour: bool) -> CheckVerdict:
    """Nothing decided yet is no doubt about tonight: the next nights go on."""
    if decision is Decision.WORSE:
        return CheckVerdict.CHANGED if is_behaviour else CheckVerdict.FAIL
    if decision is Decision.BETTER and is_behaviour:
        return CheckVerdict.CHANGED
    return CheckVerdict.PASS


def _words(decision: Decision, margin: str) -> str:
    return {
        Decision.EQUIVALENT: f"by less than {margin} either way",
        Decision.WORSE: "worse for certain",
        Decision.BETTER: "better for certain",
    }.get(decision, "not decided yet; the next nights add to it")


def _slug(endpoint: Endpoint) -> str:
    return "-" + endpoint.name.replace("_", "-")
