"""A step of the same tensors as the last one is recognised; one of others never passes for it."""

import pytest
import torch
from torch.profiler import profile

from adamp import SGDP, SGDW, AdamP, addresses, native

pytestmark = pytest.mark.skipif(native.why_not() is not None, reason="no native step")

OPTIMIZERS = [
    (AdamP, {"lr": 0.01, "weight_decay": 0.1}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGDP, {"lr": 0.1}),
    (SGDW, {"lr": 0.1, "momentum": 0.9}),
]
every_optimizer = pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS, ids=str)


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4), (6,), (), (0, 3), (1, 3, 2, 2)]
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def give_gradients(params, seed):
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)


def is_recognised(optimizer):
    work = [([p for p in g["params"] if p.grad is not None],) for g in optimizer.param_groups]
    if optimizer._noted is None:
        return False
    return all(
        optimizer._plans[i, "cpu", group["fused"]].repeats(
            params, [p.grad for p in params], optimizer._state_keys(group), group.get("channel_dim")
        )
        for i, (group, (params,)) in enumerate(zip(optimizer.param_groups, work, strict=True))
        if params
    )


@pytest.fixture(params=[True, False], ids=["recognised", "never recognised"])
def told(request, monkeypatch):
    """With False, as on a torch without DLPack's exchange table."""
    if not request.param:
        monkeypatch.setattr(addresses, "interpreter", lambda: None)
    return request.param


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_second_step_is_recognised_and_equals_one_that_is_not(optimizer, hyper, dtype, monkeypatch):
    twins = []
    for interpreter in (addresses.interpreter(), None):
        monkeypatch.setattr(addresses, "interpreter", lambda found=interpreter: found)
        params = parameters(dtype)
        subject = optimizer(params, **hyper)
        for seed in range(4):
            give_gradients(params, seed)
            if seed:
                assert is_recognised(subject) == (interpreter is not None)
            subject.step()
        twins.append(params)
    for a, b in zip(*twins, strict=True):
        assert torch.equal(a, b)


def replace_state_dict(subject, param):
    subject.state[param] = {key: value.clone() * 2 for key, value in subject.state[param].items()}


def replace_state(subject, param):
    subject.state[param]["exp_avg"] = subject.state[param]["exp_avg"] * 2


def replace_states_memory(subject, param):
    subject.state[param]["exp_avg"].data = subject.state[param]["exp_avg"] * 2


def replace_weights_memory(subject, param):
    param.data = param.data * 2


def transpose_weight(subject, param):
    param.data = param.data.t().contiguous().t()


def transpose_gradient(subject, param):
    param.grad = param.grad.t().contiguous().t()


def negate_gradient(subject, param):
    param.grad = torch._neg_view(param.grad)


def drop_gradient(subject, param):
    param.grad = None


def change_hyperparameters(subject, param):
    subject.param_groups[0].update(lr=0.5, weight_decay=0.3, betas=(0.5, 0.6), nesterov=True)


def change_channel_dim(subject, param):
    subject.param_groups[0].update(channel_dim=1, delta=10.0)


def go_plain(subject, param):
    subject.param_groups[0]["fused"] = False


def add_a_group(subject, param):
    extra = torch.nn.Parameter(torch.ones(3, 2))
    extra.grad = torch.ones_like(extra)
    subject.add_param_group({"params": [extra]})


def load_a_state(subject, param):
    subject.load_state_dict(subject.state_dict())


def swap_tensors(subject, param):
    other = torch.nn.Parameter(param.detach() * 2)
    other.grad = param.grad
    torch.utils.swap_tensors(param, other)


CHANGES = [
    replace_state_dict,
    replace_state,
    replace_states_memory,
    replace_weights_memory,
    transpose_weight,
    transpose_gradient,
    negate_gradient,
    drop_gradient,
    change_hyperparameters,
    change_channel_dim,
    go_plain,
    add_a_group,
    load_a_state,
    swap_tensors,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_between_two_steps_has_the_effect_it_has_in_plain_torch(change, told):
    twins = []
    for fused in (False, None):
        params = [torch.nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(i))) for i in (0, 1)]
        subject = AdamP(params, lr=0.1, weight_decay=0.1, fused=fused)
        for seed in range(4):
            give_gradients(params, seed)
            if seed == 2:
                change(subject, params[0])
            subject.step()
        twins.append([*params, *(value for state in subject.state.values() for value in state.values())])
    for a, b in zip(*twins, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_a_change_of_momentum_between_two_steps_brings_its_buffer():
    twins = []
    for fused in (False, None):
        params = parameters()
        subject = SGDP(params, lr=0.1, fused=fused)
        for seed in range(4):
            give_gradients(params, seed)
            subject.param_groups[0]["momentum"] = 0.9 if seed in (2, 3) else 0.0
            subject.step()
        assert len(subject.state) == len(params)
        twins.append(params)
    for a, b in zip(*twins, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_groups", [1, 2])
def test_a_sparse_gradient_after_dense_ones_is_refused_before_anything_changes(n_groups):
    params = [torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2)]
    groups = [{"params": params}] if n_groups == 1 else [{"params": [param]} for param in params]
    subject = AdamP(groups, lr=0.1)
    for seed in range(2):
        give_gradients(params, seed)
        subject.step()
    assert is_recognised(subject)
    before = [param.detach().clone() for param in params]
    steps = [float(state["step"]) for state in subject.state.values()]
    params[1].grad = torch.ones(4, 3).to_sparse()
    with pytest.raises(RuntimeError, match="AdamP needs dense real gradients"):
        subject.step()
    assert all(torch.equal(a, b) for a, b in zip(before, params, strict=True))
    assert [float(state["step"]) for state in subject.state.values()] == steps


def test_parameters_without_a_gradient_do_not_hinder_recognition():
    params = parameters()
    subject = AdamP([{"params": params[:2]}, {"params": params[2:]}], lr=0.1)
    for seed in range(3):
        give_gradients(params[:1], seed)
        subject.step()
    assert is_recognised(subject)
    assert [len(subject.state[param]) for param in params] == [3, 0, 0, 0, 0]


def test_hooks_run_once_and_see_torchs_arguments():
    heard = []
    param = torch.nn.Parameter(torch.ones(3, 2))
    param.grad = torch.ones_like(param)
    subject = AdamP([param])
    subject.register_step_pre_hook(lambda opt, args, kwargs: heard.append(("before", opt, args, kwargs)))
    subject.register_step_post_hook(lambda opt, args, kwargs: heard.append(("after", opt, args, kwargs)))
    closure = lambda: 3.0  # noqa: E731
    assert subject.step(closure=closure) == 3.0
    arguments = (subject, (subject,), {"closure": closure})
    assert heard == [("before", *arguments), ("after", *arguments)]


def test_a_subclass_with_a_step_of_its_own_has_its_hooks_run_once():
    class Mine(AdamP):
        def step(self, closure=None):
            return super().step(closure)

    heard = []
    param = torch.nn.Parameter(torch.ones(3, 2))
    param.grad = torch.ones_like(param)
    subject = Mine([param])
    subject.register_step_pre_hook(lambda *_: heard.append("before"))
    subject.step()
    assert heard == ["before"]


def test_the_profiler_sees_the_step_as_it_sees_torchs():
    param = torch.nn.Parameter(torch.ones(3, 2))
    param.grad = torch.ones_like(param)
    subject = AdamP([param])
    with profile() as told:
        subject.step()
    (event,) = (event for event in told.events() if event.name == "Optimizer.step#AdamP.step")
    assert event.is_user_annotation
