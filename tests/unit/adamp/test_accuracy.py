"""Every path against the float64 reference over the whole table; the Triton path in `test_triton.py`."""

import pytest
import torch

from adamp import SGDP, AdamP, native
from tests.unit.adamp.accuracy import TABLE, TABLE_16_BIT, errors, make_trajectory, repeat, roundings_apart
from tests.unit.adamp.cases import ADAMP, SGDP_

F32, F64 = torch.float32, torch.float64
INSTRUCTION_SETS = {"native generic": 0, "native AVX2": 1, "native AVX-512": 2}
HAS_NATIVE = native.why_not() is None
N_SETS = native.instruction_set() + 1 if HAS_NATIVE else 0
every_path = pytest.mark.parametrize("path", ["torch", *list(INSTRUCTION_SETS)[:N_SETS]])
every_cell = pytest.mark.parametrize("index", range(len(TABLE)), ids=lambda index: str(TABLE[index]))
INDEXES_16_BIT = [TABLE.index(case) for case in TABLE_16_BIT]
every_16_bit_cell = pytest.mark.parametrize("index", INDEXES_16_BIT, ids=lambda index: str(TABLE[index]))


@pytest.fixture
def take_steps(path, monkeypatch):
    """`repeat` on the path of this test."""
    if path != "torch":
        monkeypatch.setattr(native, "instruction_set", lambda: INSTRUCTION_SETS[path])
    return lambda index, trajectory: repeat(index, trajectory, fused=path != "torch")


@every_path
@every_cell
def test_float32_is_within_2e_6_of_the_displacement_and_decides_alike(index, take_steps):
    trajectory = make_trajectory(index, F32)
    outcome = take_steps(index, trajectory)
    assert outcome.wrong == []
    assert {place: e for place, e in errors(trajectory, outcome).items() if e > 2e-6} == {}


@every_path
@every_cell
def test_float64_is_the_reference_but_for_rounding(index, take_steps):
    trajectory = make_trajectory(index, F64)
    outcome = take_steps(index, trajectory)
    assert outcome.wrong == []
    assert max(errors(trajectory, outcome).values()) < 1e-12


@every_path
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@every_16_bit_cell
def test_16_bit_weights_are_the_references_rounded_after_every_step(index, dtype, take_steps):
    trajectory = make_trajectory(index, dtype)
    outcome = take_steps(index, trajectory)
    assert outcome.wrong == []
    share, n_roundings = roundings_apart(trajectory, outcome, dtype)
    # float32 arithmetic can fall on the other side of a rounding tie, rarely.
    assert share <= 0.01
    assert n_roundings <= 1


def test_the_table_decides_every_view_often_and_hardly_ever_near_a_bound():
    trajectories = [make_trajectory(index, F32) for index in range(len(TABLE))]
    decisions = [view for t in trajectories for step in t.decisions for view in step]
    assert min(decisions.count(view) for view in ("channel", "layer", "none")) > 500
    margins = [m for t in trajectories for step in t.margins for m in step]
    assert sum(m <= 1e-4 for m in margins) < 0.01 * len(margins)


@every_path
@pytest.mark.parametrize(("optimizer", "hyper"), [(AdamP, ADAMP), (SGDP, SGDP_)])
def test_a_column_of_numbers_that_is_always_projected_does_not_move(optimizer, hyper, path, monkeypatch):
    # One number per channel: its tangent is nothing, and what is left of the step is rounding.
    if path != "torch":
        monkeypatch.setattr(native, "instruction_set", lambda: INSTRUCTION_SETS[path])
    weight = torch.randn(9, 1, generator=torch.Generator().manual_seed(0))
    param = torch.nn.Parameter(weight.clone())
    subject = optimizer([param], **{**hyper, "delta": 1e9}, fused=path != "torch")
    for seed in range(20):
        param.grad = torch.randn(9, 1, generator=torch.Generator().manual_seed(seed))
        subject.step()
    assert ((param.detach() - weight).abs() <= 20 * torch.finfo(F32).eps * weight.abs()).all()
