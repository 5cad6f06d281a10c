"""The filter language of the trials table: conditions such as `arm=adamp delta<0.1 state=complete`, all to hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from service.domain.problem import did_you_mean
from service.domain.trial import Outcome, Phase, TrialState

MAX_CONDITIONS = 20
WORDS = {
    "arm": "",
    "optimizer": "",
    "phase": tuple(phase.value for phase in Phase),
    "state": tuple(state.value.lower() for state in TrialState),
    "outcome": tuple(outcome.value for outcome in Outcome),
}
"""Fields that hold a word, with the words that they may hold."""
NUMBERS = ("number", "replicate", "config", "attempt", "value", "test_value", "n_steps", "duration_s", "cpu_s")
"""Fields that hold a number; any other name is a hyperparameter of an arm."""
EXAMPLES = ("arm=adamp delta<0.1 state=complete", "value<0.08 phase=confirm", "outcome=diverged lr>=0.01")
_CONDITION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(<=|>=|!=|<|>|=)(.+)")


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        field: Of WORDS, of NUMBERS, or a hyperparameter's name.
        operator: One of =, !=, <, <=, >, >=; words know the first two only.
        value: A word, or a finite number.
        is_param: The field is a hyperparameter.
    """

    field: str
    operator: str
    value: str | float
    is_param: bool = False


class FilterError(ValueError):
    """The filter cannot be read; the message says which word, the rule and an example."""


def parse_filter(text: str, params: Iterable[str] = ()) -> tuple[Condition, ...]:
    """Read a filter.

    Args:
        text: Conditions separated by spaces.
        params: Hyperparameters that the study's arms have.

    Raises:
        FilterError: With one sentence.
    """
    words = text.split()
    if len(words) > MAX_CONDITIONS:
        raise FilterError(f"a filter has at most {MAX_CONDITIONS} conditions, got {len(words)}")
    known = sorted(set(params))
    return tuple(_condition(word, known) for word in words)


def _condition(word: str, params: list[str]) -> Condition:
    match = _CONDITION.fullmatch(word)
    if match is None:
        raise FilterError(f"'{word}' is no condition; write field=value or field<value, such as {EXAMPLES[0]}")
    field, operator, value = match.groups()
    if field in WORDS:
        return _word(field, operator, value)
    if field not in NUMBERS and field not in params:
        fields = [*WORDS, *NUMBERS, *params]
        raise FilterError(f"there is no field '{field}'; there are {', '.join(fields)}{did_you_mean(field, fields)}")
    return Condition(field, operator, _number(field, value), is_param=field not in NUMBERS)


def _word(field: str, operator: str, value: str) -> Condition:
    if operator not in ("=", "!="):
        raise FilterError(f"{field} holds a word: compare it with = or !=, not with {operator}")
    allowed = WORDS[field]
    if allowed and value.lower() not in allowed:
        raise FilterError(f"{field} is one of {', '.join(allowed)}; got '{value}'{did_you_mean(value, allowed)}")
    return Condition(field, operator, value.lower() if allowed else value)


def _number(field: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FilterError(f"{field} is compared with a number, got '{value}'")
    return number
