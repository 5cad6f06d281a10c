"""The native path: equal to plain torch, and to the bit whatever it guesses and however many threads it has."""

import copy
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import adamp
from adamp import SGDP, SGDW, AdamP, Decision, building, dispatch, native
from tests.unit.adamp.cases import VALID, gradient


def has_compiler():
    try:
        return bool(building.find_compiler())
    except building.BuildError:
        return False


# A library that does not compile must fail, not skip.
pytestmark = pytest.mark.skipif(not has_compiler(), reason="no C compiler")

LARGE = [(300, 576), (40, 10000), (7000, 9), (64, 3, 20, 20), (2, 20000)]
KINDS = ["channel", "none", "layer", "channel", "channel", "none", "none", "layer", "layer", "random"]
CASES = [
    (AdamP, {"lr": 1e-3, "weight_decay": 0.01}),
    (AdamP, {"lr": 0.3, "weight_decay": 0.1, "nesterov": True}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-5, "nesterov": True}),
    (SGDP, {"lr": 0.1, "momentum": 0.9}),
    (SGDP, {"lr": 0.1, "weight_decay": 0.1}),
]
every_case = pytest.mark.parametrize(("optimizer", "hyper"), CASES, ids=str)


class Run:
    """One tensor through a sequence of gradients; `guess(t)` overrides what the native step believes at step t."""

    def __init__(self, optimizer, hyper, shape, *, dtype=torch.float32, guess=None, kinds=KINDS, **arguments):
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(shape, generator=generator) / 10
        self.param = torch.nn.Parameter(weight.to(dtype))
        self.subject = optimizer([self.param], **hyper, **arguments)
        self.decisions = []
        for t, kind in enumerate(kinds):
            # Gradients follow the starting weights, so that every run sees the same.
            self.param.grad = gradient(kind, weight, generator).to(dtype)
            if guess and t:
                (plan,) = self.subject._plans.values()
                plan.rows[0].guess, plan.rows[0].cooldown = guess(t), 0
            self.subject.step()
            self.decisions.append(self.subject.diagnostics()[0, 0].decision)

    def tensors(self):
        record = self.subject._records[self.param]
        return [self.param.detach(), *self.subject.state[self.param].values(), record.stats, record.counts]


def assert_same_bits(a, b):
    for x, y in zip(a.tensors(), b.tensors(), strict=True):
        assert torch.equal(x, y) or (torch.equal(x.isnan(), y.isnan()) and torch.equal(x.nan_to_num(), y.nan_to_num()))


@every_case
@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_results_do_not_depend_on_the_guess(optimizer, hyper, shape):
    deferred = Run(optimizer, hyper, shape, guess=lambda _: Decision.LAYER)
    for guess in (
        lambda _: Decision.NONE,
        lambda _: Decision.CHANNEL,
        lambda t: (Decision.NONE, Decision.CHANNEL)[t % 2],
        lambda t: (Decision.CHANNEL, Decision.LAYER, Decision.NONE)[t % 3],
        None,
    ):
        assert_same_bits(Run(optimizer, hyper, shape, guess=guess), deferred)


def test_a_guess_that_is_always_wrong_still_gives_the_same_bits():
    shape, (optimizer, hyper) = (300, 576), CASES[0]
    truth = Run(optimizer, hyper, shape).decisions
    assert set(truth) == set(Decision)
    wrong = Run(optimizer, hyper, shape, guess=lambda t: (truth[t] + 1) % 3)
    assert_same_bits(wrong, Run(optimizer, hyper, shape, guess=lambda t: truth[t]))


@every_case
@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_one_and_two_threads_give_the_same_bits(optimizer, hyper, shape):
    one = Run(optimizer, hyper, shape)
    torch.set_num_threads(2)
    assert_same_bits(Run(optimizer, hyper, shape), one)


def test_threads_of_its_own_give_the_same_bits(monkeypatch):
    with_openmp = Run(*CASES[0], (300, 576))
    monkeypatch.setattr(native, "parallel_function", lambda: None)
    torch.set_num_threads(2)
    assert_same_bits(Run(*CASES[0], (300, 576)), with_openmp)


@every_case
def test_avx2_and_avx512_give_the_same_bits(optimizer, hyper, monkeypatch):
    if native.instruction_set() < 2:
        pytest.skip("this processor has no AVX-512")
    wide = Run(optimizer, hyper, (300, 576))
    monkeypatch.setattr(native, "instruction_set", lambda: 1)
    assert_same_bits(Run(optimizer, hyper, (300, 576)), wide)


@every_case
@pytest.mark.parametrize("instruction_set", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(300, 576), (5, 37), (3, 40000), (4000, 5), (77,)], ids=str)
def test_every_instruction_set_equals_plain_torch(optimizer, hyper, instruction_set, dtype, shape, monkeypatch):
    if instruction_set > native.instruction_set():
        pytest.skip("this processor has not got it")
    monkeypatch.setattr(native, "instruction_set", lambda: instruction_set)
    plain, fast = (Run(optimizer, hyper, shape, dtype=dtype, fused=fused, kinds=KINDS[:5]) for fused in (False, True))
    assert fast.decisions == plain.decisions
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0)) / 10
    moved = (plain.param.detach().double() - start.double()).abs().max() + start.abs().max()
    error = (fast.param.detach().double() - plain.param.detach().double()).abs().max() / moved
    assert error < {torch.float64: 1e-14, torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("instruction_set", [0, 1, 2])
def test_16_bit_weights_are_widened_and_rounded_as_torch_does(dtype, instruction_set, monkeypatch):
    if instruction_set > native.instruction_set():
        pytest.skip("this processor has not got it")
    monkeypatch.setattr(native, "instruction_set", lambda: instruction_set)
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    every = every[~every.isnan()]
    param = torch.nn.Parameter(every.clone())
    param.grad = torch.zeros_like(param)
    SGDW([param], lr=0.0).step()
    assert torch.equal(param.detach(), every)
    values = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * torch.logspace(-9, 5, 4096)
    param, param.grad = torch.nn.Parameter(torch.zeros(4096, dtype=dtype)), None
    param.grad = torch.ones_like(param)
    subject = SGDW([param], lr=1.0, momentum=0.5)
    subject.state[param]["momentum_buffer"] = values.clone()
    subject.step()
    assert torch.equal(param.detach(), -(values * 0.5 + 1).to(dtype))


def layouts(weight):
    yield weight.clone(memory_format=torch.contiguous_format)
    yield weight.clone(memory_format=torch.channels_last)
    yield weight.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    yield weight.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)


@every_case
@pytest.mark.parametrize("channel_dim", [0, 1, 3])
def test_dense_layouts_are_native_and_equal(optimizer, hyper, channel_dim):
    weight = torch.randn(24, 36, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for variant in layouts(weight):
        param = torch.nn.Parameter(variant)
        subject = optimizer([param], channel_dim=channel_dim, **hyper)
        for kind in ("channel", "layer", "none"):
            rows_first = weight.movedim(channel_dim, 0)
            grad = gradient(kind, rows_first, torch.Generator().manual_seed(1)).movedim(0, channel_dim)
            param.grad = grad.clone(memory_format=torch.contiguous_format)
            subject.step()
        (plan,) = subject._plans.values()
        assert len(plan._taken) == 1
        results.append(param.detach())
    assert all(torch.allclose(result, results[0], rtol=0, atol=1e-13) for result in results)


sizes = st.lists(st.integers(1, 9), min_size=0, max_size=4)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, order=st.randoms(use_true_random=False), step=st.integers(1, 2), case=st.sampled_from(VALID))
def test_any_shape_and_strides_equal_plain_torch(shape, order, step, case):
    dims = list(range(len(shape)))
    order.shuffle(dims)
    base = torch.randn([shape[d] * step for d in dims], dtype=torch.float64)
    view = base[tuple(slice(None, None, step) for _ in dims)].permute([dims.index(d) for d in range(len(shape))])
    results = []
    for fused in (False, True):
        param = torch.nn.Parameter(view.clone(memory_format=torch.preserve_format) if step == 1 else view.clone())
        if step > 1:
            param = torch.nn.Parameter(base.clone()[tuple(slice(None, None, step) for _ in dims)])
        subject = case.optimizer([param], fused=fused, **case.hyper)
        for seed in range(3):
            param.grad = torch.randn(param.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            subject.step()
        results.append((param.detach().clone(), subject.diagnostics()[0, 0].decision))
    assert results[0][1] is results[1][1]
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-11, atol=1e-11)


@every_case
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e5, 1e-42], ids=str)
@pytest.mark.parametrize("guess", list(Decision))
def test_strange_gradients_do_what_they_do_in_plain_torch(optimizer, hyper, value, guess):
    results = []
    for fused in (False, True):
        param = torch.nn.Parameter(torch.randn(300, 100, generator=torch.Generator().manual_seed(0)))
        subject = optimizer([param], fused=fused, **hyper)
        for t in range(3):
            param.grad = torch.randn(300, 100, generator=torch.Generator().manual_seed(t))
            if t == 1:
                param.grad[7, 9] = value
                if fused:
                    next(iter(subject._plans.values())).rows[0].guess = guess
            subject.step()
        results.append((param.detach(), subject.diagnostics()[0, 0]))
    (plain, told), (fast, told_fast) = results
    assert told_fast.decision is told.decision
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("guess", list(Decision))
def test_a_decay_that_removes_the_whole_weight_is_exact(guess):
    results = [
        Run(AdamP, {"lr": 0.5, "weight_decay": 2.0}, (300, 100), fused=False),
        Run(AdamP, {"lr": 0.5, "weight_decay": 2.0}, (300, 100), guess=lambda _: guess),
    ]
    torch.testing.assert_close(results[1].param, results[0].param, rtol=1e-5, atol=1e-5)


def test_many_tensors_of_all_sizes_step_together():
    shapes = [(3,), (5, 4), (), (0, 3), (300, 576), (2000, 16), (70000,), (1, 1), (513, 1025)]
    results = []
    for fused in (False, True):
        torch.set_num_threads(2)
        params = [torch.nn.Parameter(torch.randn(s, generator=torch.Generator().manual_seed(1))) for s in shapes]
        subject = AdamP(params, lr=0.01, weight_decay=0.1, fused=fused)
        for t in range(4):
            for param in params:
                param.grad = torch.randn(param.shape, generator=torch.Generator().manual_seed(t))
            subject.step()
        results.append(params)
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)


def test_autograd_notices_that_a_weight_was_changed():
    weight = torch.nn.Parameter(torch.ones(3, 3))
    loss = (weight * weight).sum()
    loss.backward(retain_graph=True)
    AdamP([weight], fused=True).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_replaced_weight_state_or_gradient_is_noticed():
    twins = []
    for fused in (False, True):
        param = torch.nn.Parameter(torch.ones(6, 4))
        subject = AdamP([param], lr=0.1, fused=fused)
        for t in range(4):
            param.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(t))
            if t == 2:
                param.data = param.data.clone() * 2
                subject.state[param]["exp_avg"] = subject.state[param]["exp_avg"].clone() * 3
            if t == 3:
                param.data = param.data.t().contiguous().t()
                param.grad = param.grad.expand(6, 4) * 2
            subject.step()
        twins.append(param.detach())
    torch.testing.assert_close(*twins, rtol=1e-6, atol=1e-7)


def test_parameters_that_share_memory_are_left_to_plain_torch():
    base = torch.ones(4, 4)
    params = [torch.nn.Parameter(base[:3]), torch.nn.Parameter(base[1:])]
    for param in params:
        param.grad = torch.ones_like(param)
    subject = AdamP(params, fused=True)
    subject.step()
    (plan,) = subject._plans.values()
    assert plan._taken == []
    assert not torch.equal(base, torch.ones(4, 4))


def test_a_copy_of_a_running_optimizer_guesses_anew_and_continues_bit_for_bit():
    subject = Run(*CASES[0], (300, 576), kinds=["channel"] * 4).subject
    twin = copy.deepcopy(subject)
    for one in (subject, twin):
        (param,) = one.param_groups[0]["params"]
        for seed in range(4):
            param.grad = torch.randn(param.shape, generator=torch.Generator().manual_seed(seed))
            one.step()
    assert torch.equal(*(one.param_groups[0]["params"][0] for one in (subject, twin)))


def test_paths_say_what_runs_and_why_not(monkeypatch):
    assert adamp.paths()["cpu"].startswith("native (")
    monkeypatch.setenv("ADAMP_PATH", "torch")
    assert adamp.paths()["cpu"] == "torch (ADAMP_PATH=torch)"
    monkeypatch.setenv("ADAMP_PATH", "fortran")
    with pytest.raises(RuntimeError, match="ADAMP_PATH must be one of torch, native, triton, got 'fortran'"):
        AdamP([torch.nn.Parameter(torch.ones(2))])


def test_without_a_library_plain_torch_steps_and_fused_is_refused(monkeypatch):
    broken = dispatch.Path("native", lambda: "no C compiler", native.Plan)
    monkeypatch.setitem(dispatch._PATHS, "cpu", (broken,))
    param = torch.nn.Parameter(torch.ones(2, 2))
    param.grad = torch.ones_like(param)
    AdamP([param]).step()
    assert not torch.equal(param, torch.ones(2, 2))
    assert adamp.paths()["cpu"] == "torch (native: no C compiler)"
    with pytest.raises(RuntimeError, match=r"no fused step for cpu parameters here \(native: no C compiler\)"):
        AdamP([param], fused=True)


def test_a_differentiable_step_is_refused():
    with pytest.raises(ValueError, match="AdamP does not support differentiable=True"):
        AdamP([torch.nn.Parameter(torch.ones(2))], differentiable=True)
