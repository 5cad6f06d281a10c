"""The study file: one workload, several arms, one equal budget; frozen and hashed before the first trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.domain.samplers import sampler_kind
from service.domain.space import Dimension, Value, searched, space_from_dict, space_to_dict
from service.domain.trial import Phase

SCHEMA = 1
OPERATIONAL = ("priority", "weight", "max_running")
_ADDED_TO_SEARCH: Mapping[str, Any] = {"pruner_options": {}, "budget": None}


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
        parallelism: How many trials of a cell may be open at once, where the search `is_stepwise`.
        options: The sampler's arguments, recorded as given.
        pruner_options: The pruner's arguments, recorded as given.
        budget: An end of a cell's search before T trials: {"steps": n} training steps or {"device_s": s} seconds of
            training, over the trials that count; None where T alone ends it. Equal for all arms, as T is.
    """

    sampler: str = "random"
    trials: int = 30
    pruner: str = "none"
    parallelism: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    pruner_options: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, float] | None = None

    @property
    def is_adaptive(self) -> bool:
        """True where a suggestion depends on earlier results."""
        kind = sampler_kind(self.sampler)
        return kind is None or kind.is_adaptive

    @property
    def is_stepwise(self) -> bool:
        """True where at most `parallelism` trials of a cell are open at once, so that their order is the same again.

        Suggestions, prunings and the end of a budget then follow from trials that have ended.
        """
        return self.is_adaptive or self.budget is not None or self.pruner != "none"


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
class Sequential:
    """Replicates that are added until every declared pair is decided, by a rule that was set before the first trial.

    Attributes:
        first: Replicates at the first look; from 3.
        step: Replicates added for each further look, up to the study's `replicates`.
    """

    first: int
    step: int

    def looks(self, replicates: int) -> tuple[int, ...]:
        """Numbers of replicates at which the study is looked at, the last being all `replicates`."""
        return (*range(self.first, replicates, self.step), replicates)


@dataclass(frozen=True)
class Study:
    """A study's frozen specification.

    Attributes:
        device: A class, "cpu", "cuda" or "cuda:MODEL"; a study never mixes classes.
        compare: Declared pairs, baseline first; Holm's adjustment runs over them.
        replicates: Independent repetitions of every arm's whole search.
        margin: Half-width of the region of practical equivalence, on the log of the endpoint.
        seed: All randomness follows from it.
        sequential: Where given, `replicates` is the most that will run.
        reuse: Identical trainings of other studies are taken from the ledger instead of run again.
        priority: Higher runs first. It, `weight` and `max_running` say when trials run, not what they compute: they may
            be changed while the study runs, and are not part of the hash.
        weight: Share of the slots among studies of one priority, against the other studies' weights; above 0.
        max_running: Most trials that run at once; None for no limit.
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
    sequential: Sequential | None = None
    reuse: bool = False
    priority: int = 0
    weight: float = 1.0
    max_running: int | None = None

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

    def replicates_after(self, n_looks: int) -> int:
        """Replicates that run once `n_looks` looks have decided nothing; all of them where nobody looks."""
        if self.sequential is None:
            return self.replicates
        looks = self.sequential.looks(self.replicates)
        return looks[min(n_looks, len(looks) - 1)]

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
        """SHA-256 of the canonical JSON form without what says only when trials run.

        Keys that later versions added are left out at their defaults, so that a file keeps its hash.
        """
        document = self.to_dict()
        for name in OPERATIONAL:
            del document[name]
        for part, added in ((document, {"sequential": None, "reuse": False}), (document["search"], _ADDED_TO_SEARCH)):
            for name in [name for name, default in added.items() if part[name] == default]:
                del part[name]
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
            "search": self._search_dict(),
            "select": {"top": self.select_top, "seeds": self.select_seeds},
            "confirm": {"seeds": self.confirm_seeds},
            "replicates": self.replicates,
            "margin": self.margin,
            "seed": self.seed,
            "limits": dict(vars(self.limits)),
            "sequential": dict(vars(self.sequential)) if self.sequential else None,
            "reuse": self.reuse,
            "priority": self.priority,
            "weight": self.weight,
            "max_running": self.max_running,
        }

    def _search_dict(self) -> dict[str, Any]:
        search = self.search
        budget = None if search.budget is None else dict(search.budget)
        copies = {"options": dict(search.options), "pruner_options": dict(search.pruner_options), "budget": budget}
        return {**vars(search), **copies}

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
            sequential=Sequential(**data["sequential"]) if data.get("sequential") else None,
            reuse=data.get("reuse", False),
            priority=data["priority"],
            weight=data.get("weight", 1.0),
            max_running=data.get("max_running"),
        )
