"""The command "properties": what must hold of one optimizer by itself."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from .cases import Case, case_from_json
from .gradients import other_dims
from .trajectory import run_case, with_overrides

Make = Callable[..., Any]

TANGENT_LIMIT = 1e-6  # eps beside the weight's norm leaves 1e-7


def properties(make_optimizer: Make, arguments: dict[str, Any]) -> dict[str, Any]:
    """Try every property.

    Args of the command:
        names: Keys of BUILT_IN, or `module:function` or `path/file.py:function`; such a function is called with
            `make_optimizer` and returns nothing, True or "" where the property holds, else a sentence; it may assert.
        cases: `Case`s as JSON, which the built-in ones run.
        overrides: Constructor arguments.

    Returns:
        failures: By name, "" where the property holds, else the sentence.
        sizes: By name, [largest deviation, its limit] of the built-in ones.
    """
    make = with_overrides(make_optimizer, arguments.get("overrides") or {})
    cases = [case_from_json(document) for document in arguments["cases"]]
    failures, sizes = {}, {}
    for name in arguments["names"]:
        if name in BUILT_IN:
            deviation, limit = BUILT_IN[name](make, cases)
            sizes[name] = [deviation, limit]
            failures[name] = "" if deviation <= limit else f"it deviates by {deviation:.2g}, over {limit:.2g}"
        else:
            failures[name] = _ask(name, make)
    return {"failures": failures, "sizes": sizes}


def _ask(name: str, make: Make) -> str:
    from .session import load_object  # which imports the commands

    try:
        answer = load_object(name)(make)
    except AssertionError as error:
        return f"it asserts: {error}" if str(error) else "an assertion of it fails"
    except Exception as error:  # noqa: BLE001 — a property is the user's code
        return f"{type(error).__name__}: {error}"
    return "" if answer in (None, True, "") else str(answer or "it returned False")


def projected_step_is_orthogonal(make: Make, cases: list[Case]) -> tuple[float, float]:
    """Largest |cos| of a projected step and the weight before it, without weight decay; and the limit."""
    largest = 0.0
    without_decay = with_overrides(make, {"weight_decay": 0.0})
    for case in cases:
        kept = {key: value for key, value in case.arguments.items() if key != "weight_decay"}
        run = run_case(with_overrides(without_decay, kept), dataclasses.replace(case, arguments=kept), torch.float64)
        for i, shape in enumerate(case.shapes):
            weights = torch.split(run["weights"], case.sizes, dim=1)[i].reshape(-1, *shape)
            for step, view in enumerate(run["views"][:, i].tolist()):
                if view:
                    channel_dim = case.arguments.get("channel_dim", 0)
                    dims = other_dims(weights[0], channel_dim) if view == 1 else tuple(range(len(shape)))
                    largest = max(largest, _cos(weights[step + 1] - weights[step], weights[step], dims))
    return largest, TANGENT_LIMIT


def _cos(a: torch.Tensor, b: torch.Tensor, dims: tuple[int, ...]) -> float:
    norms = a.square().sum(dims).sqrt() * b.square().sum(dims).sqrt()
    return float(((a * b).sum(dims).abs() / norms.clamp_min(1e-300)).max())


BUILT_IN: dict[str, Callable[[Make, list[Case]], tuple[float, float]]] = {
    "projected-step-is-orthogonal": projected_step_is_orthogonal,
}
