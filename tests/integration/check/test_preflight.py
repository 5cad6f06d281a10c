"""A configuration that names what there is not is refused at once: it would test less, and nobody would see it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.domain.checks import Side
from workers.check.client import Probe
from workers.check.config import make_config
from workers.check.errors import InfrastructureError, UsageError
from workers.check.preflight import expect_accepted, expect_known

HERE = Path(__file__).parent
SGD = "torch.optim:SGD"
EQUAL = {"name": "as-before", "equals": SGD, "equals_arguments": {"lr": 0.1}}

UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "workload": ({"workloads": [{"name": "digits"}]}, r"workloads\[0\]: the check has no workload 'digits'; it has"),
    "property": ({"properties": ["orthogonal"]}, "the check has no property 'orthogonal'; it has projected-step-is-"),
    "file of an equivalence": (
        {"equivalences": [{**EQUAL, "equals": "x.py:A"}]},
        "'as-before': there is no file .*x.py",
    ),
    "file of a property": ({"properties": ["x.py:holds"]}, "properties: there is no file"),
    "file of the reference": ({"reference": "x.py:A"}, "reference: there is no file"),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "dimension": ({"dimensions": {"momentun": [0.0, 0.9]}}, r"dimensions.momentun: .*unexpected keyword argument"),
    "extra": ({"extras": [{"maximize": True}, {"beta": 1}]}, r"extras\[1\]: torch.optim:SGD refuses its arguments"),
    "variant": ({"variants": [{"fuse": True}]}, r"variants\[0\]: .*'fuse'"),
    "workload's argument": ({"workloads": [{"name": "digits-mlp", "arguments": {"beta": 1}}]}, r"workloads\[0\]: "),
    "equivalence's argument": ({"equivalences": [{**EQUAL, "arguments": {"beta": 1}}]}, "'as-before': .*'beta'"),
    "equivalence's class": (
        {"equivalences": [{**EQUAL, "equals": "torch.optim:SGDD"}]},
        "torch.optim has no 'SGDD'",
    ),
    "other's argument": ({"equivalences": [{**EQUAL, "equals_arguments": {"beta": 1}}]}, "'as-before': .*'beta'"),
    "reference's module": ({"reference": "absent_module:A"}, "reference: importing absent_module fails"),
    "property's function": ({"properties": ["torch.optim:holds"]}, "properties: torch.optim has no 'holds'"),
    "method": ({"methods": ["zero_grad", "diagnose"]}, "methods: SGD has no method 'diagnose'"),
}


def config_with(table: dict[str, Any]) -> Any:
    return make_config("sgd", {"optimizer": SGD, "arguments": {"lr": 0.1}, **table}, HERE)


def side(role: str, optimizer: str) -> Probe:
    return Probe(Side(optimizer, optimizer, ""), role=role, python=sys.executable, arguments={"lr": 0.1})


@pytest.fixture(scope="module")
def sgd() -> Iterator[Probe]:
    with side("baseline", SGD) as probe:
        yield probe


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_the_check_does_not_have_is_refused_before_a_side_starts(name: str) -> None:
    table, sentence = UNKNOWN[name]
    with pytest.raises(UsageError, match=sentence):
        expect_known(config_with(table))


@pytest.mark.parametrize("name", REFUSED)
def test_what_both_sides_refuse_is_a_mistake_of_the_configuration(name: str, sgd: Probe) -> None:
    table, sentence = REFUSED[name]
    config = config_with(table)
    expect_known(config)
    with pytest.raises(UsageError, match=sentence):
        expect_accepted(sgd, sgd, config)


def test_a_dimension_needs_but_one_value_that_is_accepted_alone(sgd: Probe) -> None:
    expect_accepted(sgd, sgd, config_with({"dimensions": {"nesterov": [False, True], "momentum": [0.0, 0.9]}}))


def test_an_extra_whose_value_is_refused_may_be_meant(sgd: Probe) -> None:
    expect_accepted(sgd, sgd, config_with({"extras": [{"momentum": -1.0}]}))


def test_what_one_side_alone_refuses_is_left_to_the_layers(sgd: Probe) -> None:
    with side("candidate", "torch.optim:Adam") as adam:
        expect_accepted(sgd, adam, config_with({"extras": [{"amsgrad": True}, {"nesterov": False}]}))


def test_cuda_where_there_is_none_is_no_verdict(sgd: Probe) -> None:
    if sgd.description["cuda"]:
        pytest.skip("there is one")
    with pytest.raises(InfrastructureError, match="torch finds no CUDA device on the baseline's side"):
        expect_accepted(sgd, sgd, config_with({"device": "cuda"}))
