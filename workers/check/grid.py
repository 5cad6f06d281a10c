"""The cases that the numerics layer runs for a configuration, and the constructor arguments that it must come to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workers.check.config import CheckConfig
from workers.check.probe.cases import GRADIENTS, LARGE, ODD, SITUATIONS, Case

SCALES = (1e-7, 1.0, 1e3)
LARGE_STEPS = 6
_APART = ("plain", "large", "long", "odd-shapes")
_ODD_ONE_OUT: tuple[tuple[str, str, float], ...] = (
    ("tiny-weight", "radial", 1.0),
    ("plain", "radial", 2.0**-40),
    ("plain", "mixed", 1.0),
    ("plain", "near", 1.0),
    # Steps so small that 64 bit resolves them only beside weights that are as small.
    ("tiny-weight", "channel", 2.0**-40),
)

_GRADIENT_WORDS = {
    "random": "random gradients",
    "channel": "gradients orthogonal to each channel of the weight",
    "layer": "gradients orthogonal to the weight as a whole",
    "radial": "gradients along the weight",
    "mixed": "gradients of every kind in turn",
    "near": "gradients near AdamP's threshold",
}


def numerics_cases(config: CheckConfig, seed: int) -> list[Case]:
    """The grid, every situation at the grid's corners, and the configuration's extras.

    Args:
        config: Its dimensions span the grid; steps and long_steps say how long cases are.
        seed: Each case's seed follows from it and from the case's place.
    """
    cases = [*_grid(config), *_situations(config), *_extras(config)]
    return [Case(**{**vars(case), "seed": 100_000 * seed + 100 * place}) for place, case in enumerate(cases)]


def low_precision_cases(cases: Sequence[Case]) -> list[int]:
    """Places of the cases that bfloat16 runs: where its rounding cannot turn a decision."""
    return [
        i
        for i, case in enumerate(cases)
        if case.gradient in ("channel", "radial") and case.scale == 1 and case.situation in ("plain", "long")
    ]


def points(config: CheckConfig) -> list[dict[str, Any]]:
    """Every combination of the dimensions' values."""
    names = list(config.dimensions)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*config.dimensions.values())]


def words(arguments: Mapping[str, Any]) -> str:
    """Constructor arguments as Python would be given them."""
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def case_words(case: Case) -> str:
    """A case as a sentence names it: what is drawn, what is special, and constructor arguments."""
    special = "" if case.situation == "plain" else f", {SITUATIONS[case.situation]}"
    arguments = f", {words(case.arguments)}" if case.arguments else ""
    return f"{_GRADIENT_WORDS[case.gradient]}, scale {case.scale:.2g}{special}{arguments}"


def _grid(config: CheckConfig) -> Iterator[Case]:
    for point, gradient, scale in itertools.product(points(config), GRADIENTS, SCALES):
        yield Case(gradient, scale, point, steps=config.steps)


def _situations(config: CheckConfig) -> Iterator[Case]:
    corners = _corners(config)
    for situation in SITUATIONS:
        if situation not in _APART:
            for corner, gradient in itertools.product(corners, ("random", "channel")):
                yield Case(gradient, 1.0, corner, situation, config.steps)
    for situation, gradient, scale in _ODD_ONE_OUT:
        for corner in corners:
            yield Case(gradient, scale, corner, situation, config.steps)
    for situation, gradient in itertools.product(("long", "round-trip"), ("random", "mixed")):
        yield Case(gradient, 1.0, corners[-1], situation, config.long_steps)
    yield Case("channel", 1.0, corners[-1], "long", config.long_steps)
    for corner in corners:
        yield Case("mixed", 1.0, corner, "large", LARGE_STEPS, shapes=LARGE)
        for gradient in ("random", "channel"):
            yield Case(gradient, 1.0, corner, "odd-shapes", config.steps, shapes=ODD)


def _extras(config: CheckConfig) -> Iterator[Case]:
    for arguments, gradient in itertools.product(config.extras, (*GRADIENTS, "near")):
        yield Case(gradient, 1.0, {**_corners(config)[-1], **arguments}, steps=config.steps)


def _corners(config: CheckConfig) -> list[dict[str, Any]]:
    """All dimensions at their first value, and all at their last."""
    every = points(config)
    return every[:1] if len(every) == 1 else [every[0], every[-1]]


def equivalence_cases(config: CheckConfig, seed: int) -> list[Case]:
    """Every kind of gradient at every scale, and a zero one, with no arguments of their own."""
    cases = [Case(gradient, scale, steps=config.steps) for gradient, scale in itertools.product(GRADIENTS, SCALES)]
    cases.append(Case(situation="zero-gradient", steps=config.steps))
    return [replace(case, seed=100_000 * seed + 50_000 + 100 * place) for place, case in enumerate(cases)]


def locate(name: str, folder: Path) -> str:
    """`path/file.py:Name` with its path counted from `folder`; other names as they are."""
    place, separator, attribute = name.rpartition(":")
    return f"{folder / place}{separator}{attribute}" if place.endswith(".py") else name
