"""Trajectories recorded from the authors' package 0.3.0 (numbers only), repeated by ours."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import adamp

GOLDENS = sorted((Path(__file__).parent / "golden").glob("*.json"))
every_golden = pytest.mark.parametrize(
    "golden", [json.loads(path.read_text()) for path in GOLDENS], ids=lambda g: g["case"]
)


def make(golden, weights):
    params = [torch.nn.Parameter(torch.tensor(weight, dtype=torch.float64)) for weight in weights]
    return params, getattr(adamp, golden["algorithm"])(params, **golden["hyper"])


def advance(params, optimizer, steps):
    """Take the recorded gradients; returns the decisions as the recording has them."""
    decisions = []
    for grads in steps:
        for param, grad in zip(params, grads, strict=True):
            param.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        seen = zip(optimizer.diagnostics().values(), params, strict=True)
        decisions.append([d.decision.name.lower() for d, p in seen if p.ndim > 1])
    return decisions


def assert_equal(params, expected):
    for param, weight in zip(params, expected, strict=True):
        assert np.allclose(param.detach().numpy(), weight, rtol=0, atol=1e-13)


def test_there_are_goldens_of_both_algorithms():
    algorithms = [json.loads(path.read_text())["algorithm"] for path in GOLDENS]
    assert min(algorithms.count("AdamP"), algorithms.count("SGDP")) >= 2


@every_golden
def test_ours_repeats_the_recorded_trajectory(golden):
    params, optimizer = make(golden, golden["weights"])
    half = len(golden["grads"]) // 2
    decisions = advance(params, optimizer, golden["grads"][:half])
    assert_equal(params, golden["middle"]["weights"])
    decisions += advance(params, optimizer, golden["grads"][half:])
    assert_equal(params, golden["end"])
    assert decisions == golden["decisions"]
    assert {"channel", "layer", "none"} == {view for step in decisions for view in step}


@every_golden
def test_ours_continues_the_recorded_checkpoint(golden):
    middle = golden["middle"]
    params, optimizer = make(golden, middle["weights"])
    state = {int(key): {k: as_saved(v) for k, v in entry.items()} for key, entry in middle["state"].items()}
    optimizer.load_state_dict({"state": state, "param_groups": middle["param_groups"]})
    advance(params, optimizer, golden["grads"][len(golden["grads"]) // 2 :])
    assert_equal(params, golden["end"])


def as_saved(value):
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value
