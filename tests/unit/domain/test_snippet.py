"""The lines to paste run, and give the optimizer that was found."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.domain.catalog import BUILT_IN, constructor_arguments
from service.domain.snippet import constructor_lines
from service.domain.space import fixed, searched

quantile = st.floats(0, 1, exclude_max=True)


def executed(lines):
    scope = {"model": torch.nn.Linear(2, 2)}
    exec("\n".join(lines), scope)
    return scope["optimizer"]


@pytest.mark.parametrize("name", BUILT_IN.optimizers)
@given(u=quantile, v=quantile)
def test_lines_build_the_optimizer_with_the_trial_s_parameters(name, u, v):
    optimizer = BUILT_IN.optimizers[name]
    drawn = {
        key: entry.at(w) for (key, entry), w in zip(searched(optimizer.default_space).items(), (u, v), strict=True)
    }
    params = {**fixed(optimizer.default_space), **drawn}
    built = executed(constructor_lines(optimizer, params))
    assert type(built).__name__ == name
    for key, value in constructor_arguments(params).items():
        assert built.defaults[key] == pytest.approx(value, rel=5.1e-4)


@given(one_minus=st.floats(1e-9, 0.999))
def test_distance_of_beta2_from_1_keeps_four_digits(one_minus):
    adam = BUILT_IN.optimizers["AdamW"]
    built = executed(constructor_lines(adam, {"lr": 0.001, "one_minus_beta2": one_minus}))
    assert built.defaults["betas"][0] == 0.9
    assert 1 - built.defaults["betas"][1] == pytest.approx(one_minus, rel=6e-4, abs=1e-15)


def test_lines_are_short_and_begin_with_lr():
    params = {"weight_decay": 0.000123456, "one_minus_beta1": 0.1, "one_minus_beta2": 0.00001, "lr": 0.00123456}
    assert constructor_lines(BUILT_IN.optimizers["AdamP"], params) == [
        "from adamp import AdamP",
        "optimizer = AdamP(model.parameters(), lr=0.001235, betas=(0.9, 0.99999), weight_decay=0.0001235)",
    ]
