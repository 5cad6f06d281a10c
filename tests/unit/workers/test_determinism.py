"""The same run gives the same bits: in one process, in two, and through an interruption."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workers.training import Interrupted, train

ROOT = Path(__file__).parents[3]

PROGRAM = """
import json, sys
from workers.training import Run, configure_torch, train

class Silent:
    def started(self, start): pass
    def measured(self, measurement): pass
    def should_stop(self): return False
    def wants_checkpoint(self): return False

configure_torch(1)
for workload in ("digits-cnn", "digits-mlp"):
    for optimizer, params in json.loads(sys.argv[1]).items():
        run = Run(workload, {"epochs": 1}, optimizer, params, seed=3, reads_test_set=True)
        result = train(run, Silent())
        print(workload, optimizer, result.value.hex(), result.test_value.hex(), result.metrics)
"""


def test_two_fresh_processes_agree_to_the_last_bit():
    params = json.dumps({"AdamW": {"lr": 0.01}, "AdamP": {"lr": 0.01}, "SGD": {"lr": 0.1}, "SGDP": {"lr": 0.1}})
    command = [sys.executable, "-c", PROGRAM, params]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(first.splitlines()) == 8
    assert first == second


def test_a_run_does_not_depend_on_the_runs_before_it(short_run, recorder, bits):
    run = short_run("AdamP", "digits-cnn", reads_test_set=True)
    alone = train(run, recorder())
    train(short_run("SGD", seed=8), recorder())
    torch.manual_seed(99)
    assert bits(train(run, recorder())) == bits(alone)


def test_training_leaves_the_global_generator_alone(short_run, recorder):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(short_run(), recorder())
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_another_result(short_run, recorder):
    assert train(short_run(seed=1), recorder()).value != train(short_run(seed=2), recorder()).value


def test_arms_at_the_same_seed_begin_alike(short_run, recorder):
    observers = [recorder() for _ in range(2)]
    for optimizer, observer in zip(("SGDP", "AdamW"), observers, strict=True):
        train(short_run(optimizer), observer)
    first, second = [observer.measurements[0] for observer in observers]
    assert first.value == second.value
    assert first.layers["hidden1.weight"]["weight_norm"] == second.layers["hidden1.weight"]["weight_norm"]


def _interrupted_and_resumed(run, steps, path, recorder, **allowed):
    """Train with an interruption after each of `steps` (completed steps); the last observer and the result."""
    measurements, done = [], 0
    for step in steps:
        observer = recorder(stop_after=step - done)
        with pytest.raises(Interrupted) as stop:
            train(run, observer, checkpoint=path, **allowed)
        assert (stop.value.step, stop.value.is_saved) == (step, True)
        assert observer.starts[0].step == done
        measurements, done = measurements + observer.measurements, step
    observer = recorder()
    result = train(run, observer, checkpoint=path, **allowed)
    assert (observer.starts[0].step, observer.starts[0].note) == (done, "")
    return measurements + observer.measurements, result


@pytest.mark.parametrize("workload", ["digits-cnn", "digits-mlp"])
@pytest.mark.parametrize("steps", [(1,), (5, 6, 20), (16,), (31,)])
def test_resumed_run_equals_the_uninterrupted_one(workload, steps, optimizer, short_run, recorder, bits, tmp_path):
    run = short_run(optimizer, workload, reads_test_set=True)
    whole = recorder()
    expected = train(run, whole)
    measurements, result = _interrupted_and_resumed(run, steps, tmp_path / "run.ckpt", recorder)
    assert bits(result) == bits(expected)
    assert measurements == whole.measurements


def test_resumed_run_draws_the_same_noise(short_run, recorder, bits, tmp_path, plugins):
    run = short_run("AdamW", "plugged:Noisy", options={})
    expected = train(run, recorder(), allowed=plugins)
    _, result = _interrupted_and_resumed(run, (3,), tmp_path / "run.ckpt", recorder, allowed=plugins)
    assert bits(result) == bits(expected)


def test_times_add_up_over_attempts(short_run, recorder, tmp_path):
    path = tmp_path / "run.ckpt"
    with pytest.raises(Interrupted):
        train(short_run(), recorder(stop_after=30), checkpoint=path)
    resumed = train(short_run(), recorder(), checkpoint=path)
    last_two_steps = train(short_run(), recorder(), checkpoint=path)
    assert resumed.n_steps == last_two_steps.n_steps == 32
    assert resumed.cpu_s > 0.005


def test_checkpoint_on_wish_does_not_change_the_run(short_run, recorder, bits, tmp_path):
    path = tmp_path / "run.ckpt"
    expected = train(short_run("SGDP"), recorder())
    assert bits(train(short_run("SGDP"), recorder(save_after=9), checkpoint=path)) == bits(expected)
    crashed = recorder()
    assert bits(train(short_run("SGDP"), crashed, checkpoint=path)) == bits(expected)
    assert crashed.starts[0].step == 9


def test_interruption_without_a_checkpoint_says_so(short_run, recorder):
    with pytest.raises(Interrupted) as stop:
        train(short_run(), recorder(stop_after=4))
    assert (stop.value.step, stop.value.is_saved) == (4, False)


def test_checkpoint_of_another_run_is_not_used(short_run, recorder, bits, tmp_path):
    path = tmp_path / "run.ckpt"
    with pytest.raises(Interrupted):
        train(short_run(seed=1), recorder(stop_after=4), checkpoint=path)
    observer = recorder()
    result = train(short_run(seed=2), observer, checkpoint=path)
    assert observer.starts[0].step == 0
    assert "another run" in observer.starts[0].note
    assert bits(result) == bits(train(short_run(seed=2), recorder()))


def test_damaged_checkpoint_restarts_the_run_with_a_reason(short_run, recorder, tmp_path):
    path = tmp_path / "run.ckpt"
    path.write_bytes(b"\x80\x04 not a checkpoint")
    observer = recorder()
    assert train(short_run(), observer, checkpoint=path).n_steps == 32
    assert (observer.starts[0].step, observer.starts[0].note[:29]) == (0, "the checkpoint cannot be read")
