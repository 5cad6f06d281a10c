"""Why a mutant survives the check alone, judged by hand: what of adamp is no arithmetic of a step."""

import re

OTHER = "Not caught by the check"

# (function, what the changed lines must hold, reason), first match counts.
_RULES: list[tuple[str, str, str]] = []


def unseen(function: str, change: list[str]) -> str:
    """The first rule's reason that fits, or OTHER."""
    text = " ".join(change)
    return next((why for of, holds, why in _RULES if re.search(of, function) and re.search(holds, text)), OTHER)
