"""Samplers and pruners by name, with the options that a study file may set. Names and options are Optuna's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.catalog import Hyperparameter
from service.domain.grids import check_grid
from service.domain.space import Dimension, Scale

_IMPORT_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class SamplerKind:
    """What a sampler is like.

    Attributes:
        options: Arguments that a study file may set; a default of None leaves the choice to the sampler.
        is_adaptive: True where a suggestion follows from earlier results, so that trials cannot all be asked at once.
        needs_torch: True where the coordinator has to have PyTorch.
        has_free_options: True where any option may be given, because the sampler is not one of ours.
    """

    options: tuple[Hyperparameter, ...] = ()
    is_adaptive: bool = True
    needs_torch: bool = False
    has_free_options: bool = False


def _count(name: str, default: int | None, low: int = 0) -> Hyperparameter:
    return Hyperparameter(name, kind="int", default=default, low=low)


def _switch(name: str, default: bool = False) -> Hyperparameter:
    return Hyperparameter(name, kind="bool", default=default)


SAMPLERS: Mapping[str, SamplerKind] = {
    "random": SamplerKind(is_adaptive=False),
    "tpe": SamplerKind(
        (
            _count("n_startup_trials", 10, low=1),
            _count("n_ei_candidates", 24, low=1),
            _switch("multivariate", default=True),
            _switch("group"),
        )
    ),
    "gp": SamplerKind((_count("n_startup_trials", 10, low=1), _switch("deterministic_objective")), needs_torch=True),
    "cmaes": SamplerKind(
        (
            _count("n_startup_trials", 1, low=1),
            _count("popsize", None, low=4),
            _switch("consider_pruned_trials"),
            _switch("use_separable_cma"),
            _switch("lr_adapt"),
        )
    ),
    "qmc": SamplerKind((Hyperparameter("qmc_type", kind="str", default="sobol"),), is_adaptive=False),
    "grid": SamplerKind((_count("points", None, low=1),), is_adaptive=False),
}
"""`cmaes`: a popsize of None is 4 + 3 log(dimensions); below 4 its update divides by 0. `qmc` is always scrambled:
unscrambled, every replicate would be the same. `grid` also takes `grid`, values by dimension, which is no scalar and so
not in the list."""

_PERCENTILE = (
    _count("n_startup_trials", 5),
    _count("n_warmup_steps", 0),
    _count("interval_steps", 1, low=1),
    _count("n_min_trials", 1, low=1),
)
PRUNERS: Mapping[str, tuple[Hyperparameter, ...]] = {
    "none": (),
    "median": _PERCENTILE,
    "percentile": (Hyperparameter("percentile", default=25.0, low=0.0, high=100.0), *_PERCENTILE),
    "asha": (
        _count("min_resource", 1, low=1),
        _count("reduction_factor", 4, low=2),
        _count("min_early_stopping_rate", 0),
        _count("bootstrap_count", 0),
    ),
    "hyperband": (
        _count("min_resource", 1, low=1),
        _count("max_resource", None, low=1),
        _count("reduction_factor", 3, low=2),
        _count("bootstrap_count", 0),
    ),
    "patient": (
        Hyperparameter("wrapped_pruner", kind="str", default="none"),
        _count("patience", 3),
        Hyperparameter("min_delta", default=0.0, low=0.0),
    ),
}
"""A resource is an epoch. `asha` starts at 1 where Optuna's "auto" estimates (and finds 1 below 200 epochs). A
`max_resource` of None is the longest finished trial of the cell; until there is one nothing is pruned. `patient` wraps
none, median or percentile and passes them the options that are not its own; with "none" it prunes as soon as patience
ends. Its `min_delta` is on the log of the endpoint."""
WRAPPABLE = ("none", "median", "percentile")


def sampler_kind(name: str) -> SamplerKind | None:
    """The sampler of that name, any Optuna sampler for "module:Class", None for a name that is neither."""
    if is_import_name(name):
        return SamplerKind(has_free_options=True)
    return SAMPLERS.get(name)


def is_import_name(name: str) -> bool:
    """True for "module:Class"; whether it may be imported is for the allow-list to say."""
    return _IMPORT_NAME.fullmatch(name) is not None


def pruner_options(name: str, options: Mapping[str, Any]) -> tuple[Hyperparameter, ...]:
    """Options that the pruner takes as it is set: those of `patient` include the wrapped pruner's."""
    own = PRUNERS[name]
    wrapped = options.get("wrapped_pruner", "none")
    return (*own, *PRUNERS[wrapped]) if name == "patient" and wrapped in WRAPPABLE else own


def check_options(name: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with a sampler's options, as (option, message); empty for an unknown sampler."""
    kind = sampler_kind(name)
    if kind is None or kind.has_free_options:
        return []
    scalars = {key: value for key, value in options.items() if (name, key) != ("grid", "grid")}
    problems = [*_check_scalars(name, kind.options, scalars), *_check_grid_option(name, options)]
    if name == "tpe" and options.get("group") is True and options.get("multivariate") is False:
        problems.append(("group", "group needs multivariate; leave that at true"))
    if name == "cmaes" and options.get("lr_adapt") is True and options.get("use_separable_cma") is True:
        problems.append(("lr_adapt", "lr_adapt and use_separable_cma exclude each other; keep one"))
    if name == "qmc" and options.get("qmc_type", "sobol") not in ("sobol", "halton"):
        problems.append(("qmc_type", f"qmc_type must be sobol or halton, got {options['qmc_type']!r}"))
    return problems


def check_pruner_options(name: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with a pruner's options, as (option, message); empty for an unknown pruner."""
    if name not in PRUNERS:
        return []
    problems = _check_scalars(name, pruner_options(name, options), options)
    wrapped = options.get("wrapped_pruner", "none")
    if name == "patient" and isinstance(wrapped, str) and wrapped not in WRAPPABLE:
        problems.append(("wrapped_pruner", f"wrapped_pruner must be one of {', '.join(WRAPPABLE)}; got {wrapped!r}"))
    low, high = options.get("min_resource", 1), options.get("max_resource")
    if not problems and high is not None and high < low:
        problems.append(("max_resource", f"max_resource must be at least min_resource ({low}), got {high}"))
    if not problems and high is None and name == "hyperband" and options.get("bootstrap_count", 0):
        problems.append(("bootstrap_count", "bootstrap_count needs a max_resource; give the epochs of a full trial"))
    return problems


def check_space(
    name: str, options: Mapping[str, Any], arms: Mapping[str, Mapping[str, Dimension]], n_trials: int
) -> list[tuple[str, str]]:
    """What keeps a sampler from searching these arms, as (option, message); `options` passed `check_options`.

    Args:
        arms: The searched dimensions of each arm, by the arm's name.
        n_trials: T, the study's `search.trials`.
    """
    if name == "grid":
        return list(check_grid(options, arms, n_trials))
    if name != "cmaes":
        return []
    only_choices = [arm for arm, entries in arms.items() if entries and not _has_range(entries.values())]
    return [
        ("", f"arm {arm} searches only choices, which cmaes cannot; use tpe, gp, qmc or random") for arm in only_choices
    ]


def _has_range(dimensions: Iterable[Dimension]) -> bool:
    return any(dimension.scale is not Scale.CHOICE for dimension in dimensions)


def _check_scalars(owner: str, known: Iterable[Hyperparameter], options: Mapping[str, Any]) -> list[tuple[str, str]]:
    by_name = {option.name: option for option in known}
    problems = []
    for name, value in options.items():
        if name not in by_name:
            listed = ", ".join([*by_name, *(["grid"] if owner == "grid" else [])]) or "none"
            problems.append((name, f"{owner} has no option '{name}'; it has {listed}"))
        elif message := by_name[name].problem_with(value):
            problems.append((name, message))
    return problems


def _check_grid_option(name: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The shape of `grid`; the values are held against the arms by `check_space`."""
    grid = options.get("grid")
    if name != "grid" or grid is None:
        return []
    if not isinstance(grid, Mapping):
        return [("grid", f"grid must map dimensions to lists of values, such as {{lr: [0.1, 0.01]}}; got {grid!r}")]
    problems = []
    for dimension, values in grid.items():
        is_list = isinstance(values, (list, tuple)) and all(isinstance(v, (int, float, str, bool)) for v in values)
        if not is_list or not values:
            problems.append((f"grid.{dimension}", f"must be a list of values, got {values!r}"))
        elif len(set(values)) < len(values):
            problems.append((f"grid.{dimension}", f"must not name a value twice, got {list(values)}"))
    return problems
