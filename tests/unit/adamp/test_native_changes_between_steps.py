"""Whatever is changed between two steps has its effect, although a step of the same tensors repeats the last one."""

from collections import defaultdict

import pytest
import torch

from adamp import SGDP, AdamP, base, native
from tests.unit.adamp.repeated import give_gradients, parameters, repeats

pytestmark = pytest.mark.skipif(native.why_not() is not None, reason="no native step")


@pytest.fixture(params=[True, False], ids=["recognised", "never recognised"])
def told(request, monkeypatch):
    """With False, as on a torch without DLPack's exchange table."""
    if not request.param:
        monkeypatch.setattr(base, "interpreter", lambda: None)
    return request.param


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


def change_lr(subject, param):
    subject.param_groups[0]["lr"] = 0.5


def give_an_lr_tensor(subject, param):
    subject.param_groups[0]["lr"] = torch.tensor(0.5)


def change_hyperparameters(subject, param):
    subject.param_groups[0].update(lr=0.5, weight_decay=0.3, betas=(0.5, 0.6), nesterov=True)


def add_a_key(subject, param):
    subject.param_groups[0]["name"] = "first"


def remove_a_key(subject, param):
    del subject.param_groups[0]["differentiable"]


def change_channel_dim(subject, param):
    subject.param_groups[0].update(channel_dim=1, delta=10.0)


def go_plain(subject, param):
    subject.param_groups[0]["fused"] = False


def add_a_group(subject, param):
    extra = torch.nn.Parameter(torch.ones(3, 2))
    extra.grad = torch.ones_like(extra)
    subject.add_param_group({"params": [extra]})


def split_the_group(subject, param):
    group = subject.param_groups[0]
    subject.param_groups.append({**group, "params": [group["params"].pop()], "lr": 0.3})


def replace_the_groups(subject, param):
    subject.param_groups = [{**group, "lr": 0.3} for group in subject.param_groups]


def swap_parameters_in_their_group(subject, param):
    subject.param_groups[0]["params"].reverse()


def remove_a_parameter(subject, param):
    subject.param_groups[0]["params"].remove(param)


def replace_a_parameter(subject, param):
    extra = torch.nn.Parameter(torch.ones(6, 4))
    extra.grad = torch.ones_like(extra)
    subject.param_groups[0]["params"][0] = extra


def drop_a_state(subject, param):
    del subject.state[param]


def clear_a_state(subject, param):
    subject.state[param].clear()


def replace_the_state(subject, param):
    subject.state = defaultdict(dict, {p: {k: v + 1 for k, v in s.items()} for p, s in subject.state.items()})


def keep_a_state_of_ones_own(subject, param):
    subject.state[param]["mine"] = 3


def keep_something_beside_the_states(subject, param):
    subject.state["mine"] = 3


def count_other_steps(subject, param):
    subject.state[param]["step"].fill_(100)


def replace_the_count(subject, param):
    subject.state[param]["step"] = torch.tensor(100.0)


def replace_the_counts_memory(subject, param):
    subject.state[param]["step"].data = torch.tensor(100.0)


def load_a_state(subject, param):
    subject.load_state_dict(subject.state_dict())


def load_another_state(subject, param):
    saved = subject.state_dict()
    saved["state"] = {i: {k: v * 2 for k, v in entries.items()} for i, entries in saved["state"].items()}
    subject.load_state_dict(saved)


def swap_tensors(subject, param):
    other = torch.nn.Parameter(param.detach() * 2)
    other.grad = param.grad
    torch.utils.swap_tensors(param, other)


def reset_diagnostics(subject, param):
    subject.reset_diagnostics()


def change_default_threads(subject, param):
    torch.set_num_threads(2)


CHANGES = [
    replace_state_dict,
    replace_state,
    replace_states_memory,
    replace_weights_memory,
    transpose_weight,
    transpose_gradient,
    negate_gradient,
    drop_gradient,
    change_lr,
    give_an_lr_tensor,
    change_hyperparameters,
    add_a_key,
    remove_a_key,
    change_channel_dim,
    go_plain,
    add_a_group,
    split_the_group,
    replace_the_groups,
    swap_parameters_in_their_group,
    remove_a_parameter,
    replace_a_parameter,
    drop_a_state,
    clear_a_state,
    replace_the_state,
    keep_a_state_of_ones_own,
    keep_something_beside_the_states,
    count_other_steps,
    replace_the_count,
    replace_the_counts_memory,
    load_a_state,
    load_another_state,
    swap_tensors,
    reset_diagnostics,
    change_default_threads,
]

# Of steps 0 to 3, of which the change comes before step 2: those that repeat the one before, where not (1, 3).
_AT_ONCE = (1, 2, 3)
REPEATED_AFTER = {
    change_lr: _AT_ONCE,
    give_an_lr_tensor: _AT_ONCE,
    change_hyperparameters: _AT_ONCE,
    add_a_key: _AT_ONCE,
    remove_a_key: _AT_ONCE,
    replace_the_groups: _AT_ONCE,
    count_other_steps: _AT_ONCE,
    reset_diagnostics: _AT_ONCE,
    change_default_threads: _AT_ONCE,
    drop_gradient: (1,),  # step 3 has the gradient again
    go_plain: (1,),
    keep_something_beside_the_states: (1,),
    transpose_weight: (1,),  # its state lies otherwise, and plain torch steps
}


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
            assert repeats(subject) == (seed in REPEATED_AFTER.get(change, (1, 3)) and fused is None and told)
        states = [subject.state[p] for group in subject.param_groups for p in group["params"]]
        twins.append([*params, *(state[name] for state in states for name in subject.state_names if name in state)])
    for a, b in zip(*twins, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def change_lr_in_place(group):
    group["lr"].mul_(0.5)


def change_betas_in_place(group):
    group["betas"][0] *= 0.5


@pytest.mark.parametrize("change", [change_lr_in_place, change_betas_in_place], ids=lambda change: change.__name__)
def test_settings_changed_in_place_before_every_step_are_seen(change, told):
    twins = []
    for fused in (False, None):
        params = parameters()
        subject = AdamP(params, lr=torch.tensor(0.1), betas=[0.9, 0.99], fused=fused)
        for seed in range(4):
            give_gradients(params, seed)
            change(subject.param_groups[0])
            assert repeats(subject) == (seed > 0 and fused is None and told)
        twins.append(params)
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
