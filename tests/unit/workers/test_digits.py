"""The workloads' promises on scikit-learn's digits."""

import numpy as np
import pytest
import torch

from service.domain.catalog import BUILT_IN
from workers.workloads import complete_options, load
from workers.workloads.digits import N_TEST, N_VALIDATION, stratified_choice

CPU = torch.device("cpu")


@pytest.fixture(params=["digits-cnn", "digits-mlp"])
def make(request):
    cls = load(request.param)

    def build(seed=1, **options):
        torch.manual_seed(0)
        return cls(complete_options(cls.description, {"width": 8, **options}), seed, CPU)

    return build


def rows(examples):
    return {tuple(image.flatten().tolist()) for image in examples.images}


def test_description_is_the_catalogs_entry(make):
    assert make().description is BUILT_IN.workloads[make().description.name]


def test_test_set_is_the_same_for_every_seed(make):
    assert torch.equal(make(seed=1)._test.images, make(seed=2)._test.images)
    assert len(make()._test) == N_TEST


def test_parts_are_disjoint_and_complete(make):
    workload = make()
    parts = [workload._training, workload._validation, workload._test]
    assert [len(part) for part in parts] == [1797 - N_TEST - N_VALIDATION, N_VALIDATION, N_TEST]
    assert sum(len(rows(part)) for part in parts) == len(set().union(*map(rows, parts)))


def test_split_follows_the_seed(make):
    first, again, other = make(seed=1), make(seed=1), make(seed=2)
    assert torch.equal(first._validation.images, again._validation.images)
    assert not torch.equal(first._validation.images, other._validation.images)


def test_batches_depend_on_seed_epoch_and_place_only(make):
    workload = make()
    forward = [workload._in_order(epoch).labels for epoch in (0, 1, 2)]
    backward = [workload._in_order(epoch).labels for epoch in (2, 1, 0)]
    assert all(torch.equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    assert not torch.equal(forward[0], forward[1])
    assert not torch.equal(forward[0], make(seed=2)._in_order(0).labels)


def test_every_example_is_used_at_most_once_in_an_epoch(make):
    workload = make(batch_size=100)
    assert workload.n_steps_per_epoch == 10
    assert rows(workload._in_order(3)) == rows(workload._training)


def test_loss_ignores_the_length_of_the_weights_named_scale_invariant(make):
    workload = make()
    parameters = dict(workload.model.named_parameters())
    weights = {name for name, weight in parameters.items() if weight.ndim > 1}
    before = workload.loss(0, 0).item()
    for name in weights:
        with torch.no_grad():
            parameters[name].mul_(3.0)
        is_invariant = abs(workload.loss(0, 0).item() - before) < 1e-3
        assert is_invariant == (name in workload.scale_invariant), name
        with torch.no_grad():
            parameters[name].div_(3.0)


def test_evaluation_changes_nothing(make):
    workload = make()
    state = {name: value.clone() for name, value in workload.model.state_dict().items()}
    generator = torch.get_rng_state()
    assert workload.validate() == workload.validate()
    assert workload.model.training
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, state[name]) for name, value in workload.model.state_dict().items())


def test_learning_rate_falls_from_one_along_a_cosine(make):
    workload = make(epochs=4)
    factors = [workload.lr_factor(step) for step in range(workload.n_steps)]
    assert factors[0] == 1.0
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.001
    assert factors[workload.n_steps // 2] == pytest.approx(0.5)


def test_stratified_choice_takes_each_class_by_its_share():
    labels = np.repeat(np.arange(10), 100)
    mask = stratified_choice(labels, 250, seed=4)
    assert mask.sum() == 250
    assert np.bincount(labels[mask]).min() >= 24
    assert not np.array_equal(mask, stratified_choice(labels, 250, seed=5))
