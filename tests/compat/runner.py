"""Run jobs with one implementation, in a process of its own: `python runner.py PACKAGE FOLDER JOBS RESULTS`.

The authors' package and ours have the same name, so each gets a process whose import path starts with FOLDER.
This file imports nothing of this repository: FOLDER decides alone which `adamp` is meant.
"""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class WatchedDecisions:
    """Reads the decisions of the authors' optimizers, which do not report them.

    They ask one view's cosine after the other and stop at the first below its bound; the decay factor they
    return beside the step says whether any was.
    """

    def __init__(self, optimizer: Any) -> None:
        self._decisions: list[str] = []
        self._n_cosines = 0
        self._cosine, self._project = optimizer._cosine_similarity, optimizer._projection
        optimizer._cosine_similarity = self._count_cosine
        optimizer._projection = self._note_decision

    def take(self) -> list[str]:
        """The decisions since the last call."""
        taken, self._decisions = self._decisions, []
        return taken

    def _count_cosine(self, *args: Any) -> Any:
        self._n_cosines += 1
        return self._cosine(*args)

    def _note_decision(self, *args: Any) -> Any:
        self._n_cosines = 0
        result = self._project(*args)
        is_projected = result[1] != 1  # so no job may have wd_ratio = 1
        self._decisions.append(("channel", "layer")[self._n_cosines - 1] if is_projected else "none")
        return result


def our_decisions(optimizer: Any) -> list[str]:
    """Decisions of the last step for the parameters with two or more dimensions."""
    seen = optimizer.diagnostics()
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return [d.decision.name.lower() for d, p in zip(seen.values(), params, strict=True) if p.ndim > 1]


def run_job(package: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Take the job's steps.

    Args:
        package: Module with AdamP and SGDP.
        job: algorithm, hyper, weights, grads (per step, per parameter) and perhaps a state to load first.

    Returns:
        Weights, decisions (per step, where the implementation lets them be seen), the state; or the error.
    """
    params = [torch.nn.Parameter(weight.detach().clone()) for weight in job["weights"]]
    optimizer, decisions = None, []
    try:
        optimizer = getattr(package, job["algorithm"])(params, **job["hyper"])
        if "state" in job:
            optimizer.load_state_dict(job["state"])
        watched = WatchedDecisions(optimizer) if hasattr(optimizer, "_projection") else None
        for grads in job["grads"]:
            take_step(optimizer, params, grads)
            decisions.append(watched.take() if watched else read_decisions(optimizer))
    except Exception as error:  # noqa: BLE001 - what it raises, and when, is the finding
        return {"error": describe(error), "is_state_touched": optimizer is not None and is_touched(optimizer)}
    return {"weights": [param.detach() for param in params], "decisions": decisions, "state": optimizer.state_dict()}


def describe(error: Exception) -> str:
    """Class and the message's first clause."""
    first_clause = re.split(r"[.,;:] | \(|\n", str(error), maxsplit=1)[0]
    return f"{type(error).__name__}: {first_clause}"


def is_touched(optimizer: Any) -> bool:
    """True if any parameter has state: the error came after the step had begun to write."""
    return any(len(entry) > 0 for entry in optimizer.state.values())


def take_step(optimizer: Any, params: list[Any], grads: list[Tensor]) -> None:
    """One step with these gradients."""
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.clone()
    optimizer.step()


def read_decisions(optimizer: Any) -> list[str]:
    """Ours report them; pytorch_optimizer's do not."""
    return our_decisions(optimizer) if hasattr(optimizer, "diagnostics") else []


def main() -> None:
    """Read the jobs, run each, write the results."""
    package_name, folder, jobs_path, results_path = sys.argv[1:]
    sys.path.insert(0, folder)
    package = importlib.import_module(package_name)
    found = Path(package.__file__ or "").resolve()
    if not found.is_relative_to(Path(folder).resolve()):
        raise SystemExit(f"{package_name} was imported from {found}, not from {folder}.")
    torch.set_num_threads(1)
    jobs = torch.load(jobs_path, weights_only=True)
    torch.save({name: run_job(package, job) for name, job in jobs.items()}, results_path)


if __name__ == "__main__":
    main()
