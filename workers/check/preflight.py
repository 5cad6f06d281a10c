"""Whether a configuration names what is there, before anything runs: a name that is wrong would test less, unseen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workers.check.client import Probe
from workers.check.config import Arguments, CheckConfig
from workers.check.errors import InfrastructureError, UsageError
from workers.check.grid import locate
from workers.check.probe.networks import NETWORKS
from workers.check.probe.properties import BUILT_IN

_TIMEOUT_S = 120.0
_UNKNOWN = "unexpected keyword argument"


@dataclass(frozen=True)
class _Item:
    """An item of the probe's command "accepts"."""

    kind: str
    name: str = ""
    arguments: Arguments = field(default_factory=dict)


def expect_known(config: CheckConfig) -> None:
    """Raise UsageError where a workload, a property or a file is named that there is not; needs no side."""
    for place, workload in enumerate(config.workloads):
        if workload.name not in NETWORKS:
            known = ", ".join(NETWORKS)
            raise _wrong(config, f"workloads[{place}]", f"the check has no workload {workload.name!r}; it has {known}")
    for name in config.properties:
        if ":" not in name and name not in BUILT_IN:
            known = f"it has {', '.join(BUILT_IN)}, and takes functions as module:function"
            raise _wrong(config, "properties", f"the check has no property {name!r}; {known}")
    for key, name in _files(config):
        path = Path(locate(name, config.folder).rpartition(":")[0])
        if path.suffix == ".py" and not path.is_file():
            raise _wrong(config, key, f"there is no file {path}")


def expect_accepted(baseline: Probe, candidate: Probe, config: CheckConfig) -> None:
    """Have both sides make and load what the configuration names, besides the optimizer itself.

    What one side alone refuses is for the layers to judge: code may be new, or gone.

    Raises:
        UsageError: Both sides refuse it.
        InfrastructureError: `device` is cuda, and a side finds none.
        ProbeError: A side crashed or hung.
    """
    for side in (baseline, candidate):
        if config.device == "cuda" and not side.description["cuda"]:
            raise InfrastructureError(f"device = 'cuda', but torch finds no CUDA device on the {side.role}'s side")
    named = list(_named(config))
    items = [asdict(item) for _, alternatives in named for item in alternatives]
    refusals = [side.call("accepts", timeout_s=_TIMEOUT_S, items=items)["refusals"] for side in (candidate, baseline)]
    both = iter([own if own and other else "" for own, other in zip(*refusals, strict=True)])
    for key, alternatives in named:
        found = [next(both) for _ in alternatives]
        if key.startswith("extras") and _UNKNOWN not in found[0]:
            continue  # values that are refused may be meant: then the sides must agree on it
        if all(found):
            raise _wrong(config, key, found[0])


def _named(config: CheckConfig) -> Iterator[tuple[str, list[_Item]]]:
    """A key of the configuration, and what it names; of several items one that is accepted is enough.

    A dimension's values may need another dimension's (Nesterov's momentum needs a momentum), but not all of them.
    """
    for name, values in config.dimensions.items():
        yield f"dimensions.{name}", [_Item("make", arguments={name: value}) for value in values] or [_Item("make")]
    for key, sets in (("variants", config.variants), ("extras", config.extras)):
        for place, arguments in enumerate(sets):
            yield f"{key}[{place}]", [_Item("make", arguments=arguments)]
    for place, workload in enumerate(config.workloads):
        yield f"workloads[{place}]", [_Item("make", arguments=workload.arguments)]
    for equivalence in config.equivalences:
        key = f"equivalence {equivalence.name!r}"
        yield key, [_Item("make", arguments=equivalence.arguments)]
        yield key, [_Item("other", locate(equivalence.equals, config.folder), equivalence.equals_arguments)]
    if config.reference is not None:
        arguments = config.arguments if config.reference_arguments is None else config.reference_arguments
        yield "reference", [_Item("other", locate(config.reference, config.folder), arguments)]
    for name in config.properties:
        if ":" in name:
            yield "properties", [_Item("load", locate(name, config.folder))]
    for name in config.methods:
        yield "methods", [_Item("method", name)]


def _files(config: CheckConfig) -> Iterator[tuple[str, str]]:
    if config.reference is not None:
        yield "reference", config.reference
    yield from ((f"equivalence {equivalence.name!r}", equivalence.equals) for equivalence in config.equivalences)
    yield from (("properties", name) for name in config.properties if ":" in name)


def _wrong(config: CheckConfig, key: str, sentence: str) -> UsageError:
    return UsageError(f"[tool.tangent.check.{config.name}]: {key}: {sentence}")
