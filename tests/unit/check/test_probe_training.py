"""Many seeds in one process: the networks against torch's modules, the runs against plain loops."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import adamp
from workers.check.errors import UsageError
from workers.check.probe.networks import NETWORKS
from workers.check.probe.session import maker
from workers.check.probe.train import train
from workers.check.training_data import N_STEPS, N_VALIDATION, starts

PLANTED = Path(__file__).with_name("planted.py")
ARGUMENTS = {"lr": 0.05, "momentum": 0.9}


class Pooled(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def plain(name):
    """The network as torch's modules; parameters come in the same order."""
    if name == "digits-mlp":
        return nn.Sequential(
            *(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU()),
            *(nn.Linear(64, 64, bias=False), nn.LayerNorm(64), nn.ReLU()),
            *(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, 2, padding=1, bias=False), nn.GroupNorm(1, 16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, 2, padding=1), nn.ReLU(), Pooled(), nn.Linear(16, 10)),
    )


def with_weights(name, weights, k):
    model = plain(name)
    with torch.no_grad():
        for parameter, stacked in zip(model.parameters(), weights, strict=True):
            parameter.copy_(stacked[k])
    return model


def start(name="digits-mlp", n_seeds=3, n_steps=12, **words):
    arguments = starts(name, 5, words.pop("block", 0), words.pop("first", 0), n_seeds)
    return {**arguments, "orders": arguments["orders"][:, :n_steps], "device": "cpu", "overrides": {}, **words}


def run(optimizer="torch.optim:SGD", **words):
    return train(maker(optimizer, ARGUMENTS), start(**words))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_stacked_network_is_torchs_modules_seed_by_seed(name):
    weights = [
        tensor.double() + 0.05 * torch.randn(tensor.shape, dtype=torch.float64)
        for tensor in start(name)["weights"].values()
    ]
    images = torch.randn(3, 16, 64, dtype=torch.float64)
    logits = NETWORKS[name].forward(weights, images)
    for k in range(3):
        expected = with_weights(name, weights, k).double()
        with torch.no_grad():
            for parameter, stacked in zip(expected.parameters(), weights, strict=True):
                parameter.copy_(stacked[k])
            assert torch.allclose(logits[k], expected(images[k]), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_trains_as_it_would_alone_in_a_plain_loop(name):
    asked = start(name, n_steps=6)
    weights = [tensor.clone() for tensor in asked["weights"].values()]
    found = train(maker("torch.optim:SGD", ARGUMENTS), asked)
    images, labels = asked["images"].float() / 16, asked["labels"].long()
    for k in range(3):
        model, losses = with_weights(name, weights, k), []
        optimizer = torch.optim.SGD(model.parameters(), **ARGUMENTS)
        for step, batch in enumerate(asked["orders"][k].long()):
            optimizer.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / 6))
            optimizer.zero_grad()
            loss = cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert found["losses"][k].tolist() == pytest.approx(losses, rel=1e-4)
        right = asked["validation"][k].long()
        with torch.no_grad():
            logits = model.train()(images[right])
        assert found["validation_losses"][k].item() == pytest.approx(
            cross_entropy(logits, labels[right]).item(), rel=1e-3
        )
        assert found["validation_accuracies"][k].item() == pytest.approx(
            (logits.argmax(1) == labels[right]).float().mean().item(), abs=0.01
        )


def test_runs_repeat_to_the_bit_and_weights_that_differ_have_other_digests():
    first, second = run(), run()
    assert torch.equal(first["losses"], second["losses"])
    assert first["digests"] == second["digests"]
    assert len(set(first["digests"])) == 3


def test_one_seed_that_diverges_leaves_the_others_alone():
    asked = start()
    for tensor in asked["weights"].values():
        tensor[1] = math.nan
    found = train(maker("torch.optim:SGD", ARGUMENTS), asked)
    assert torch.allclose(found["losses"][[0, 2]], run()["losses"][[0, 2]])
    assert found["losses"][1].isnan().all()


@pytest.mark.parametrize("name", ["Rebinding", "Strict"])
def test_an_optimizer_with_unusual_habits_trains_as_the_plain_one(name):
    assert torch.equal(run(f"{PLANTED}:{name}")["losses"], run(f"{PLANTED}:Plain")["losses"])
    assert run(f"{PLANTED}:{name}")["digests"] == run(f"{PLANTED}:Plain")["digests"]


def test_an_optimizer_that_needs_a_closure_gets_one_of_its_own_seed():
    assert torch.allclose(run(f"{PLANTED}:Asking")["losses"], run(f"{PLANTED}:Plain")["losses"], rtol=1e-4)
    lbfgs = train(maker("torch.optim:LBFGS", {"lr": 0.5, "max_iter": 3}), start(n_steps=10))
    assert (lbfgs["losses"][:, -1] < lbfgs["losses"][:, 0] / 2).all()


def test_the_same_seed_starts_the_same_in_whichever_group_it_comes():
    together, apart = start(n_seeds=4), start(n_seeds=1, first=3)
    for name, tensor in together["weights"].items():
        assert torch.equal(tensor[3:], apart["weights"][name])
    assert torch.equal(together["orders"][3:], apart["orders"])


def test_blocks_and_checks_of_other_seeds_share_no_start():
    found = [start(n_seeds=4)["weights"]["head"], start(n_seeds=4, block=1)["weights"]["head"]]
    found.append(starts("digits-mlp", 6, 0, 0, 4)["weights"]["head"])
    flat = torch.cat(found).flatten(1)
    assert len({tuple(row.tolist()) for row in flat}) == 12


def test_no_validation_image_is_trained_on_and_epochs_are_orders_of_the_rest():
    asked = starts("digits-cnn", 0, 0, 0, 2)
    assert asked["orders"].shape == (2, N_STEPS, 64)
    assert asked["validation"].shape == (2, N_VALIDATION)
    for order, validation in zip(asked["orders"], asked["validation"], strict=True):
        assert not set(order.flatten().tolist()) & set(validation.tolist())
        epoch = order[:22].flatten().tolist()
        assert len(set(epoch)) == len(epoch)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_has_weights_on_both_sides_of_delta(name):
    made = []

    def make(params, **given):
        made.append(adamp.AdamP(params, **given))
        return made[-1]

    train(make, start(name, n_seeds=1, n_steps=60, overrides={"lr": 0.01}))
    names = list(NETWORKS[name].shapes)
    found = {names[place]: shown for (_, place), shown in made[0].diagnostics().items()}
    before_norms, head = [name for name in names if name in ("hidden1", "conv1", "hidden2", "conv2")], found["head"]
    assert [found[weight].share_projected for weight in before_norms] == [1.0, 1.0]
    assert found[before_norms[0]].n_projected_channel == found[before_norms[1]].n_projected_layer == 60
    assert head.share_projected < 0.2


def test_an_unknown_workload_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="no workload 'digits-rnn'; it has digits-mlp, digits-cnn"):
        starts("digits-rnn", 0, 0, 0, 1)
