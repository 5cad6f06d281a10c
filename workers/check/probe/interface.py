"""The command "interface": all that can be observed of an optimizer besides its trajectories."""

from collections.abc import Callable
from typing import Any

from .happenings import extremes, happenings
from .keeping import copies, loading, states
from .notes import Notes
from .refusals import constructors, groups
from .trajectory import own_random_state, with_overrides

Make = Callable[..., Any]
Settings = list[dict[str, Any]]
Methods = list[str]

ONCE: dict[str, Callable[[Make, Notes, Settings, Methods], None]] = {
    "constructors": lambda make, notes, _, __: constructors(make, notes),
    "groups": lambda make, notes, _, __: groups(make, notes),
    "copies": lambda make, notes, _, __: copies(make, notes),
    "loading": lambda make, notes, _, __: loading(make, notes),
}
BY_VARIANT: dict[str, Callable[[Make, Notes, Settings, Methods], None]] = {
    "states": states,
    "happenings": lambda make, notes, _, methods: happenings(make, notes, methods),
    "extremes": lambda make, notes, _, methods: extremes(make, notes, methods),
}
LOOKS = (*ONCE, *BY_VARIANT)


def interface(make_optimizer: Make, arguments: dict[str, Any]) -> dict[str, Any]:
    """Observe an optimizer.

    Args of the command:
        variants: Constructor arguments that choose a path, one set at least; what no path changes is observed once.
        settings: Constructor arguments with which states are observed.
        methods: Names of the optimizer's methods without arguments, whose answers are observed.
        looks: Some of LOOKS; all where it is missing.

    Returns:
        leaves: By path, see `Notes`.
    """
    leaves: dict[str, Any] = {}
    looks = arguments.get("looks") or LOOKS
    with own_random_state():
        for place, variant in enumerate(arguments["variants"]):
            words = "".join(f"{key}={value!r}: " for key, value in variant.items())
            chosen = {**ONCE, **BY_VARIANT} if place == 0 else BY_VARIANT
            for name, look in ((name, look) for name, look in chosen.items() if name in looks):
                notes, make = Notes(), _with(make_optimizer, variant)
                # Where a look cannot go on, that is an observation, too.
                notes.trial(name, lambda: look(make, notes, arguments["settings"], arguments["methods"]))  # noqa: B023
                leaves.update({words + path: leaf for path, leaf in notes.leaves.items()})
    return {"leaves": leaves}


def _with(make_optimizer: Make, variant: dict[str, Any]) -> Make:
    make = with_overrides(make_optimizer, variant)
    make.optimizer = make_optimizer.optimizer  # type: ignore[attr-defined]
    return make
