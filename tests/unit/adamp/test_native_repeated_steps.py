"""A step of the same tensors as the last one is recognised; one of others never passes for it."""

import copy
import pickle
import sys
import threading
import time
import weakref

import pytest
import torch
from torch.profiler import profile

from adamp import SGDP, SGDW, AdamP, base, native
from tests.unit.adamp.repeated import give_gradients, parameters, repeats

pytestmark = pytest.mark.skipif(native.why_not() is not None, reason="no native step")

OPTIMIZERS = [
    (AdamP, {"lr": 0.01, "weight_decay": 0.1}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGDP, {"lr": 0.1}),
    (SGDW, {"lr": 0.1, "momentum": 0.9}),
]
every_optimizer = pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS, ids=str)


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_second_step_is_recognised_and_equals_one_that_is_not(optimizer, hyper, dtype, monkeypatch):
    twins = []
    for interpreter in (base.interpreter(), None):
        monkeypatch.setattr(base, "interpreter", lambda found=interpreter: found)
        params = parameters(dtype)
        subject = optimizer(params, **hyper)
        for seed in range(4):
            give_gradients(params, seed)
            assert repeats(subject) == (seed > 0 and interpreter is not None)
        twins.append([*params, *(value for state in subject.state.values() for value in state.values())])
    for a, b in zip(*twins, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_a_copy_between_two_steps_steps_its_own_tensors(copied):
    params = parameters()
    subject = AdamP(params, lr=0.1)
    for seed in range(2):
        give_gradients(params, seed)
        subject.step()
    other = copied(subject)
    theirs = other.param_groups[0]["params"]
    for seed in (2, 3):
        give_gradients(params, seed)
        give_gradients(theirs, seed)
        before = [param.detach().clone() for param in params]
        assert repeats(other) == (seed == 3)
        assert all(torch.equal(a, b) for a, b in zip(before, params, strict=True))
        assert repeats(subject)
    assert all(torch.equal(a, b) for a, b in zip(params, theirs, strict=True))


def test_a_closure_may_replace_what_the_last_step_took():
    twins = []
    for fused in (False, None):
        params = parameters()
        subject = AdamP(params, lr=0.1, fused=fused)

        def closure(params=params, subject=subject):
            assert torch.is_grad_enabled()
            params[0].data = params[0].data * 2
            loss = sum((param**2).sum() for param in params)
            subject.zero_grad()
            loss.backward()
            return loss.detach()

        losses = [subject.step(closure) for _ in range(4)]
        twins.append([*params, torch.tensor(losses)])
    for a, b in zip(*twins, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_repeated_step_keeps_no_gradient():
    params = parameters()
    subject = AdamP(params, lr=0.1)
    give_gradients(params, 0)
    subject.step()
    for seed in (1, 2):
        give_gradients(params, seed)
        counts = [sys.getrefcount(param.grad) for param in params]
        assert repeats(subject)
        assert [sys.getrefcount(param.grad) for param in params] == counts
        kept = [weakref.ref(param.grad) for param in params]
        subject.zero_grad()
        assert [ref() for ref in kept] == [None] * len(params)


def test_a_step_that_does_not_repeat_keeps_no_gradient_either():
    params = parameters()
    subject = AdamP(params, lr=0.1)
    for seed in range(3):
        give_gradients(params, seed)
        params[3].grad = None if seed == 1 else params[3].grad
        assert not repeats(subject)
        kept = [weakref.ref(param.grad) for param in params if param.grad is not None]
        subject.zero_grad()
        assert [ref() for ref in kept] == [None] * len(kept)


def test_a_repeated_step_makes_autograd_notice_that_weights_changed():
    weight = torch.nn.Parameter(torch.ones(3, 2))
    subject = AdamP([weight])
    for _ in range(3):
        loss = (weight**2).sum()
        weight.grad = torch.ones_like(weight)
        version = weight._version
        subject.step()
        assert weight._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_other_threads_run_while_a_step_repeats():
    weight = torch.nn.Parameter(torch.ones(3000, 1000))
    subject = AdamP([weight], lr=1e-3)
    weight.grad = torch.ones_like(weight)
    for _ in range(2):
        subject.step()
    is_done, n_looks = threading.Event(), 0
    began = threading.Event()

    def step():
        began.set()
        for _ in range(20):
            assert repeats(subject)
        is_done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # only who gives the lock away lets others run
    try:
        thread = threading.Thread(target=step)
        thread.start()
        began.wait()
        while not is_done.is_set():
            n_looks += 1
            time.sleep(0)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert n_looks > 1


def test_threads_that_share_an_optimizer_take_turns():
    params = parameters()
    subject = AdamP(params, lr=1e-3)
    give_gradients(params, 0)
    subject.step()

    def step():
        for i in range(300):
            subject.param_groups[0]["lr"] = 1e-3 * (1 + i % 2)
            subject.step()

    threads = [threading.Thread(target=step) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [float(state["step"]) for state in subject.state.values()] == [901] * len(params)


@pytest.mark.parametrize("n_groups", [1, 2])
def test_a_sparse_gradient_after_dense_ones_is_refused_before_anything_changes(n_groups):
    params = [torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2)]
    groups = [{"params": params}] if n_groups == 1 else [{"params": [param]} for param in params]
    subject = AdamP(groups, lr=0.1)
    for seed in range(2):
        give_gradients(params, seed)
        assert repeats(subject) == (seed == 1)
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
        assert repeats(subject) == (seed > 0)
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
