"""The Triton kernels' arithmetic, in Triton's interpreter on the CPU; and that they compile for a GPU without one.

What needs a GPU is in `tests/gpu`. Without triton these tests are skipped, and say so.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import adamp
from adamp import SGDP, SGDW, AdamP, triton_arithmetic, triton_plan
from tests.unit.adamp.accuracy import TABLE

ROOT = Path(__file__).resolve().parents[3]
HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed: adamp's GPU kernels are NOT tested")


def run_module(name, **environment):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ADAMP_PATH": "", **environment}
    command = [sys.executable, "-m", f"tests.unit.adamp.{name}"]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def found():
    return run_module("triton_interpreted", TRITON_INTERPRET="1")


def test_without_triton_or_a_gpu_the_plan_says_why_it_cannot_run():
    assert (triton_arithmetic.WHY_NOT is None) == HAS_TRITON
    if not HAS_TRITON:
        assert triton_plan.why_not().startswith("triton cannot be imported (ModuleNotFoundError")


@needs_triton
@pytest.mark.timeout(900)  # for the first, which starts the interpreter
@pytest.mark.xdist_group("triton")
class TestInterpreted:
    def test_float32_stays_within_rounding_of_the_reference_and_decides_alike(self, found):
        assert len(found["against_reference"]) == 15
        assert {case: e for case, e in found["against_reference"].items() if e >= 2e-6} == {}

    def test_over_the_table_float32_is_within_2e_6_of_the_displacement_and_decides_alike(self, found):
        assert len(found["accuracy"]) == len(TABLE)
        for cell, of_cell in found["accuracy"].items():
            assert of_cell["wrong"] == [], cell
            assert {place: e for place, e in of_cell["errors"].items() if e > 2e-6} == {}, cell

    def test_rows_of_many_segments_and_tensors_of_many_rows_are_summed_alike(self, found):
        assert max(found["in_small_blocks"].values()) < 2e-6

    def test_16_bit_weights_are_the_references_rounded(self, found):
        for case, (share, roundings) in found["rounded_16_bit"].items():
            # The interpreter truncates float32 to bfloat16, which a GPU rounds.
            assert share <= (1 if "bfloat16" in case else 0.01), case
            assert roundings <= (8 if "bfloat16" in case else 4), case

    def test_what_the_sweep_expected_changes_no_bit(self, found):
        assert set(found["history"].values()) == {0}

    def test_layouts_tensor_rates_and_steps_on_the_device_agree(self, found):
        assert {name: apart for name, apart in found["variants"].items() if apart > 1e-6} == {}
        assert found["variants"]["step on the device"] == 0

    def test_edges_agree_with_plain_torch(self, found):
        for name, (ours, plain) in found["edges"].items():
            assert ours[1] == plain[1], name
            flat = [[x for row in result[0] for x in row] for result in (ours, plain)]
            assert flat[0] == pytest.approx(flat[1], rel=1e-6, abs=1e-7, nan_ok=True), name

    def test_diagnostics_agree_with_plain_torch(self, found):
        for name, ours, plain in found["records"]:
            assert (ours is None) == (plain is None), name
            assert plain is None or ours == pytest.approx(plain, rel=1e-5), name

    def test_what_the_kernels_do_not_take_is_stepped_by_plain_torch(self, found):
        assert found["left_over"] == {"n_taken": 1, "n_steps": [1, 1, 1, 1, 1]}

    def test_the_tables_are_less_than_1_percent_of_the_weights(self, found):
        assert found["bytes_share"] < 0.01


@needs_triton
def test_every_kernel_compiles_for_an_h200_without_contracted_products():
    sizes = run_module("triton_compiled", TRITON_INTERPRET="0")
    assert len(sizes) == 24
    assert min(sizes.values()) > 0


def test_paths_say_why_a_gpu_has_no_triton_step():
    if triton_plan.why_not() is not None:
        assert triton_plan.why_not() in adamp.paths()["cuda"]


@pytest.mark.parametrize("optimizer", [AdamP, SGDP, SGDW])
def test_a_learning_rate_on_another_device_is_not_read_on_the_host(optimizer):
    subject = optimizer([torch.nn.Parameter(torch.ones(2, 2, device="meta"))], lr=0.1)
    lr = torch.empty((), device="meta")  # has no value that could be read
    hyper = subject._read_hyper({**subject.param_groups[0], "lr": lr})
    assert math.isnan(hyper.lr)
    assert hyper.lr_tensor is lr
    on_cpu = subject._read_hyper({**subject.param_groups[0], "lr": torch.tensor(0.25)})
    assert (on_cpu.lr, on_cpu.lr_tensor) == (0.25, None)


def test_asking_for_the_paths_warns_of_none(caplog):
    adamp.paths()
    assert caplog.records == []
