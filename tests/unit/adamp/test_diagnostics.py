"""What `diagnostics()` tells of the last step and of the steps since the last reset."""

import math

import pytest
import torch

from adamp import SGDP, SGDW, AdamP, Decision, ParameterDiagnostics
from tests.unit.adamp.cases import gradient

DECAY = 0.1 * 0.01 / (1 - 0.9)


def step(subject, param, kind, seed=0):
    param.grad = gradient(kind, param.detach(), torch.Generator().manual_seed(seed))
    subject.step()
    return subject.diagnostics()[0, 0]


@pytest.fixture
def param():
    generator = torch.Generator().manual_seed(0)
    return torch.nn.Parameter(torch.randn(6, 8, dtype=torch.float64, generator=generator))


@pytest.fixture
def sgdp(param):
    return SGDP([param], lr=0.1, momentum=0.9, weight_decay=0.01, wd_ratio=0.5)


@pytest.mark.parametrize(
    ("kind", "decision", "decay"),
    [
        ("channel", Decision.CHANNEL, DECAY * 0.5),
        ("layer", Decision.LAYER, DECAY * 0.5),
        ("none", Decision.NONE, DECAY),
    ],
)
def test_the_last_steps_decision_cosine_and_decay_are_told(sgdp, param, kind, decision, decay):
    told = step(sgdp, param, kind)
    assert told.decision is decision
    assert told.decay == pytest.approx(decay)
    assert told.max_abs_cos is not None
    assert told.threshold is not None
    assert (told.max_abs_cos < told.threshold) is (decision is not Decision.NONE)
    bounds = (told.channel_threshold, told.layer_threshold)
    assert bounds == pytest.approx((0.1 / math.sqrt(8), 0.1 / math.sqrt(48)))


def test_norm_and_effective_lr_are_those_before_the_step(sgdp, param):
    norm = float(param.detach().norm())
    told = step(sgdp, param, "none")
    assert told.weight_norm == pytest.approx(norm, rel=1e-14)
    assert told.effective_lr == pytest.approx(0.1 / norm**2, rel=1e-14)


@pytest.mark.parametrize("make", [AdamP, SGDP, SGDW])
def test_effective_lr_follows_a_tensor_lr(make, param):
    lr = torch.tensor(0.5)
    norm = float(param.detach().norm())
    told = step(make([param], lr=lr), param, "none")
    lr.fill_(7.0)
    assert told.effective_lr == pytest.approx(0.5 / norm**2, rel=1e-12)


def test_counts_are_since_the_last_reset(sgdp, param):
    for kind in ("channel", "channel", "layer", "none"):
        told = step(sgdp, param, kind)
    assert (told.n_steps, told.n_projected_channel, told.n_projected_layer) == (4, 2, 1)
    assert told.share_projected == 0.75
    sgdp.reset_diagnostics()
    (told,) = sgdp.diagnostics().values()
    assert (told.n_steps, told.n_projected_channel, told.n_projected_layer) == (0, 0, 0)
    assert math.isnan(told.share_projected)
    assert told.decision is Decision.NONE
    assert step(sgdp, param, "layer").share_projected == 1.0


def test_loading_a_state_keeps_the_counts(sgdp, param):
    step(sgdp, param, "channel")
    sgdp.load_state_dict(sgdp.state_dict())
    assert sgdp.diagnostics()[0, 0].n_projected_channel == 1


def test_before_the_first_step_there_is_nothing_to_tell(sgdp):
    assert sgdp.diagnostics() == {}


def test_keys_are_the_places_in_the_groups():
    params = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(3)]
    for p in params:
        p.grad = torch.ones_like(p)
    subject = AdamP([{"params": params[:2]}, {"params": params[2:]}])
    subject.step()
    assert list(subject.diagnostics()) == [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(4,), (), (0, 3)])
def test_where_projection_is_not_considered_there_is_no_cosine(shape):
    param = torch.nn.Parameter(torch.ones(shape))
    param.grad = torch.ones_like(param)
    subject = AdamP([param], weight_decay=0.1, lr=0.5)
    subject.step()
    (told,) = subject.diagnostics().values()
    assert (told.max_abs_cos, told.threshold, told.channel_cos, told.layer_cos) == (None,) * 4
    assert told.decision is Decision.NONE
    assert told.decay == pytest.approx(0.05)
    assert told.n_steps == 1


def test_a_nan_gradient_shows_as_a_nan_cosine(sgdp, param):
    param.grad = torch.full_like(param, math.nan)
    sgdp.step()
    (told,) = sgdp.diagnostics().values()
    assert told.channel_cos is not None
    assert math.isnan(told.channel_cos)
    assert told.decision is Decision.NONE


def test_a_zero_weight_has_an_infinite_effective_lr():
    param = torch.nn.Parameter(torch.zeros(2, 2))
    param.grad = torch.ones_like(param)
    subject = AdamP([param])
    subject.step()
    assert subject.diagnostics()[0, 0].effective_lr == math.inf


def test_sgdw_tells_norm_effective_lr_and_decay_only(param):
    subject = SGDW([param], lr=0.1, momentum=0.9, weight_decay=0.01)
    norm = float(param.detach().norm())
    told = step(subject, param, "channel")
    assert told == ParameterDiagnostics(
        decision=Decision.NONE,
        channel_cos=None,
        channel_threshold=None,
        layer_cos=None,
        layer_threshold=None,
        weight_norm=pytest.approx(norm),
        effective_lr=pytest.approx(0.1 / norm**2),
        decay=pytest.approx(DECAY),
        n_steps=1,
        n_projected_channel=0,
        n_projected_layer=0,
    )
