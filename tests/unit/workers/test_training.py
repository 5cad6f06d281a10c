"""One run from start to result."""

import dataclasses
import json
import math

import pytest
import torch

from service.domain.catalog import BUILT_IN
from service.domain.trial import Outcome
from workers.plugins import NotAllowedError
from workers.training import DIVERGED_ABOVE, is_out_of_memory, train
from workers.workloads import ENDPOINT_FLOOR


@pytest.mark.parametrize("workload", sorted(BUILT_IN.workloads))
def test_every_optimizer_learns_every_workload(workload, optimizer, short_run, recorder):
    result = train(short_run(optimizer, workload, reads_test_set=True), recorder())
    assert result.outcome is Outcome.FINISHED
    assert 0 < result.value < 2.2
    assert 0 < result.test_value < 2.2
    assert set(result.metrics) == set(BUILT_IN.workloads[workload].metrics)
    assert result.n_steps == 32
    assert result.duration_s > 0
    assert result.cpu_s > 0


def test_measurements_come_before_the_first_step_and_after_each_epoch(short_run, recorder):
    observer = recorder()
    result = train(short_run(), observer)
    assert [(entry.epoch, entry.step) for entry in observer.measurements] == [(0, 0), (1, 16), (2, 32)]
    assert [set(entry.metrics) for entry in observer.measurements] == [
        {"validation_accuracy"},
        {"validation_accuracy", "train_loss"},
        {"validation_accuracy", "train_loss"},
    ]
    assert observer.measurements[-1].value == result.value
    assert (observer.starts[0].step, observer.starts[0].n_steps, observer.starts[0].n_epochs) == (0, 32, 2)


def test_observer_is_not_asked_after_the_last_step(short_run, recorder):
    observer = recorder()
    train(short_run(), observer)
    assert observer.n_polls == 31


def test_test_set_is_read_only_where_the_run_says_so(short_run, recorder):
    result = train(short_run(), recorder())
    assert result.test_value is None
    assert not [name for name in result.metrics if name.startswith("test")]


def test_layers_tell_norm_effective_rate_and_projections(short_run, recorder):
    observer = recorder()
    train(short_run("AdamP", "digits-cnn"), observer)
    first, *later = [entry.layers for entry in observer.measurements]
    assert set(first) == {"conv1.weight", "conv2.weight", "conv3.weight", "head.weight"}
    conv = first["conv1.weight"]
    assert conv["effective_lr"] == pytest.approx(0.01 / conv["weight_norm"] ** 2)
    assert [layer["projection_rate"] for layer in first.values()] == [None] * 4
    assert [layers["conv2.weight"]["projection_rate"] for layers in later] == [1.0, 1.0]
    assert all(layers["head.weight"]["projection_rate"] < 0.5 for layers in later)
    assert [layer["is_scale_invariant"] for layer in first.values()] == [True, True, True, False]


def test_optimizers_without_projection_report_no_rate(short_run, recorder):
    for optimizer in ("AdamW", "SGDW"):
        observer = recorder()
        train(short_run(optimizer), observer)
        rates = {layer["projection_rate"] for entry in observer.measurements for layer in entry.layers.values()}
        assert rates == {None}


def test_layers_tell_the_cosines_by_which_the_last_step_of_an_epoch_was_decided(short_run, recorder):
    observer = recorder()
    train(short_run("SGDP", "digits-cnn", params={"lr": 0.1, "delta": 0.5}), observer)
    first, *later = [entry.layers for entry in observer.measurements]
    assert {layer["channel_cos"] for layer in first.values()} == {None}
    for layers in later:
        conv, head = layers["conv1.weight"], layers["head.weight"]
        assert conv["channel_threshold"] == pytest.approx(0.5 / 3)
        assert conv["layer_threshold"] == pytest.approx(0.5 / math.sqrt(9 * 8))
        assert 0 <= conv["channel_cos"] < conv["channel_threshold"]
        assert 0 < head["layer_cos"] <= head["channel_cos"] <= 1


def test_arms_that_do_not_project_have_cosines_and_no_bound(short_run, recorder):
    found = {}
    for optimizer in ("SGDW", "SGDP"):
        observer = recorder()
        train(short_run(optimizer, params={"lr": 1e-9} | ({"delta": 0.0} if optimizer == "SGDP" else {})), observer)
        found[optimizer] = observer.measurements[-1].layers["hidden2.weight"]
    assert found["SGDW"]["channel_cos"] == pytest.approx(found["SGDP"]["channel_cos"], rel=1e-3)
    assert found["SGDW"]["channel_threshold"] is None
    assert found["SGDP"]["channel_threshold"] == 0.0


def test_projection_keeps_norms_smaller(short_run, recorder):
    norms = {}
    for optimizer in ("SGDW", "SGDP"):
        observer = recorder()
        train(short_run(optimizer), observer)
        norms[optimizer] = observer.measurements[-1].layers["hidden2.weight"]["weight_norm"]
    assert norms["SGDP"] < norms["SGDW"]


def test_loss_that_is_not_finite_ends_the_run_at_once_as_diverged(short_run, recorder):
    observer = recorder()
    result = train(short_run("SGD", params={"lr": 1e30}, reads_test_set=True), observer)
    assert result.outcome is Outcome.DIVERGED
    assert (result.value, result.test_value) == (None, None)
    assert result.n_steps < 10
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert len(observer.measurements) == 1


def test_endpoint_far_above_chance_counts_as_diverged(short_run, recorder):
    observer = recorder()
    result = train(short_run("SGD", params={"lr": 100.0}), observer)
    assert result.n_steps == 32
    assert observer.measurements[-1].value > DIVERGED_ABOVE * math.log(10)
    assert (result.outcome, result.value) == (Outcome.DIVERGED, None)


def test_run_that_barely_moves_is_slow_and_not_diverged(short_run, recorder):
    result = train(short_run("SGD", params={"lr": 1e-6}), recorder())
    assert result.outcome is Outcome.FINISHED
    assert result.value == pytest.approx(math.log(10), rel=0.1)


def test_measurements_are_json_without_nan(short_run, recorder, plugins):
    observer = recorder()
    result = train(short_run("SGD", "plugged:NotANumber", options={}), observer, allowed=plugins)
    assert result.outcome is Outcome.DIVERGED
    assert result.n_steps == 4
    assert [entry.value for entry in observer.measurements] == [1.0, None]
    for entry in observer.measurements:
        json.dumps(dataclasses.asdict(entry), allow_nan=False)


def test_endpoint_of_zero_is_floored(short_run, recorder, plugins):
    result = train(short_run("SGD", "plugged:Perfect", options={}), recorder(), allowed=plugins)
    assert result.value == ENDPOINT_FLOOR


def test_exception_of_the_observer_reaches_the_caller(short_run, recorder):
    class Pruner(recorder):
        def measured(self, measurement):
            raise InterruptedError(measurement.epoch)

    with pytest.raises(InterruptedError):
        train(short_run(), Pruner())


def test_workload_outside_the_allow_list_is_refused(short_run, recorder, plugins):
    with pytest.raises(NotAllowedError, match="digits-cnn, digits-mlp"):
        train(short_run("SGD", "plugged:Noisy", options={}), recorder())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 3}, r"digits-mlp has no option 'depth'; it has epochs, batch_size, width"),
        ({"epochs": 0}, r"digits-mlp: epochs must be in \[1, 1000\], got 0"),
    ],
)
def test_wrong_options_are_refused_with_the_rule(options, message, short_run, recorder):
    with pytest.raises(ValueError, match=message):
        train(short_run(options=options), recorder())


def test_out_of_memory_is_told_from_other_errors():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
