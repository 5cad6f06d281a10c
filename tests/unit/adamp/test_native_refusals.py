"""A step that fails, or tensors that were changed behind the optimizer's back, never lead the native step astray."""

import pytest
import torch

from adamp import AdamP, native
from tests.unit.adamp.repeated import give_gradients, repeats

pytestmark = pytest.mark.skipif(native.why_not() is not None, reason="no native step")


def test_a_step_that_failed_midway_is_not_followed_by_one_that_repeats_its_forerunner():
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in ((50, 40), (5, 4), (5, 4))]
    subject = AdamP([{"params": params[:2]}, {"params": params[2:]}], lr=0.1)
    for seed in range(2):
        give_gradients(params, seed)
        assert repeats(subject) == (seed == 1)
    params[1].grad = None  # the first group's table is built anew
    lost = subject.state[params[2]].pop("exp_avg_sq")
    with pytest.raises(KeyError, match="exp_avg_sq"):
        subject.step()
    subject.state[params[2]]["exp_avg_sq"] = lost
    give_gradients(params, 2)
    assert not repeats(subject)
    assert repeats(subject)


def test_a_table_whose_building_failed_is_built_again(monkeypatch):
    param = torch.nn.Parameter(torch.ones(6, 4))
    subject = AdamP([param], lr=0.1)
    give_gradients([param], 0)
    subject.step()
    (plan,) = subject._plans.values()
    kept = param.data
    param.data = kept.clone()
    with monkeypatch.context() as broken:
        broken.setattr(native, "_describe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            subject.step()
    param.data = kept
    before = param.detach().clone()
    subject.step()
    assert plan is subject._plans[(0, "cpu", None)]
    assert not torch.equal(param, before)
