"""The optimizers equal their slow float64 twins."""

import numpy as np
import pytest
import torch

from adamp import SGDP, AdamP, Decision
from tests.reference.adamp_reference import SGDPReference
from tests.unit.adamp.cases import ADAMP, KINDS, SGDP_, SHAPES, VALID, Case, gradient, initial_weights

NAMES = {Decision.NONE: "none", Decision.CHANNEL: "channel", Decision.LAYER: "layer"}


PLAIN = [Case(AdamP, {"weight_decay": 0.05}), Case(SGDP, {"weight_decay": 0.01})]


def run_both(case, kind, dtype, n_steps, *, shapes=SHAPES, seed=0, store=lambda w: w):
    """Run optimizer and reference on the same gradients; returns (start, ours, reference) per tensor.

    `kind` "mixed" gives every step and tensor another kind in turn.
    """
    generator = torch.Generator().manual_seed(seed)
    params = [torch.nn.Parameter(w.to(dtype)) for w in initial_weights(generator, shapes)]
    start = [p.detach().double().numpy().copy() for p in params]
    optimizer = case.optimizer(params, **case.hyper)
    references = [case.reference(w, store=store, **case.hyper) for w in start]
    for t in range(n_steps):
        expected = []
        for i, (param, reference) in enumerate(zip(params, references, strict=True)):
            # Gradients follow the reference's weights, so that both see the same ones.
            weight = torch.from_numpy(np.asarray(reference.weight))
            now = KINDS[(t + i) % len(KINDS)] if kind == "mixed" else kind
            param.grad = gradient(now, weight, generator).to(dtype)
            expected.append(reference.step(param.grad.double().numpy()))
        optimizer.step()
        assert [NAMES[d.decision] for d in optimizer.diagnostics().values()] == expected
    return [(w0, p.detach().double().numpy(), r.weight) for w0, p, r in zip(start, params, references, strict=True)]


def worst_error(results, *, floor=0.0) -> float:
    """Largest deviation over the tensors, relative to the displacement plus `floor` times the weights."""
    errors = [0.0]
    for start, ours, reference in results:
        assert ours.shape == reference.shape
        if ours.size:
            scale = np.abs(reference - start).max() + floor * np.abs(start).max()
            errors.append(float(np.abs(ours - reference).max() / max(scale, np.finfo(np.float64).tiny)))
    return max(errors)


@pytest.mark.parametrize("case", VALID, ids=str)
def test_float64_equals_the_reference_for_100_mixed_steps(case):
    assert worst_error(run_both(case, "mixed", torch.float64, 100)) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_float64_equals_the_reference_for_100_steps_of_one_kind(case, kind):
    assert worst_error(run_both(case, kind, torch.float64, 100)) < 1e-12


@pytest.mark.parametrize("case", VALID, ids=str)
def test_float32_stays_within_rounding_of_the_reference_for_20_steps(case):
    assert worst_error(run_both(case, "mixed", torch.float32, 20), floor=0.1) < 2e-6


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_float32_stays_within_rounding_of_the_reference_for_100_steps(case):
    assert worst_error(run_both(case, "mixed", torch.float32, 100), floor=0.1) < 4e-6


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_float32_sums_over_millions_of_elements_stay_accurate(case):
    assert worst_error(run_both(case, "mixed", torch.float32, 3, shapes=[(256, 4608)]), floor=0.1) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_16_bit_weights_are_the_references_rounded_after_every_step(case, dtype):
    def store(weight):
        return torch.from_numpy(np.asarray(weight)).to(torch.float32).to(dtype).double().numpy()

    for _, ours, reference in run_both(case, "mixed", dtype, 20, store=store):
        # float32 arithmetic can fall on the other side of a rounding tie, rarely.
        assert np.sum(ours != reference) <= max(1, 0.01 * ours.size)
        ulp = torch.finfo(dtype).eps * np.maximum(np.abs(reference), 0.1)
        assert np.all(np.abs(ours - reference) <= 4 * ulp)


def test_float16_gradients_too_small_to_square_give_a_finite_step():
    param = torch.nn.Parameter(torch.ones(4, 4, dtype=torch.float16))
    param.grad = torch.full_like(param, 1e-5)
    AdamP([param], lr=0.1).step()
    # The first step of Adam is lr whatever the gradient's size.
    assert torch.allclose(param.detach(), torch.tensor(0.9, dtype=torch.float16), atol=2e-3)


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_each_group_uses_its_own_hyperparameters(case):
    generator = torch.Generator().manual_seed(1)
    weights = initial_weights(generator, [(5, 3), (5, 3)])
    params = [torch.nn.Parameter(w.clone()) for w in weights]
    changes: list[dict] = [{"lr": 0.02, "delta": 0.0}, {"weight_decay": 0.3, "nesterov": True}]
    groups = [{"params": [p], **change} for p, change in zip(params, changes, strict=True)]
    optimizer = case.optimizer(groups, **case.hyper)
    references = [case.reference(w.numpy(), **{**case.hyper, **c}) for w, c in zip(weights, changes, strict=True)]
    for _ in range(20):
        for param, reference in zip(params, references, strict=True):
            param.grad = gradient("channel", torch.from_numpy(reference.weight), generator)
            reference.step(param.grad.numpy())
        optimizer.step()
    for param, reference in zip(params, references, strict=True):
        assert np.allclose(param.detach().numpy(), reference.weight, rtol=0, atol=1e-13)


@pytest.mark.parametrize("channel_dim", [1, -1, 2])
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_channel_dim_names_the_dimension_of_the_channels(case, channel_dim):
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(3, 4, 5, dtype=torch.float64, generator=generator)
    param = torch.nn.Parameter(weight.clone())
    hyper = {**case.hyper, "channel_dim": channel_dim}
    optimizer, reference = case.optimizer([param], **hyper), case.reference(weight.numpy(), **hyper)
    for _ in range(10):
        rows_first = torch.from_numpy(reference.weight).movedim(channel_dim, 0)
        param.grad = gradient("channel", rows_first, generator).movedim(0, channel_dim)
        assert reference.step(param.grad.numpy()) == "channel"
        optimizer.step()
        assert optimizer.diagnostics()[0, 0].decision is Decision.CHANNEL
    assert np.allclose(param.detach().numpy(), reference.weight, rtol=0, atol=1e-13)


def sgdp_against_reference(*, nesterov: bool, is_aliased: bool) -> float:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    param = torch.nn.Parameter(weight.clone())
    hyper = {**SGDP_, "nesterov": nesterov}
    optimizer, reference = SGDP([param], **hyper), SGDPReference(weight.numpy(), is_aliased=is_aliased, **hyper)
    for _ in range(20):
        param.grad = gradient("channel", torch.from_numpy(reference.weight), generator)
        reference.step(param.grad.numpy())
        optimizer.step()
    return float(np.abs(param.detach().numpy() - reference.weight).max())


def test_sgdp_without_nesterov_follows_the_paper_and_not_the_authors_aliased_buffer():
    assert sgdp_against_reference(nesterov=False, is_aliased=False) < 1e-13
    assert sgdp_against_reference(nesterov=False, is_aliased=True) > 1e-3


def test_sgdp_with_nesterov_follows_both_the_paper_and_the_authors_code():
    assert sgdp_against_reference(nesterov=True, is_aliased=False) < 1e-13
    assert sgdp_against_reference(nesterov=True, is_aliased=True) < 1e-13


def test_sgdp_keeps_the_unprojected_momentum():
    param = torch.nn.Parameter(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    optimizer = SGDP([param], lr=0.1, momentum=0.5)
    along, orthogonal = torch.tensor([[2.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    for grad in (along, orthogonal):  # the weight stays on the first axis until the second step
        param.grad = grad
        optimizer.step()
    assert optimizer.diagnostics()[0, 0].decision is Decision.CHANNEL
    assert torch.equal(optimizer.state[param]["momentum_buffer"], 0.5 * along + orthogonal)


@pytest.mark.parametrize(("lr", "weight_decay"), [(1e-3, 1e-2), (torch.tensor(1e-3), 1e-2)])
def test_a_zero_gradient_counts_as_scale_invariant_and_is_decayed_less(lr, weight_decay):
    param = torch.nn.Parameter(torch.ones(2, 3, dtype=torch.float64))
    param.grad = torch.zeros_like(param)
    AdamP([param], lr=lr, weight_decay=weight_decay, wd_ratio=0.5).step()
    assert torch.allclose(param.detach(), torch.tensor(1 - 1e-5 / 2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_defaults_are_the_authors():
    hyper = AdamP([torch.nn.Parameter(torch.zeros(1))]).defaults
    assert {name: hyper[name] for name in ADAMP} == {**ADAMP, "lr": 1e-3}
    hyper = SGDP([torch.nn.Parameter(torch.zeros(1))], lr=0.1).defaults
    assert {name: hyper[name] for name in SGDP_} == {**SGDP_, "lr": 0.1, "momentum": 0}
