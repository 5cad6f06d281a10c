"""Which factors separate what fails from what passes: the smallest conjunction, found exactly, and said in words."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_FACTORS = 4
_FEW = 2
_NEARLY_ALL = 0.9

Factors = Mapping[str, Any]
"""What is true of one unit (a tensor of a case): the factor's name and its value."""


@dataclass(frozen=True)
class Conjunction:
    """Values of some factors, such that everything that fails has them.

    Attributes:
        values: Factor -> the values that failing units have.
        n_failing: Units that fail.
        n_passing: Units that have these values and pass: 0 where the conjunction is exact.
        n_units: All units.
    """

    values: Mapping[str, frozenset[Any]]
    n_failing: int
    n_passing: int
    n_units: int


def separate(failing: Sequence[Factors], passing: Sequence[Factors]) -> Conjunction:
    """The fewest factors whose values tell failing from passing units; exact: every set of factors is tried.

    Among equally small sets the one whose factors come first in the units wins. Where no set of up to MOST_FACTORS
    separates them: of the sets of at most two factors, the one that the fewest passing units share.

    Args:
        failing: At least one; all with the same factors.
        passing: With these factors too; may be empty.
    """
    names = list(failing[0])
    seen = {name: frozenset(unit[name] for unit in failing) for name in names}
    # A factor whose failing values are all its values separates nothing.
    useful = [name for name in names if any(unit[name] not in seen[name] for unit in passing)]
    masks = {name: sum(1 << i for i, unit in enumerate(passing) if unit[name] in seen[name]) for name in useful}
    best: tuple[int, tuple[str, ...]] = (len(passing), ())
    for size in range(min(MOST_FACTORS, len(useful)) + 1):
        for chosen in itertools.combinations(useful, size):
            n_left = functools.reduce(
                operator.and_, (masks[name] for name in chosen), (1 << len(passing)) - 1
            ).bit_count()
            if n_left == 0 or (size <= _FEW and n_left < best[0]):
                best = (n_left, chosen)
            if n_left == 0:
                break
        if best[0] == 0:
            break
    values = {name: seen[name] for name in best[1]}
    return Conjunction(values, len(failing), best[0], len(failing) + len(passing))


def in_words(found: Conjunction, possible: Mapping[str, Sequence[Any]]) -> str:
    """One clause, such as "only where weight_decay > 0 and the step is projected".

    Args:
        found: What `separate` found.
        possible: Every value that each factor has in some unit.
    """
    if not found.values and not found.n_passing:
        return "everywhere"
    if not found.values or (found.n_passing and found.n_failing > _NEARLY_ALL * found.n_units):
        return f"in {found.n_failing} of {found.n_units} tensors, by no rule of a few factors"
    clauses = [_clause(name, values, possible[name]) for name, values in found.values.items()]
    only = "only where " + " and ".join(clauses)
    return only if not found.n_passing else f"{only} (and passes in {found.n_passing} such tensors)"


def _clause(name: str, values: frozenset[Any], possible: Sequence[Any]) -> str:
    if name in _SENTENCES:
        return _SENTENCES[name][bool(next(iter(values)))]
    others = [value for value in possible if value not in values]
    numbers = [value for value in (*values, *others) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) == len(values) + len(others) and others:
        if max(others) < min(values):
            return f"{name} > {max(others):.3g}"
        if min(others) > max(values):
            return f"{name} < {min(others):.3g}"
    shown = sorted(map(_word, values))
    if len(values) > len(others) and len(others) <= 2:
        return f"{name} is not {' or '.join(sorted(map(_word, others)))}"
    return f"{name} is {' or '.join(shown)}"


_SENTENCES = {
    "projected": {True: "the step is projected", False: "the step is not projected"},
    "projected per channel": {True: "it is projected per channel", False: "it is not projected per channel"},
    "projected as a whole": {True: "it is projected as a whole", False: "it is not projected as a whole"},
    "of the second group": {True: "the tensor is in a second parameter group", False: "it is in the first group"},
    "is a matrix": {True: "the tensor has two or more dimensions", False: "the tensor has fewer than two dimensions"},
}


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
