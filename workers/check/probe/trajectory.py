"""The command "trajectory": run cases, and answer the weights after every step."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .cases import Case, case_from_json
from .gradients import Branch, branch, draw_gradients, start_weights
from .situations import Run

N_DRAWS = 20  # seeds to try until no decision is near its threshold
SEED_STRIDE = 1_000_003

Make = Callable[..., Any]


def trajectory(make_optimizer: Make, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run every case.

    Args of the command:
        cases: `Case`s as JSON.
        dtype: The weights' and gradients'.
        overrides: Constructor arguments over each case's.
        given: Per case what an earlier run answered: its start and gradients are used. Null: both are drawn, the
            gradients orthogonal (where they are) to the weights as they then are.
        branch_margin: Least relative distance of AdamP's cosines from their thresholds where gradients are drawn.
        optimizer, optimizer_arguments: Another optimizer than the side's, by name, with its complete arguments.

    Returns:
        results: Per case what `run_case` returns, or {"raised": the exception's class, "sentence"}.
    """
    make, dtype = maker_of(make_optimizer, arguments), getattr(torch, arguments["dtype"])
    cases = [case_from_json(document) for document in arguments["cases"]]
    given = arguments.get("given") or [None] * len(cases)
    overrides, margin = arguments.get("overrides") or {}, arguments.get("branch_margin", 0.0)
    results = []
    for case, former in zip(cases, given, strict=True):
        with own_random_state():
            results.append(_attempt(with_overrides(make, {**case.arguments, **overrides}), case, dtype, former, margin))
    return {"results": results}


def maker_of(make_optimizer: Make, arguments: dict[str, Any]) -> Make:
    """What makes the optimizer that `arguments` name; the side's own where they name none."""
    if not arguments.get("optimizer"):
        return make_optimizer
    from .session import maker  # which imports the commands

    return maker(arguments["optimizer"], arguments["optimizer_arguments"])


def with_overrides(make: Make, overrides: dict[str, Any]) -> Make:
    """`make` with further constructor arguments."""
    return lambda params, **more: make(params, **{**overrides, **more})


@contextlib.contextmanager
def own_random_state() -> Iterator[None]:
    """An optimizer may draw random numbers: every case begins at the same state."""
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)


def _attempt(
    make: Make, case: Case, dtype: torch.dtype, given: dict[str, Tensor] | None, margin: float
) -> dict[str, Any]:
    try:
        if given is not None:
            return run_case(make, case, dtype, given)
        for attempt in range(N_DRAWS):
            drawn = dataclasses.replace(case, seed=case.seed + SEED_STRIDE * attempt)
            result = run_case(make, drawn, dtype)
            if result["margin"] >= margin:
                break
        return result
    except Exception as error:  # noqa: BLE001 — what a side's optimizer raises is a result
        cause = error.__cause__ or error
        return {"raised": type(cause).__name__, "sentence": f"{type(cause).__name__}: {cause}"[:500]}


def run_case(make: Make, case: Case, dtype: torch.dtype, given: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """One trajectory.

    Returns:
        weights: float64, (steps + 1, elements of all tensors); of a large case only the first and the last.
        gradients: (steps, elements), those of a tensor that was not given one included.
        views: int64, (steps, tensors), what AdamP's rule decides; zeros for other optimizers; empty where the
            gradients were given.
        margin: The least relative distance of such a decision from its threshold; likewise 0.
        has_moved_gradients: Whether a step changed a gradient.
        returned: Per step: see `Run`.
    """
    start = _split(given["weights"][0], case) if given is not None else start_weights(case)
    run = Run(make, case, [weight.to(dtype) for weight in start])
    weights, gradients, branches = [run.weights], [], []
    for step in range(case.steps):
        before = _split(weights[-1], case)
        if given is not None:
            grads = _split(given["gradients"][step].double(), case)
        else:
            grads = draw_gradients(case, step, before, run.first_group)
            branches.append([_branch(run, i, step, g, w) for i, (g, w) in enumerate(zip(grads, before, strict=True))])
        run.step(step, [grad.to(dtype) for grad in grads])
        weights.append(run.weights)
        gradients.append(torch.cat([grad.reshape(-1) for grad in grads]))
    return {
        "weights": torch.stack(weights[:: case.steps] if case.situation == "large" else weights),
        "gradients": _narrow(torch.stack(gradients)),
        "views": torch.tensor([[branch.view for branch in row] for row in branches]),
        "margin": min((branch.margin for row in branches for branch in row), default=0.0),
        "has_moved_gradients": run.has_moved_gradients,
        "returned": run.returned,
    }


def _narrow(gradients: Tensor) -> Tensor:
    """In float32 where that changes nothing: they are sent back and forth."""
    return gradients.float() if torch.equal(gradients.float().double(), gradients) else gradients


def _branch(run: Run, i: int, step: int, grad: Tensor, weight: Tensor) -> Branch:
    group = run.group_of(i)
    if group is None or not run.has_gradient(i, step) or not {"delta", "wd_ratio"} <= set(group):
        return Branch(0, 1e9)
    return branch(grad, weight, group)


def _split(flat: Tensor, case: Case) -> list[Tensor]:
    parts = torch.split(flat, case.sizes)
    return [part.reshape(shape) for part, shape in zip(parts, case.shapes, strict=True)]
