"""The page for Optuna's users names everything that a study file may say about its search."""

from pathlib import Path

import pytest

from service.domain.imported import ENDPOINTS
from service.domain.samplers import PRUNERS, SAMPLERS

PAGE = (Path(__file__).parents[2] / "docs" / "optuna.md").read_text()


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_and_option_is_on_the_page(name):
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` ")]
    assert all(f"`{option.name}`" in row for option in SAMPLERS[name].options)


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_and_option_is_on_the_page(name):
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` ")]
    inherited = {option.name for option in PRUNERS["median"]} if "those of `median`" in row else set()
    assert all(f"`{option.name}`" in row for option in PRUNERS[name] if option.name not in inherited)


def test_every_rule_for_an_endpoint_is_on_the_page():
    assert all(f"| `{rule}` |" in PAGE for rule in ENDPOINTS)
