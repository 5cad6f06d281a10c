"""Every refusal names the rule, the value and the way out, and comes before anything is touched."""

import copy
import inspect
import math

import pytest
import torch

from adamp import SGDP, SGDW, AdamP
from tests.unit.adamp.cases import REFUSED, VALID

OPTIMIZERS = [(AdamP, {}), (SGDP, {"lr": 0.1}), (SGDW, {"lr": 0.1})]


def params(*shapes):
    return [torch.nn.Parameter(torch.ones(shape)) for shape in shapes or [(2, 3), (3,)]]


@pytest.mark.parametrize(("optimizer", "hyper", "message"), REFUSED)
def test_a_refused_hyperparameter_is_named_with_its_value(optimizer, hyper, message):
    with pytest.raises(ValueError, match=message):
        optimizer(params(), **hyper)


@pytest.mark.parametrize(("optimizer", "hyper", "message"), [case for case in REFUSED if case[1]])
def test_a_refused_group_leaves_the_optimizer_as_it_was(optimizer, hyper, message):
    subject = optimizer(params(), lr=0.1)
    with pytest.raises(ValueError, match=message):
        subject.add_param_group({"params": params(), **hyper})
    assert len(subject.param_groups) == 1


@pytest.mark.parametrize("case", VALID, ids=str)
def test_every_valid_case_is_accepted_as_defaults_and_as_a_group(case):
    case.optimizer([{"params": params(), **case.hyper}, {"params": params()}], **case.hyper)


def test_an_infinite_delta_is_accepted():
    AdamP(params(), delta=math.inf)


@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)
def test_a_misspelt_hyperparameter_is_refused(optimizer, hyper):
    with pytest.raises(TypeError, match="weigth_decay"):
        optimizer(params(), weigth_decay=0.1, **hyper)
    with pytest.raises(ValueError, match="has no hyperparameter 'weigth_decay'; did you mean 'weight_decay'"):
        optimizer([{"params": params(), "weigth_decay": 0.1}], **hyper)


def test_the_refusal_of_a_misspelt_name_lists_the_names_that_there_are():
    message = (
        r"^SGDW has no hyperparameter 'momentun'; did you mean 'momentum'\? It has lr, momentum, dampening, "
        r"weight_decay, nesterov, maximize, differentiable, fused, deterministic\.$"
    )
    with pytest.raises(ValueError, match=message):
        SGDW([{"params": params(), "momentun": 0.9}], lr=0.1)


@pytest.mark.parametrize("keys", [("max_lr", "min_lr", "initial_lr"), ("max_momentum", "base_momentum")])
def test_a_group_may_carry_what_torchs_schedulers_write_into_it(keys):
    group = {"params": params(), **dict.fromkeys(keys, 0.9)}
    assert set(keys) <= set(SGDP([group], lr=0.1).param_groups[0])


@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)
def test_a_differentiable_step_is_refused_with_the_reason(optimizer, hyper):
    message = (
        f"^{optimizer.__name__} does not support differentiable=True: "
        r"its step changes weights in place, without autograd\.$"
    )
    with pytest.raises(ValueError, match=message):
        optimizer(params(), differentiable=True, **hyper)


@pytest.mark.parametrize("name", ["differentiable", "fused", "deterministic"])
@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)
def test_a_switch_that_is_no_bool_is_named_with_its_optimizer(optimizer, hyper, name):
    with pytest.raises(ValueError, match=rf"^{optimizer.__name__}: {name} must be True or False, got 'no'\.$"):
        optimizer(params(), **{name: "no"}, **hyper)


@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)
def test_fused_is_refused_with_the_optimizer_where_no_fused_step_is_written(optimizer, hyper):
    param = torch.nn.Parameter(torch.ones(2, 3, device="meta"))
    with pytest.raises(RuntimeError, match=r"no fused step for meta parameters here \(none is written\)"):
        optimizer([param], fused=True, **hyper)
    subject = optimizer(params(), **hyper)
    with pytest.raises(RuntimeError, match="no fused step for meta parameters"):
        subject.add_param_group({"params": [param], "fused": True})
    assert len(subject.param_groups) == 1


def test_a_misspelt_name_is_found_behind_names_that_are_right_or_ones_own():
    with pytest.raises(ValueError, match="did you mean 'momentum'"):
        SGDP([{"params": params(), "lr": 0.1, "name": "head", "momentun": 0.9}])


def test_a_group_may_carry_keys_of_its_own():
    group = {"params": params(), "name": "head", "lr_scale": 0.5, "initial_lr": 0.1}
    assert AdamP([group]).param_groups[0]["lr_scale"] == 0.5


def test_lr_may_be_given_per_group_only():
    assert SGDP([{"params": params(), "lr": 0.1}]).param_groups[0]["lr"] == 0.1


def test_a_copied_optimizer_still_wants_lr_for_a_new_group():
    twin = copy.deepcopy(SGDP([{"params": params(), "lr": 0.1}]))
    with pytest.raises(ValueError, match="SGDP has no default learning rate"):
        twin.add_param_group({"params": params()})


def test_named_parameters_are_accepted():
    subject = AdamP(torch.nn.Linear(2, 2).named_parameters())
    assert subject.param_groups[0]["param_names"] == ["weight", "bias"]


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        (AdamP, "params lr betas eps weight_decay delta wd_ratio nesterov"),
        (SGDP, "params lr momentum dampening weight_decay nesterov eps delta wd_ratio"),
    ],
)
def test_positional_arguments_come_in_the_authors_order(optimizer, names):
    signature = inspect.signature(optimizer).parameters.values()
    positional = [p.name for p in signature if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == names.split()


@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)
def test_every_hyperparameter_of_the_signature_is_in_the_groups(optimizer, hyper):
    arguments = [name for name in inspect.signature(optimizer).parameters if name != "params"]
    subject = optimizer(params(), **hyper)
    assert tuple(arguments) == subject.hyperparameters
    assert set(arguments) == set(subject.param_groups[0]) - {"params"}


@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)
@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2, 2, dtype=torch.complex64), torch.ones(2, 2).to_sparse(), torch.ones(2, 2, dtype=torch.int64)],
    ids=["complex", "sparse", "integer"],
)
def test_parameters_without_a_defined_update_are_refused(optimizer, hyper, tensor):
    with pytest.raises(ValueError, match=f"{optimizer.__name__} optimizes dense real floating-point tensors"):
        optimizer([tensor], **hyper)


@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)
def test_a_sparse_gradient_is_refused_before_any_state_is_touched(optimizer, hyper):
    embedding = torch.nn.Embedding(4, 3, sparse=True)
    dense = torch.nn.Parameter(torch.ones(2, 2))
    subject = optimizer([{"params": dense}, {"params": embedding.parameters()}], **hyper)
    dense.grad = torch.ones_like(dense)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=r"needs dense real gradients.*shape \(4, 3\); no parameter was changed"):
        subject.step()
    assert torch.equal(dense, torch.ones_like(dense))
    assert not subject.state
    assert not subject.diagnostics()


def test_an_empty_parameter_list_is_refused_as_in_torch():
    with pytest.raises(ValueError, match="empty parameter list"):
        AdamP([])
