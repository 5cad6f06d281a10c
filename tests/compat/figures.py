"""From results to the figures that docs/compat holds."""

import math
from typing import Any

import numpy as np
from torch import Tensor

from tests.compat.jobs import Trajectory

NEAR = 1e-4  # a cosine this close to its bound, relatively, may fall on either side by rounding


def relative_error(trajectory: Trajectory, weights: list[Tensor]) -> float:
    """Largest deviation from the float64 reference over the tensors, relative to the tensor's displacement."""
    return max(
        float(np.abs(weight.double().numpy() - reference).max() / np.abs(reference - start).max())
        for weight, reference, start in zip(weights, trajectory.reference, trajectory.start, strict=True)
    )


def trajectory_row(
    name: str, dtype: str, trajectories: list[Trajectory], results: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """Errors and decisions of one case, over its seeds: the mean of their largest errors, and the largest."""
    errors = {
        who: [relative_error(t, r["weights"]) for t, r in zip(trajectories, of_one, strict=True)]
        for who, of_one in results.items()
    }
    mean = {who: rounded(sum(of_one) / len(of_one)) for who, of_one in errors.items()}
    worst = {who: rounded(max(of_one)) for who, of_one in errors.items()}
    seen = zip(trajectories, results["ours"], results["ours_plain"], results["theirs"], strict=True)
    counts = [count_decisions(*of_one) for of_one in seen]
    n_steps = len(trajectories[0].job["grads"])
    totals = {key: sum(count[key] for count in counts) for key in counts[0]}
    row = {"case": name, "dtype": dtype.removeprefix("torch."), "n_steps": n_steps, "n_seeds": len(trajectories)}
    return {**row, "error": mean, "worst": worst, "decisions": totals}


def count_decisions(
    trajectory: Trajectory, ours: dict[str, Any], plain: dict[str, Any], theirs: dict[str, Any]
) -> dict[str, int]:
    """How many decisions there were by view, how many near a bound, and how many differ away from one."""
    names = ("ours_differ", "ours_plain_differ", "theirs_differ")
    counts = dict.fromkeys(("channel", "layer", "none", "near", *names), 0)
    columns = (trajectory.margins, trajectory.decisions, *(result["decisions"] for result in (ours, plain, theirs)))
    for margin, expected, *taken in zip(*map(flatten, columns), strict=True):
        counts[expected] += 1
        counts["near"] += margin <= NEAR
        for name, decision in zip(names, taken, strict=True):
            counts[name] += margin > NEAR and decision != expected
    return counts


def flatten(rows: list[list[Any]]) -> list[Any]:
    """One list of all."""
    return [entry for row in rows for entry in row]


def checkpoint_row(name: str, dtype: str, trajectory: Trajectory, ends: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Both continuations against the reference's whole run, and against one another."""
    theirs = [weight.double().numpy() for weight in ends["theirs"]["weights"]]
    apart = relative_error(replace_reference(trajectory, theirs), ends["ours"]["weights"])
    errors = {f"{who}_error": rounded(relative_error(trajectory, end["weights"])) for who, end in ends.items()}
    return {"case": name, "dtype": dtype.removeprefix("torch."), **errors, "apart": rounded(apart)}


def replace_reference(trajectory: Trajectory, weights: list[np.ndarray]) -> Trajectory:
    """Measure against `weights`."""
    return Trajectory(trajectory.job, trajectory.start, weights, trajectory.decisions, trajectory.margins)


def outcome(result: dict[str, Any]) -> str:
    """One phrase about a probe."""
    if "error" in result:
        when = "after state was written" if result["is_state_touched"] else "before anything changed"
        return f"{result['error']} ({when})"
    is_finite = all(bool(weight.isfinite().all()) for weight in result["weights"])
    return "takes the step" if is_finite else "weights infinite or NaN after one step"


def golden(name: str, trajectory: Trajectory, middle: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    """A recorded trajectory as plain numbers; float64 survives JSON exactly."""
    job = trajectory.job
    return {
        "case": name,
        "algorithm": job["algorithm"],
        "hyper": job["hyper"],
        "weights": [weight.tolist() for weight in job["weights"]],
        "grads": [[grad.tolist() for grad in grads] for grads in job["grads"]],
        "decisions": [*middle["decisions"], *end["decisions"]],
        "middle": {
            "weights": [weight.tolist() for weight in middle["weights"]],
            "state": {str(key): to_plain(entry) for key, entry in middle["state"]["state"].items()},
            "param_groups": middle["state"]["param_groups"],
        },
        "end": [weight.tolist() for weight in end["weights"]],
    }


def to_plain(entry: dict[str, Any]) -> dict[str, Any]:
    """Tensors as lists."""
    return {key: value.tolist() if isinstance(value, Tensor) else value for key, value in entry.items()}


def rounded(value: float) -> float:
    """Three digits: the figures are for reading."""
    return float(f"{value:.3g}") if math.isfinite(value) else value
