"""Plain torch that reads its decisions, on a CPU, equals plain torch that reads nothing."""

import pytest
import torch

from adamp import SGDP, SGDW, AdamP, eager
from tests.unit.adamp.cases import KINDS, SHAPES, VALID, Case, gradient

CASES = [*VALID, Case(AdamP, {"maximize": True, "weight_decay": 0.05}), Case(AdamP, {"channel_dim": -1})]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def run(case, dtype, shapes, *, n_steps=5):
    """All `shapes` in one optimizer, among which the second takes no step at t = 2; weights and diagnostics."""
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]
    subject = case.optimizer(params, fused=False, **case.hyper)
    for t in range(n_steps):
        for i, param in enumerate(params):
            kind = KINDS[(t + i) % len(KINDS)]
            param.grad = None if (t, i) == (2, 1) else gradient(kind, param.detach().double(), generator).to(dtype)
        subject.step()
    return params, subject.diagnostics()


@every_case
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_reading_decisions_changes_no_result(case, dtype, monkeypatch):
    shapes = [shape for shape in SHAPES if len(shape) > 1] if "channel_dim" in case.changes else SHAPES
    read = run(case, dtype, shapes)
    monkeypatch.setattr(eager, "can_read", lambda *_: False)
    unread = run(case, dtype, shapes)
    bound = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.02}[dtype]
    for a, b in zip(read[0], unread[0], strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)
    for place, told in read[1].items():
        other = unread[1][place]
        assert (told.decision, told.n_steps, told.n_projected_channel, told.n_projected_layer) == (
            other.decision,
            other.n_steps,
            other.n_projected_channel,
            other.n_projected_layer,
        )
        names = ("channel_cos", "layer_cos", "weight_norm", "effective_lr", "decay")
        for name in names if told.channel_cos is not None else names[2:]:
            assert getattr(told, name) == pytest.approx(getattr(other, name), rel=100 * bound, abs=bound, nan_ok=True)


@pytest.mark.parametrize("batch", [1, 100, 1 << 18])
def test_the_size_of_a_batch_changes_no_bit(batch, monkeypatch):
    case = Case(AdamP, {"weight_decay": 0.05})
    whole = run(case, torch.float32, SHAPES)[0]
    monkeypatch.setattr(eager, "BATCH", batch)
    assert all(torch.equal(a, b) for a, b in zip(whole, run(case, torch.float32, SHAPES)[0], strict=True))


@pytest.mark.parametrize("optimizer", [SGDW, AdamP])
def test_tensors_of_several_dtypes_step_together_as_each_does_alone(optimizer):
    dtypes = [torch.float32, torch.float64, torch.float32, torch.bfloat16]
    together, alone = ([torch.nn.Parameter(torch.full((3, 2), 1.3, dtype=d)) for d in dtypes] for _ in range(2))
    optimizers = [optimizer(params, lr=0.1, fused=False) for params in (together, *([param] for param in alone))]
    for seed in range(3):
        for params in (together, alone):
            generator = torch.Generator().manual_seed(seed)
            for param in params:
                param.grad = torch.randn(3, 2, generator=generator, dtype=torch.float64).to(param.dtype)
        for subject in optimizers:
            subject.step()
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize(("lr", "device", "can"), [(0.1, "cpu", True), (0.1, "meta", False)])
def test_only_tensors_on_the_cpu_are_read(lr, device, can):
    assert eager.can_read([torch.ones(2), torch.ones(2, device=device)], lr) is can


def test_a_learning_rate_elsewhere_is_not_read():
    assert eager.can_read([torch.ones(2)], torch.tensor(0.1))
    assert not eager.can_read([torch.ones(2)], torch.ones((), device="meta"))


@pytest.mark.parametrize("lr", [0.1, 0.0])
def test_a_zero_weight_has_an_infinite_effective_learning_rate_unless_lr_is_zero(lr, monkeypatch):
    told = []
    for can in (True, False):
        monkeypatch.setattr(eager, "can_read", lambda *_, found=can: found)
        param = torch.nn.Parameter(torch.zeros(3, 2))
        param.grad = torch.ones(3, 2)
        subject = AdamP([param], lr=lr, fused=False)
        subject.step()
        told.append(subject.diagnostics()[0, 0].effective_lr)
    assert told[0] == pytest.approx(told[1], nan_ok=True)


@pytest.fixture
def another_default_device():
    torch.set_default_device("meta")  # its tensors have no values
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("fused", [False, None])
@pytest.mark.parametrize("case", [Case(AdamP, {"weight_decay": 0.05}), Case(SGDP), Case(SGDW)], ids=str)
def test_parameters_on_the_cpu_step_there_whatever_torchs_default_device(case, fused, another_default_device):
    hyper = {
        name: value for name, value in case.hyper.items() if case.optimizer is not SGDW or name in ("lr", "momentum")
    }
    ends = []
    for device in ("meta", "cpu"):
        torch.set_default_device(device)
        param = torch.nn.Parameter(torch.ones(4, 3, device="cpu"))
        subject = case.optimizer([param], **hyper, fused=fused)
        for _ in range(3):
            param.grad = torch.arange(12.0, device="cpu").reshape(4, 3)
            subject.step()
        loaded = subject.state_dict()
        for entries in loaded["state"].values():
            entries.update({name: int(value) for name, value in entries.items() if name == "step"})  # as the authors do
        subject.load_state_dict(loaded)
        subject.step()
        assert subject.diagnostics()[0, 0].n_steps == 4
        ends.append(param.detach())
    assert torch.equal(*ends)
