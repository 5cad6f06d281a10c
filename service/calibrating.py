"""`tangent plan --calibrate`: have `python -m workers.calibrate` time a training of every arm here, and use that."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from service.domain.cost import total_s
from service.domain.seeds import training_seed
from service.domain.space import Dimension, space_from_dict
from service.domain.study import Study
from service.domain.trial import Phase
from service.errors import TangentError

_MODULE = "workers.calibrate"
TOTAL_S = 60.0
LEAST_S = 5.0
"""Seconds of all calibrating trainings together, and the least of one of them."""


def calibrated(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The API's validation of a study file with its times measured on this machine, one training after the other.

    Args:
        answer: With `spec` and `cost`.

    Returns:
        The same with `cost.device_s`, `cost.wall_s` and `cost.n_measured` anew, and `cost.calibration`: seconds of a
        training by arm.

    Raises:
        TangentError: The trainings cannot run here.
    """
    spec, cost = answer["spec"], dict(answer["cost"])
    found = _measured(calibration_document(spec))
    run_s = {str(entry["arm"]): float(entry["run_s"]) for entry in found}
    mean_s = sum(run_s.values()) / len(run_s)
    cost["device_s"] = total_s(Study.from_dict(spec), mean_s)
    cost["wall_s"] = cost["device_s"] / cost["n_slots"] if cost["n_slots"] else None
    return {**answer, "cost": {**cost, "run_s": mean_s, "n_measured": len(found), "calibration": run_s}}


def calibration_document(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the child needs: a run of every arm in the middle of its ranges, on the calibration's own seed."""
    arms = spec["arms"]
    common = {
        "workload": spec["workload"]["name"],
        "options": spec["workload"]["options"],
        "seed": training_seed(spec["seed"], 0, Phase.CALIBRATE, 0),
        "device": str(spec["device"]).split(":")[0],
    }
    runs = [{"arm": a["name"], "optimizer": a["optimizer"], "params": _middle(a["search"]), **common} for a in arms]
    return {"runs": runs, "most_s": max(LEAST_S, TOTAL_S / len(arms))}


def _middle(search: Mapping[str, Any]) -> dict[str, Any]:
    space = space_from_dict(search)
    return {name: entry.at(0.5) if isinstance(entry, Dimension) else entry for name, entry in space.items()}


def _measured(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", _MODULE]
    done = subprocess.run(command, input=json.dumps(document), stdout=subprocess.PIPE, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise TangentError(f"{_MODULE} ended with code {done.returncode} and no answer; see above") from None
    if "error" in answer:
        raise TangentError(f"the study's trainings cannot run on this machine, to be timed: {answer['error']}")
    return list(answer["runs"])
