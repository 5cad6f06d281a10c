"""Training on two processes, and tensors that lie on several: real processes, real gloo, real DTensors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.unit.adamp.distributed_ranks import N_RANKS, OPTIMIZERS

ROOT = Path(__file__).resolve().parents[3]
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each rank found."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.unit.adamp.distributed_ranks"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [*command, str(rank), str(folder / "store"), str(folder)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(N_RANKS)
    ]
    try:
        said = [process.communicate(timeout=200)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * N_RANKS, "\n".join(said)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(N_RANKS)]


@every_optimizer
def test_both_ranks_of_a_ddp_run_hold_the_same_bits_of_weights_and_state(ranks, name):
    assert [found[name]["is_same_on_both_ranks"] for found in ranks] == [True] * N_RANKS


@every_optimizer
def test_a_ddp_run_equals_one_process_with_the_whole_batch(ranks, name):
    assert max(found[name]["distance_to_one_process"] for found in ranks) < 1e-12
    assert all(found[name]["was_projected"] for found in ranks)


@every_optimizer
def test_a_ddp_run_resumed_from_the_first_ranks_checkpoint_continues_bit_for_bit(ranks, name):
    assert [found[name]["is_resumed_bit_for_bit"] for found in ranks] == [True] * N_RANKS


def test_a_tensor_that_is_distributed_over_ranks_is_refused_with_a_way_out(ranks):
    expected = (
        "AdamP decides on whole tensors, got one that torch distributes over ranks (a DTensor, or a parameter of "
        "FullyShardedDataParallel); train with DistributedDataParallel, or give that parameter to an optimizer "
        "of torch."
    )
    for found in ranks:
        said = found["refused"]["said"]
        assert {"Shard(0)", "Shard(1)", "Replicate", "Partial", "fully_shard", "FullyShardedDataParallel"} <= set(said)
        assert set(said.values()) == {expected}


def test_a_refused_shard_leaves_the_optimizer_and_the_tensor_as_they_were(ranks):
    for found in ranks:
        left = {name: found["refused"][name] for name in ("n_groups", "n_states", "is_untouched")}
        assert left == {"n_groups": 1, "n_states": 1, "is_untouched": True}
