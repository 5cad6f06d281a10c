"""The check's counters, bursts and training on a GPU."""

import pytest
import torch

from workers.check.probe.burst import burst
from workers.check.probe.counters import counters
from workers.check.probe.session import maker
from workers.check.probe.train import train
from workers.check.training_data import starts

pytestmark = pytest.mark.gpu
ASKED = {"subject": "small", "steps": 4, "seed": 0, "device": "cuda"}


def test_launches_and_waits_are_counted_and_a_hidden_item_is_one_wait_a_step():
    class Peeking(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.param_groups[0]["params"][0].grad.sum().item()

    plain = counters(maker("torch.optim:SGD", {"lr": 0.1}), ASKED)
    peeking = counters(lambda params: Peeking(params, lr=0.1), ASKED)
    assert plain["waits"] == 0
    assert plain["launches"] > 0
    assert peeking["waits"] == 4
    assert peeking["launches"] > plain["launches"]
    assert peeking["reads"]["_local_scalar_dense"] == 4


def test_a_burst_is_timed_by_events():
    answer = burst(maker("torch.optim:SGD", {"lr": 0.1}), ASKED)
    assert 0 < answer["time_s"] <= answer["wall_s"]


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_a_gpu_trains_as_the_processor_does(name):
    make = maker("torch.optim:SGD", {"lr": 0.05, "momentum": 0.9})
    found = {}
    for device in ("cpu", "cuda"):
        asked = starts(name, 5, 0, 0, 2)
        found[device] = train(make, {**asked, "orders": asked["orders"][:, :8], "device": device, "overrides": {}})
    assert torch.allclose(found["cpu"]["losses"], found["cuda"]["losses"].cpu(), rtol=1e-2)
