"""`tangent reproduce`: fetch a trial, have `python -m workers.reproduce` run it again here, and say what came out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from service.client import Client
from service.errors import TangentError

_MODULE = "workers.reproduce"
_CANNOT_RUN = 4


def reproduce(client: Client, study_id: int, number: int, tolerance: float) -> tuple[dict[str, Any], int]:
    """Run a trial again on this machine.

    Returns:
        The comparison (`reproduction`) with what was measured (`result`), and the exit code: 0 reproduced, 1 not.

    Raises:
        TangentError: The trial has not ended, or cannot run here.
    """
    study, trial = client.show(study_id), client.trial(study_id, number)
    document = json.dumps(run_document(study, trial, tolerance))
    done = subprocess.run(
        [sys.executable, "-m", _MODULE], input=document, stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise TangentError(f"{_MODULE} ended with code {done.returncode} and no answer; see above") from None
    if done.returncode == _CANNOT_RUN or "error" in answer:
        raise TangentError(f"trial {number} of study {study_id} cannot run here: {answer.get('error')}")
    return answer, done.returncode


def run_document(study: Mapping[str, Any], trial: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    """What the child needs: the run as the slot had it, and what the ledger has of it.

    Args:
        study: The study as the API shows it.
        trial: The trial, with attempts and measurements.
        tolerance: On the log of the endpoint.

    Raises:
        TangentError: The trial has no result to compare with.
    """
    if trial["outcome"] not in ("finished", "diverged", "pruned"):
        state = trial["outcome"] or str(trial["state"]).lower()
        raise TangentError(f"trial {trial['number']} has no result to reproduce: it is {state}")
    spec, device = study["spec"], str(study["spec"]["device"])
    ended = [attempt for attempt in trial["attempts"] if attempt["outcome"] == trial["outcome"]]
    run = {
        "workload": spec["workload"]["name"],
        "options": spec["workload"]["options"],
        "optimizer": trial["optimizer"],
        "params": trial["params"],
        "seed": trial["seed"],
        "device": device.split(":")[0],
        "reads_test_set": trial["phase"] == "confirm",
    }
    stored = {
        "outcome": trial["outcome"],
        "value": trial["value"],
        "test_value": trial["test_value"],
        "epochs": {str(entry["epoch"]): entry["value"] for entry in trial["measurements"]},
        "environment": (ended[-1]["environment"] if ended else None) or {},
        "content_key": trial["content_key"] if device == "cpu" else None,  # a GPU's key names its model
    }
    pruned_at = trial["prune_decision"]["epoch"] if trial["outcome"] == "pruned" else None
    return {"run": run, "device_class": device, "stored": stored, "pruned_at": pruned_at, "tolerance": tolerance}
