"""Suggestions and pruning: one search for each cell, rebuilt from the ledger.

Random search does not use Optuna at all: every number is a counter-based draw (`service.domain.seeds`), so that the
suggestions of a file are known before it runs and arms share the draws of the dimensions that they share. Adaptive
samplers start with the same draws; later suggestions follow from the cell's results only.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

import optuna

from service.domain.samplers import is_import_name, pruner_options, sampler_kind
from service.domain.study import Arm, Study
from service.search.cell import CellSearch, Rungs, distribution_of, distributions_of
from service.search.evolved import CMASearch
from service.search.foreign import ForeignSearch
from service.search.modelled import ModelledSearch
from service.search.planned import GridSearch, QMCSearch, RandomSearch
from service.search.pruning import CellPruner

__all__ = [
    "VERSION",
    "CellPruner",
    "CellSearch",
    "Rungs",
    "distribution_of",
    "distributions_of",
    "sampler_record",
    "start_search",
]

VERSION = optuna.__version__
optuna.logging.set_verbosity(optuna.logging.WARNING)

_USED_BY = {"gp": ("torch", "scipy", "greenlet"), "cmaes": ("cmaes", "numpy"), "qmc": ("scipy",)}
"""Packages whose version a sampler's suggestions depend on; GP's searches differ without greenlet."""


def start_search(study: Study, arm: Arm, replicate: int, chance_level: float) -> CellSearch:
    """The search of a cell that has no trials yet; tell it the cell's finished trials to bring it up to date.

    Raises:
        ValueError: The study names a sampler that cannot be made here.
    """
    name = study.search.sampler
    if is_import_name(name):
        return ForeignSearch(study, arm, replicate, chance_level)
    if name == "random":
        return RandomSearch(study, arm, replicate)
    if name == "qmc":
        return QMCSearch(study, arm, replicate)
    if name == "grid":
        return GridSearch(study, arm, replicate)
    options = _sampler_options(study)
    if name == "cmaes":
        return CMASearch(study, arm, replicate, chance_level, options)
    return ModelledSearch(study, arm, replicate, chance_level, options)


def sampler_record(study: Study) -> dict[str, Any]:
    """What a study's environment records of its search: versions and every argument, defaults included."""
    plan = study.search
    record: dict[str, Any] = {"sampler": plan.sampler, "options": _sampler_options(study), "optuna": VERSION}
    record |= {package: _version(package) for package in _USED_BY.get(plan.sampler, ())}
    defaults = {option.name: option.default for option in pruner_options(plan.pruner, plan.pruner_options)}
    return {**record, "pruner": plan.pruner, "pruner_options": {**defaults, **plan.pruner_options}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _sampler_options(study: Study) -> dict[str, Any]:
    kind = sampler_kind(study.search.sampler)
    defaults = {option.name: option.default for option in kind.options} if kind else {}
    return {**defaults, **study.search.options}
