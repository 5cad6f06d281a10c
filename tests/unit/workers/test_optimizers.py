"""From a trial's parameters to an optimizer, and from a class to a catalog entry."""

import math

import pytest
import torch
from torch import nn

from service.domain.catalog import BUILT_IN
from service.domain.catalog import Optimizer as Entry
from workers.optimizers import build_optimizer, describe_optimizer
from workers.plugins import InvalidPluginError, NotAllowedError


def parameters():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).parameters()


def test_complements_become_torch_arguments():
    group = build_optimizer("AdamP", {"lr": 0.02, "one_minus_beta1": 0.05, "delta": 0.3}, parameters()).param_groups[0]
    assert (group["lr"], group["betas"], group["delta"]) == (0.02, (0.95, 0.999), 0.3)


def test_all_parameters_lie_in_one_group_with_one_decay(optimizer):
    built = build_optimizer(optimizer, {"lr": 0.1, "weight_decay": 0.01}, parameters())
    assert [(len(group["params"]), group["weight_decay"]) for group in built.param_groups] == [(4, 0.01)]


def test_torchs_own_are_fused():
    for name in ("SGD", "Adam", "AdamW"):
        assert build_optimizer(name, {"lr": 0.1}, parameters()).param_groups[0]["fused"] is True


def test_those_that_guess_must_give_results_that_do_not_depend_on_their_guesses():
    for name in ("AdamP", "SGDP", "SGDW"):
        assert build_optimizer(name, {"lr": 0.1}, parameters()).param_groups[0]["deterministic"] is True


@pytest.mark.parametrize("name", sorted(BUILT_IN.optimizers))
def test_every_default_space_builds(name):
    entry = BUILT_IN.optimizers[name]
    params = {
        key: value if isinstance(value, (int, float)) else value.at(0.5) for key, value in entry.default_space.items()
    }
    build_optimizer(name, params, parameters())


def test_unknown_hyperparameter_is_refused_and_known_ones_are_listed():
    with pytest.raises(ValueError, match="SGDP has no hyperparameter 'momentun'; it has lr, momentum"):
        build_optimizer("SGDP", {"lr": 0.1, "momentun": 0.9}, parameters())


def test_unknown_hyperparameter_is_not_swallowed_by_keyword_arguments(plugins):
    with pytest.raises(ValueError, match="no hyperparameter 'ta'; it has lr, beta1"):
        build_optimizer("plugged:Lazy", {"ta": 1}, parameters(), allowed=plugins)


@pytest.mark.parametrize("name", ["torch.optim:NAdam", "os:system", "AdaMax", "plugged:Lazy"])
def test_class_outside_the_allow_list_is_refused(name, plugins):
    with pytest.raises(NotAllowedError, match="not allowed on this worker"):
        build_optimizer(name, {"lr": 0.1}, parameters(), allowed=["torch.optim:RAdam"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plugged:Stranger", "must be a subclass of torch.optim"),
        ("plugged:Missing", "cannot be imported"),
        ("absent_module:Thing", "cannot be imported"),
        ("plugged", "form module:Class"),
        ("plugged:Lazy.step", "form module:Class"),
    ],
)
def test_allowed_name_that_is_no_optimizer_gives_a_reason(name, message, plugins):
    with pytest.raises(InvalidPluginError, match=message):
        build_optimizer(name, {}, parameters(), allowed=[name])


def test_allow_listed_class_is_built_from_described_parameters(plugins):
    entry = describe_optimizer("plugged:Lazy", allowed=plugins)
    space = {key: value for key, value in entry.default_space.items() if key != "lr"}
    built = build_optimizer("plugged:Lazy", {**space, "lr": 0.3, "tau": 5}, parameters(), allowed=plugins)
    assert built.given == {"betas": (0.8, 0.95), "tau": 5, "rest": {}}


def test_description_reads_the_signature(plugins):
    entry = describe_optimizer("plugged:Lazy", allowed=plugins)
    names = ["lr", "beta1", "one_minus_beta1", "beta2", "one_minus_beta2", "tau"]
    assert [parameter.name for parameter in entry.hyperparameters] == names
    assert entry.default_space["lr"].to_dict() == {"log": [0.05, 50.0]}
    assert (entry.default_space["beta1"], entry.default_space["beta2"]) == (0.8, 0.95)
    assert Entry.from_dict(entry.to_dict()) == entry


def test_description_of_a_class_of_torch_has_no_implementation_switches():
    entry = describe_optimizer("torch.optim:NAdam", allowed=["torch.optim:NAdam"])
    names = {parameter.name for parameter in entry.hyperparameters}
    assert {"lr", "beta1", "weight_decay", "momentum_decay", "decoupled_weight_decay"} <= names
    assert not names & {"foreach", "fused", "maximize", "capturable", "differentiable"}


def test_class_that_needs_more_than_numbers_is_refused(plugins):
    with pytest.raises(InvalidPluginError, match="needs an argument 'model'"):
        describe_optimizer("plugged:Demanding", allowed=plugins)


def test_catalog_matches_the_signatures_of_its_classes(optimizer):
    """A hyperparameter that the catalog offers but the class lacks would fail in the middle of a study."""
    entry = BUILT_IN.optimizers[optimizer]
    ours = {parameter.name for parameter in entry.hyperparameters}
    described = describe_optimizer(entry.import_name, allowed=[entry.import_name])
    theirs = {parameter.name for parameter in described.hyperparameters} | {"one_minus_momentum"}
    assert ours <= theirs
    for parameter in described.hyperparameters:
        if (known := entry.hyperparameter(parameter.name)) and known.name in ("eps", "delta", "wd_ratio", "beta2"):
            assert math.isclose(known.default, parameter.default)


def test_step_moves_a_model(optimizer):
    model = nn.Linear(3, 1)
    built = build_optimizer(optimizer, {"lr": 0.1}, model.parameters())
    before = model.weight.detach().clone()
    model(torch.ones(2, 3)).sum().backward()
    built.step()
    assert not torch.equal(model.weight, before)
