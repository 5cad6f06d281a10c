"""State: round trips, copies, and checkpoints of others."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch

from adamp import SGDP, SGDW, AdamP
from tests.reference.adamp_reference import SGDPReference
from tests.unit.adamp.cases import SGDP_

OPTIMIZERS = [
    (AdamP, {"weight_decay": 0.1, "betas": (0.8, 0.95)}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (SGDW, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
]
every_optimizer = pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def make_params(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in [(4, 3), (2, 3, 3), (5,)]]


def advance(subject, seed, n_steps=5):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        for group in subject.param_groups:
            for param in group["params"]:
                param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)
        subject.step()


def values(subject):
    """Every weight and every state tensor."""
    params = [p for group in subject.param_groups for p in group["params"]]
    return [p.detach() for p in params] + [t for p in params for t in subject.state[p].values()]


def assert_same_bits(a, b):
    assert len(a) == len(b)
    assert all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))


def clone_params(subject):
    return [torch.nn.Parameter(p.detach().clone()) for group in subject.param_groups for p in group["params"]]


@every_optimizer
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_state_dict_saved_in_mid_run_continues_bit_for_bit(optimizer, hyper, dtype):
    subject = optimizer(make_params(dtype), **hyper)
    advance(subject, seed=1)
    file = io.BytesIO()
    torch.save(subject.state_dict(), file)
    file.seek(0)
    resumed = optimizer(clone_params(subject), lr=123.0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert_same_bits(values(resumed), values(subject))
    advance(subject, seed=2)
    advance(resumed, seed=2)
    assert_same_bits(values(resumed), values(subject))


@every_optimizer
def test_a_loaded_state_is_a_copy(optimizer, hyper):
    subject = optimizer(make_params(), **hyper)
    advance(subject, seed=1)
    fork = optimizer(clone_params(subject), **hyper)
    fork.load_state_dict(subject.state_dict())
    kept = [value.clone() for value in values(subject)]
    advance(fork, seed=2)
    assert_same_bits(values(subject), kept)


@every_optimizer
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_a_copied_optimizer_continues_bit_for_bit(optimizer, hyper, dtype, duplicate):
    subject = optimizer(make_params(dtype), **hyper)
    advance(subject, seed=1)
    twin = duplicate(subject)
    assert twin.diagnostics() == {}
    advance(subject, seed=2)
    advance(twin, seed=2)
    assert_same_bits(values(twin), values(subject))
    assert twin.diagnostics()[0, 0].n_steps == 5


@every_optimizer
def test_hyperparameters_are_loaded_with_the_state(optimizer, hyper):
    subject = optimizer(make_params(), **hyper)
    resumed = optimizer(make_params(), lr=0.5)
    resumed.load_state_dict(subject.state_dict())
    packed = [{k: v for k, v in s.param_groups[0].items() if k != "params"} for s in (subject, resumed)]
    assert packed[0] == packed[1]


@every_optimizer
def test_the_loaded_dict_is_not_modified_and_diagnostics_are_not_in_it(optimizer, hyper):
    subject = optimizer(make_params(), **hyper)
    advance(subject, seed=1)
    state_dict = subject.state_dict()
    kept = copy.deepcopy(state_dict)
    optimizer(make_params(), lr=0.1).load_state_dict(state_dict)
    assert set(state_dict) == {"state", "param_groups"}
    assert state_dict["param_groups"] == kept["param_groups"]
    for key, entry in kept["state"].items():
        assert list(entry) == list(state_dict["state"][key])


def test_state_dict_hooks_see_the_state_as_it_is_loaded():
    subject = AdamP(make_params(torch.bfloat16))
    advance(subject, seed=1)
    resumed = AdamP(clone_params(subject))
    seen = []

    def double(_, state_dict):
        state = {k: {**e, "exp_avg": e["exp_avg"] * 2} for k, e in state_dict["state"].items()}
        return {**state_dict, "state": state}

    resumed.register_load_state_dict_pre_hook(double)
    resumed.register_load_state_dict_post_hook(lambda opt: seen.extend(opt.state[p]["exp_avg"] for p in opt.state))
    resumed.load_state_dict(subject.state_dict())
    expected = [state["exp_avg"] * 2 for state in subject.state.values()]
    assert_same_bits(seen, expected)


def authors_group(**hyper):
    return {**hyper, "params": [0]}


def test_an_authors_adamp_checkpoint_continues():
    exp_avg, exp_avg_sq = torch.full((4, 3), 0.5), torch.full((4, 3), 0.25)
    theirs = {
        "state": {0: {"step": 7, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}},
        "param_groups": [
            authors_group(
                lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1, delta=0.2, wd_ratio=0.3, nesterov=True
            )
        ],
    }
    param = torch.nn.Parameter(torch.ones(4, 3))
    subject = AdamP([param])
    subject.load_state_dict(theirs)
    assert theirs["state"][0]["step"] == 7
    assert subject.param_groups[0]["delta"] == 0.2
    assert subject.param_groups[0]["channel_dim"] == 0
    assert subject.param_groups[0]["maximize"] is False
    param.grad = torch.zeros_like(param)
    subject.step()
    state = subject.state[param]
    assert torch.equal(state["step"], torch.tensor(8.0))
    assert torch.allclose(state["exp_avg"], exp_avg * 0.9)
    assert torch.allclose(state["exp_avg_sq"], exp_avg_sq * 0.999)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_authors_sgdp_checkpoint_continues_as_the_reference_does(dtype):
    weight, momentum = torch.randn(4, 3).to(dtype), torch.randn(4, 3).to(dtype)
    reference = SGDPReference(weight.double().numpy(), **SGDP_)
    reference.buf = momentum.double().numpy()
    param = torch.nn.Parameter(weight)
    subject = SGDP([param], lr=0.5)
    subject.load_state_dict({"state": {0: {"momentum": momentum}}, "param_groups": [authors_group(**SGDP_)]})
    param.grad = torch.randn(4, 3).to(dtype)
    reference.step(param.grad.double().numpy())
    subject.step()
    assert list(subject.state[param]) == ["momentum_buffer"]
    error = np.abs(param.detach().double().numpy() - reference.weight).max()
    assert error <= torch.finfo(dtype).eps * np.abs(reference.weight).max()


@pytest.mark.parametrize(
    ("theirs", "ours", "hyper"),
    [(torch.optim.AdamW, AdamP, {}), (torch.optim.SGD, SGDP, {"lr": 0.1, "momentum": 0.9})],
)
def test_a_torch_checkpoint_continues_with_our_defaults_for_what_it_lacks(theirs, ours, hyper):
    before = theirs(make_params(), **hyper)
    advance(before, seed=1)
    subject = ours(clone_params(before), lr=0.5, delta=0.25)
    subject.load_state_dict(before.state_dict())
    assert subject.param_groups[0]["delta"] == 0.25
    assert subject.param_groups[0]["lr"] == before.param_groups[0]["lr"]
    assert_same_bits(values(subject), values(before))
    advance(subject, seed=2)


def test_a_torch_sgd_checkpoint_without_momentum_continues():
    before = torch.optim.SGD(make_params(), lr=0.1)
    advance(before, seed=1)
    state_dict = before.state_dict()
    state_dict["state"] = {0: {"momentum_buffer": None}}
    subject = SGDP(make_params(), lr=0.1, momentum=0.9)
    subject.load_state_dict(state_dict)
    subject.param_groups[0]["momentum"] = 0.9
    advance(subject, seed=2)


def test_our_checkpoint_loads_into_torchs_adamw():
    subject = AdamP(make_params())
    advance(subject, seed=1)
    after = torch.optim.AdamW(clone_params(subject))
    after.load_state_dict(subject.state_dict())
    assert_same_bits(values(after), values(subject))
