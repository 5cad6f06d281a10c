"""Where a loaded state lies and in which precision; what a function of tensors and an old pickle fall back to."""

import inspect

import pytest
import torch

from adamp import SGDP, SGDW, AdamP, checkpoints, functional
from adamp.diagnostics import new_record
from adamp.projection import decide_projection, project_as_decided, project_onto_tangent

F32, F64 = torch.float32, torch.float64


def adamp_state(step, dtype=F64, shape=(2, 2)):
    """A checkpoint as another program may write it."""
    entry = {"step": step, "exp_avg": torch.ones(shape, dtype=dtype), "exp_avg_sq": torch.ones(shape, dtype=dtype)}
    group = {"params": [0], "lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    return {"state": {0: entry}, "param_groups": [group]}


def load(state_dict, *, device="cpu", dtype=F32, **hyper):
    param = torch.nn.Parameter(torch.ones(2, 2, dtype=dtype, device=device))
    subject = AdamP([param], **hyper)
    subject.load_state_dict(state_dict)
    return subject.state[param]


@pytest.mark.parametrize(("capturable", "device"), [(True, "meta"), (False, "cpu")])
def test_a_loaded_step_lies_on_the_device_only_where_the_group_is_capturable(capturable, device):
    state_dict = adamp_state(torch.tensor(3.0))
    state_dict["param_groups"][0]["capturable"] = capturable
    state = load(state_dict, device="meta")
    assert state["step"].device.type == device
    assert state["exp_avg"].device.type == state["exp_avg_sq"].device.type == "meta"


def test_a_checkpoint_that_does_not_say_capturable_has_its_steps_on_the_cpu():
    assert load(adamp_state(torch.tensor(3.0)), device="meta")["step"].device.type == "cpu"


@pytest.mark.parametrize("dtype", [F32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("step", [3, 3.0, torch.tensor(3), torch.tensor(3.0, dtype=F64)], ids=repr)
def test_loaded_steps_and_moments_have_the_arithmetics_dtype(step, dtype):
    state = load(adamp_state(step), dtype=dtype)
    assert {tensor.dtype for tensor in state.values()} == {F32}
    assert state["step"] == 3


def test_a_translated_step_is_float32_whatever_torchs_default():
    torch.set_default_dtype(F64)
    try:
        translated = checkpoints.translate(adamp_state(3))
    finally:
        torch.set_default_dtype(F32)
    assert translated["state"][0]["step"].dtype == F32


def test_state_of_another_shape_is_taken_as_a_copy_in_the_arithmetics_dtype():
    state_dict = adamp_state(torch.tensor(1.0))
    foreign = torch.ones(5, dtype=F64)
    state_dict["state"][0]["foreign"] = foreign
    state = load(state_dict)
    assert state["foreign"].dtype == F32
    assert load(state_dict, dtype=F64)["foreign"].dtype == F64
    same = torch.ones(5)
    state_dict["state"][0]["foreign"] = same
    state = load(state_dict)
    assert state["foreign"].data_ptr() != same.data_ptr()
    assert load(state_dict, device="meta")["foreign"].device.type == "meta"


def test_loaded_moments_take_the_weights_memory_order():
    weight = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    subject = AdamP([torch.nn.Parameter(weight)])
    subject.load_state_dict(adamp_state(torch.tensor(1.0), shape=(2, 3, 4, 4)))
    (state,) = subject.state.values()
    assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == weight.stride()


@pytest.mark.parametrize("optimizer", [AdamP, SGDP, SGDW])
def test_an_optimizer_pickled_by_an_older_version_gets_the_defaults_of_what_it_lacks(optimizer):
    subject = optimizer([torch.nn.Parameter(torch.ones(2, 2))], lr=0.1)
    expected = dict(subject.param_groups[0])
    state = subject.__getstate__()
    for name in ("fused", "capturable", "differentiable", "deterministic", "maximize"):
        state["param_groups"][0].pop(name, None)
        if name != "maximize":
            state["defaults"].pop(name, None)
    old = optimizer.__new__(optimizer)
    old.__setstate__(state)
    assert {name: old.param_groups[0][name] for name in optimizer.hyperparameters} == {
        name: expected[name] for name in optimizer.hyperparameters
    }


@pytest.mark.parametrize("optimizer", [AdamP, SGDP, SGDW])
def test_flags_are_off_by_default(optimizer):
    parameters = inspect.signature(optimizer).parameters
    flags = ("nesterov", "maximize", "capturable", "differentiable", "deterministic")
    assert {parameters[name].default for name in flags if name in parameters} == {False}
    assert parameters["fused"].default is None


@pytest.mark.parametrize("update", ["sgdp", "sgdw", "adamp"])
def test_lists_of_unequal_length_are_refused(update):
    weight = torch.ones(2, 2)
    record = new_record(weight, F32)
    hyper = {"lr": 0.1, "weight_decay": 0.0, "nesterov": False, "maximize": False}
    projection = {"eps": 1e-8, "delta": 0.1, "wd_ratio": 0.1, "channel_dim": 0}
    momentum = {"momentum": 0.0, "dampening": 0.0}
    lists = [[weight], [weight, weight], [None], [record]]
    if update == "adamp":
        lists = [[weight], [weight, weight], [weight], [weight], [torch.tensor(0.0)], [record]]
        hyper |= {"beta1": 0.9, "beta2": 0.999, **projection}
    else:
        hyper |= momentum if update == "sgdw" else momentum | projection
    with pytest.raises(ValueError, match="zip"):
        getattr(functional, update)(*lists, **hyper)


def test_channels_are_dimension_0_unless_said_otherwise():
    generator = torch.Generator().manual_seed(0)
    weight, step = (torch.randn(3, 4, dtype=F64, generator=generator) for _ in range(2))
    assert torch.equal(
        project_onto_tangent(step, weight, per_channel=True, eps=0.0),
        project_onto_tangent(step, weight, per_channel=True, eps=0.0, channel_dim=0),
    )
    decisions = [decide_projection(step, weight, delta=9.0, eps=0.0, **d) for d in ({}, {"channel_dim": 0})]
    assert decisions[0] == decisions[1]
    assert torch.equal(
        project_as_decided(step, weight, decisions[0], eps=0.0),
        project_as_decided(step, weight, decisions[0], eps=0.0, channel_dim=0),
    )
