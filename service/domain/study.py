"""The study file: one workload, several arms, one equal budget; frozen and hashed before the first trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.domain.catalog import Hyperparameter
from service.domain.space import Dimension, Value, searched, space_from_dict, space_to_dict
from service.domain.trial import Phase

SCHEMA = 1
SAMPLERS: Mapping[str, tuple[Hyperparameter, ...]] = {
    "random": (),
    "tpe": (
        Hyperparameter("n_startup_trials", kind="int", default=10, low=1),
        Hyperparameter("n_ei_candidates", kind="int", default=24, low=1),
        Hyperparameter("multivariate", kind="bool", default=True),
        Hyperparameter("group", kind="bool", default=False),
    ),
}
"""Samplers by name, with the options that a study file may set."""
PRUNERS = ("none",)


@dataclass(frozen=True)
class Arm:
    """One optimizer plus its search space, complete: every hyperparameter is searched, fixed or at its default."""

    name: str
    optimizer: str
    space: Mapping[str, Dimension | Value]

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The searched dimensions, by name."""
        return searched(self.space)


@dataclass(frozen=True)
class SearchPlan:
    """How each cell is searched.

    Attributes:
        trials: T, the budget of a cell in runs that finished or diverged.
        parallelism: How many suggestions of a cell may be open at once; adaptive samplers only.
        options: The sampler's arguments, recorded as given.
    """

    sampler: str = "random"
    trials: int = 30
    pruner: str = "none"
    parallelism: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_adaptive(self) -> bool:
        """True where a suggestion depends on earlier results."""
        return self.sampler != "random"


@dataclass(frozen=True)
class Limits:
    """What ends a trial, or a cell, that does not go well.

    Attributes:
        trial_s: Longest run of one trial in seconds, over all its attempts.
        attempts: Most attempts of one trial when the infrastructure fails.
        failures: Most failed trials of one cell; one more and the study stops as failed.
    """

    trial_s: float = 600.0
    attempts: int = 3
    failures: int = 10


@dataclass(frozen=True)
class Study:
    """A study's frozen specification.

    Attributes:
        device: A class, "cpu", "cuda" or "cuda:MODEL"; a study never mixes classes.
        compare: Declared pairs, baseline first; Holm's adjustment runs over them.
        replicates: Independent repetitions of every arm's whole search.
        margin: Half-width of the region of practical equivalence, on the log of the endpoint.
        seed: All randomness follows from it.
        priority: Higher runs first; the only field that is not part of the hash.
    """

    name: str
    workload: str
    arms: tuple[Arm, ...]
    compare: tuple[tuple[str, str], ...]
    options: Mapping[str, Value] = field(default_factory=dict)
    device: str = "cpu"
    search: SearchPlan = SearchPlan()
    select_top: int = 5
    select_seeds: int = 5
    confirm_seeds: int = 5
    replicates: int = 5
    margin: float = 0.05
    seed: int = 0
    limits: Limits = Limits()
    priority: int = 0

    def arm(self, name: str) -> Arm:
        """The arm of that name; KeyError where there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(name)

    def runs_per_cell(self) -> dict[Phase, int]:
        """Trainings of one cell by phase."""
        return {
            Phase.SEARCH: self.search.trials,
            Phase.SELECT: self.select_top * self.select_seeds,
            Phase.CONFIRM: self.confirm_seeds,
        }

    @property
    def n_cells(self) -> int:
        """Arms times replicates."""
        return len(self.arms) * self.replicates

    @property
    def n_runs(self) -> int:
        """Trainings of the whole study."""
        return self.n_cells * sum(self.runs_per_cell().values())

    @property
    def queue(self) -> str:
        """The Celery queue whose workers run this study."""
        return "cpu" if self.device == "cpu" else "gpu"

    @property
    def spec_hash(self) -> str:
        """SHA-256 of the canonical JSON form without `priority`."""
        document = self.to_dict()
        del document["priority"]
        return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The study file with every default written out."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "workload": {"name": self.workload, "options": dict(sorted(self.options.items()))},
            "device": self.device,
            "arms": [{"name": a.name, "optimizer": a.optimizer, "search": space_to_dict(a.space)} for a in self.arms],
            "compare": [list(pair) for pair in self.compare],
            "search": {**vars(self.search), "options": dict(self.search.options)},
            "select": {"top": self.select_top, "seeds": self.select_seeds},
            "confirm": {"seeds": self.confirm_seeds},
            "replicates": self.replicates,
            "margin": self.margin,
            "seed": self.seed,
            "limits": dict(vars(self.limits)),
            "priority": self.priority,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Study:
        """Read a complete document that `to_dict` wrote; a user's file goes through `service.domain.validation`."""
        return cls(
            name=data["name"],
            workload=data["workload"]["name"],
            options=data["workload"]["options"],
            device=data["device"],
            arms=tuple(Arm(a["name"], a["optimizer"], space_from_dict(a["search"])) for a in data["arms"]),
            compare=tuple((baseline, challenger) for baseline, challenger in data["compare"]),
            search=SearchPlan(**data["search"]),
            select_top=data["select"]["top"],
            select_seeds=data["select"]["seeds"],
            confirm_seeds=data["confirm"]["seeds"],
            replicates=data["replicates"],
            margin=data["margin"],
            seed=data["seed"],
            limits=Limits(**data["limits"]),
            priority=data["priority"],
        )
