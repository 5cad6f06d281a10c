"""What an optimizer shows besides its trajectories, compared: arguments, refusals, groups, state, loading, copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from service.domain.checks import CheckVerdict, Finding, Layer
from workers.check.client import Probe
from workers.check.config import CheckConfig
from workers.check.diagnosis import CALL_TIMEOUT_S
from workers.check.grid import points
from workers.check.probe.bench import ABSENT

NAME = "interface"
_SAYS = " says"
_SHOWN, _KEPT = 6, 50
_WIDTH = 160
Leaves = Mapping[str, Any]


def compare_interface(baseline: Probe, candidate: Probe, config: CheckConfig, *, with_numbers: bool = True) -> Finding:
    """Observe both sides and name what differs.

    Only words of refusals: CHANGED, which may be acknowledged. Anything else: FAIL. What the baseline does not
    reproduce itself somewhere is left out everywhere.

    Args:
        with_numbers: Compare computed numbers too; not where trajectories differ, which says it better.

    Raises:
        ProbeError: A side crashed or hung.
    """
    if baseline.side.optimizer != candidate.side.optimizer:
        sentence = f"not compared: {candidate.side.optimizer} is another optimizer than {baseline.side.optimizer}"
        return Finding(Layer.NUMERICS, NAME, CheckVerdict.SKIPPED, sentence)
    request = request_of(config)
    expected, found = (side.call(NAME, timeout_s=CALL_TIMEOUT_S, **request)["leaves"] for side in (baseline, candidate))
    with_words = baseline.description.get("torch") == candidate.description.get("torch")
    different = differences(expected, found, with_words=with_words, with_numbers=with_numbers)
    if different:
        again = baseline.call(NAME, timeout_s=CALL_TIMEOUT_S, **request)["leaves"]
        # By name: two runs of a random optimizer agree here and there by accident.
        restless = {_last_name(path) for path in differences(expected, again)}
        different = [path for path in different if _last_name(path) not in restless]
    return _finding(expected, found, different)


def differences(expected: Leaves, found: Leaves, *, with_words: bool = True, with_numbers: bool = True) -> list[str]:
    """Paths of the leaves that differ, in the order of `expected`, then those that only `found` has.

    Args:
        expected: Of the baseline; what the candidate answers for a method that it has not may be anything.
        found: Of the candidate.
        with_words: Compare the words of refusals too.
        with_numbers: Compare numbers that were computed too.
    """
    absent = tuple(path for path, leaf in expected.items() if isinstance(leaf, str) and ABSENT in leaf)
    paths = [*expected, *(path for path in found if path not in expected)]
    return [
        path
        for path in paths
        if (with_words or not path.endswith(_SAYS))
        and (with_numbers or not _are_numbers(expected.get(path), found.get(path)))
        and not _are_equal(expected.get(path), found.get(path))
        and not path.startswith(absent)
    ]


def request_of(config: CheckConfig) -> dict[str, Any]:
    """What the probe's command is asked for a configuration."""
    settings = [*points(config), *config.extras]
    return {"variants": [{}, *config.variants], "settings": settings, "methods": list(config.methods)}


def _last_name(path: str) -> str:
    """Such as "exp_avg", of whichever parameter and after whichever observation."""
    return path.rpartition(".")[2]


def _are_numbers(expected: Any, found: Any) -> bool:
    return isinstance(expected, Mapping) and isinstance(found, Mapping)


def _are_equal(expected: Any, found: Any) -> bool:
    if isinstance(expected, str) or isinstance(found, str) or expected is None or found is None:
        return bool(expected == found)
    if "tensor" in expected and "tensor" in found:
        return _tensors_agree(expected["tensor"], found["tensor"], expected["within"])
    if "numbers" in expected and "numbers" in found:
        return _numbers_agree(expected["numbers"], found["numbers"], expected["within"])
    return False


def _tensors_agree(expected: Tensor, found: Tensor, within: float) -> bool:
    """Up to `within` of the norm; what is not finite stands at the same places.

    Whether it is an infinity or a NaN may depend on the order of roundings.
    """
    if expected.shape != found.shape or not torch.equal(expected.isfinite(), found.isfinite()):
        return False
    size, distance = expected[expected.isfinite()], (found - expected)[expected.isfinite()]
    scale = size.abs().max().item() if size.numel() else 0.0
    if scale == 0:
        return bool((distance == 0).all())
    # By the largest element first: squares of 1e200 are infinite.
    return bool((distance / scale).norm() <= within * (size / scale).norm())


def _numbers_agree(expected: Sequence[float], found: Sequence[float], within: float) -> bool:
    if len(expected) != len(found):
        return False
    a, b = (torch.tensor(numbers, dtype=torch.float64) for numbers in (expected, found))
    limits = within * torch.maximum(a.abs(), b.abs()).clamp_min(1.0)
    is_near = ((a - b).abs() <= limits) & limits.isfinite()
    return bool((is_near | (a == b) | (a.isnan() & b.isnan())).all())


def _finding(expected: Leaves, found: Leaves, different: Sequence[str]) -> Finding:
    harms = [path for path in different if not path.endswith(_SAYS)]
    sentence = f"{len(expected)} observations of arguments, refusals, groups, state, loading and copies are as before"
    verdict, told = CheckVerdict.PASS, different
    if harms:
        verdict, told = CheckVerdict.FAIL, harms
        sentence = f"{len(harms)} of {len(expected)} observations differ, such as: {harms[0]}"
    elif different:
        verdict = CheckVerdict.CHANGED
        sentence = f"{len(different)} refusals are worded otherwise, such as: {different[0].removesuffix(_SAYS)}"
    pairs = [(path, _words(expected.get(path)), _words(found.get(path))) for path in told]
    lines = [f"{path}: {after}; the baseline: {before}" for path, before, after in pairs[:_SHOWN]]
    more = [f"and {len(pairs) - _SHOWN} more"] if len(pairs) > _SHOWN else []
    data = {"differences": pairs[:_KEPT], "n_differences": len(different), "n_observations": len(expected)}
    return Finding(Layer.NUMERICS, NAME, verdict, sentence, explanation="\n".join([*lines, *more]), data=data)


def _words(leaf: Any) -> str:
    if leaf is None:
        return "nothing"
    if isinstance(leaf, str):
        return leaf if len(leaf) <= _WIDTH else f"{leaf[:_WIDTH]}..."
    numbers = leaf["tensor"].tolist() if "tensor" in leaf else leaf["numbers"]
    shown = ", ".join(f"{number:.6g}" for number in numbers[:4])
    return f"[{shown}{', ...' if len(numbers) > 4 else ''}]"
