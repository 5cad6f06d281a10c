"""Verdicts in words: the short form for tables and badges, and the sentence that may be quoted.

The sentence always carries metric, R, S, T, margin, the interval, and "chosen on validation, reported on test".
"Inconclusive" never stands alone: it says what is ruled out and what certainty would cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.domain.planning import further_replicates
from service.domain.ruling import (
    MIN_REPLICATES,
    ArmStanding,
    Evidence,
    Ruling,
    VerdictKind,
    both_always_diverged,
    kind_from_table,
    rule,
)
from service.domain.statistics import SMALLEST_SD, Effect
from service.domain.wording import (
    count,
    duration,
    listing,
    margin_percent,
    percent,
    percent_range,
    probability,
)

__all__ = [
    "ArmStanding",
    "Evidence",
    "Ruling",
    "Verdict",
    "VerdictKind",
    "judge",
    "kind_from_table",
    "rule",
]


@dataclass(frozen=True)
class Verdict:
    """What the report says about one declared pair.

    Attributes:
        kind: What may be said, after downgrades.
        words: Short form, such as "better by at least 5 %".
        sentence: Full form; complete on its own.
        before_downgrade: The table's row; equals `kind` where nothing was taken back.
        reasons: Why it was downgraded; empty where it was not.
        n_more_replicates: For "inconclusive": replicates that would bring the half-width to about the margin. None
            where that is no remedy (a downgrade, no spread to go by, over a million).
        more_s: Seconds for those replicates; None where the cost of one is unknown.
    """

    kind: VerdictKind
    words: str
    sentence: str
    before_downgrade: VerdictKind
    reasons: tuple[str, ...] = ()
    n_more_replicates: int | None = None
    more_s: float | None = None


def judge(evidence: Evidence) -> Verdict:
    """Rule on a pair and put it into words."""
    ruling = rule(evidence)
    n_more = _more_replicates(evidence, ruling)
    cost = evidence.cost_per_replicate_s
    more_s = n_more * cost if n_more is not None and cost is not None else None
    words = _words(ruling.kind, evidence)
    tail = _tail(evidence, ruling, n_more, more_s)
    sentence = " ".join([f"{_opening(words, evidence)}: {_facts(evidence)}.", *tail, *evidence.remarks])
    return Verdict(ruling.kind, words, sentence, ruling.before_downgrade, ruling.reasons, n_more, more_s)


def _more_replicates(evidence: Evidence, ruling: Ruling) -> int | None:
    effect = evidence.effect
    if ruling.kind is not VerdictKind.INCONCLUSIVE or ruling.reasons or effect.sd is None:
        return None
    return further_replicates(effect.sd, effect.n, evidence.margin, is_anytime_valid=effect.is_anytime_valid)


def _words(kind: VerdictKind, evidence: Evidence) -> str:
    margin = margin_percent(evidence.margin)
    side = "better" if kind.is_better else "worse"
    if kind in (VerdictKind.BETTER_BY_MARGIN, VerdictKind.WORSE_BY_MARGIN):
        return f"{side} by at least {margin}"
    if kind in (VerdictKind.BETTER_EQUIVALENT, VerdictKind.WORSE_EQUIVALENT):
        return f"{side}, but practically equivalent"
    if kind in (VerdictKind.BETTER, VerdictKind.WORSE):
        return f"{side}, size uncertain: {_size(evidence.effect)}"
    if kind is VerdictKind.NOT_COMPARABLE:
        return f"not comparable yet: {listing(evidence.blockers)}"
    return {
        VerdictKind.EQUIVALENT: f"equivalent within {margin}",
        VerdictKind.NO_VERDICT: "no verdict",
        VerdictKind.INCONCLUSIVE: "inconclusive",
    }[kind]


def _opening(words: str, evidence: Evidence) -> str:
    if evidence.blockers:
        return f"Not comparable yet ({', '.join(evidence.blockers)})"
    return words[0].upper() + words[1:]


def _size(effect: Effect) -> str:
    """The interval without signs, the small end first: "0.1 to 16 %"."""
    interval = effect.interval_95
    if interval is None:
        return "no interval"
    ends = sorted((interval.lower, interval.upper), key=abs)
    small, large = (percent(end).lstrip("+-") for end in ends)
    return f"{small.removesuffix(' %')} to {large}"


def _facts(evidence: Evidence) -> str:
    """The part that every sentence carries."""
    n, planned = evidence.effect.n, evidence.n_planned
    replicates = count(n, "replicate") if n == planned else f"{n} of {count(planned, 'replicate')}"
    most, limit = ("up to ", f", within {evidence.search_limit}") if evidence.search_limit else ("", "")
    return (
        f"{evidence.challenger.name} against {evidence.baseline.name}, {evidence.metric} {_estimate(evidence)}, "
        f"R = {replicates}, S = {count(evidence.n_seeds, 'confirm seed')}, "
        f"T = {most}{count(evidence.n_trials, 'search trial')} per cell{limit}, "
        f"margin {margin_percent(evidence.margin)}; "
        "chosen on validation, reported on test"
    )


def _estimate(evidence: Evidence) -> str:
    effect = evidence.effect
    so_far = "so far " if evidence.blockers else ""
    if effect.n == 0:
        return "not measured yet (no interval)"
    if effect.interval_95 is None:
        why = "one replicate has none" if effect.n == 1 else "the replicates do not vary"
        return f"{so_far}{percent(effect.mean)} (no interval: {why})"
    looks = ", valid at every look" if effect.is_anytime_valid else ", valid over all looks" if effect.looks else ""
    interval = f"95 % interval {percent_range(effect.interval_95)}{looks}"
    return f"{so_far}{percent(effect.mean)} ({interval}{_p_text(evidence)})"


def _p_text(evidence: Evidence) -> str:
    if evidence.holm_p is None:
        return ""
    corrected = f"Holm over {evidence.n_pairs} pairs " if evidence.n_pairs > 1 else ""
    return f"; {corrected}{probability(evidence.holm_p)}"


def _tail(evidence: Evidence, ruling: Ruling, n_more: int | None, more_s: float | None) -> list[str]:
    """Sentences after the facts: reasons, what is ruled out, what certainty costs, divergence."""
    tail = []
    if ruling.kind is VerdictKind.NO_VERDICT:
        tail.append(_why_no_verdict(evidence))
    if ruling.kind is VerdictKind.EQUIVALENT and evidence.effect.sd is not None and evidence.effect.sd <= SMALLEST_SD:
        tail.append("Both arms gave the same endpoint in every replicate.")
    if ruling.reasons:
        before = _words(ruling.before_downgrade, evidence)
        tail.append(f'By the numbers alone "{before}", but {"; ".join(ruling.reasons)}.')
    if ruling.kind is VerdictKind.INCONCLUSIVE:
        tail.append(_ruled_out(evidence.effect))
        tail.append(_remedy(evidence) if ruling.reasons else _cost(evidence, n_more, more_s))
    mentioned = " ".join(ruling.reasons)
    tail.extend(_unstable(arm) for arm in (evidence.baseline, evidence.challenger) if _is_unsaid(arm, mentioned))
    return tail


def _is_unsaid(arm: ArmStanding, mentioned: str) -> bool:
    return arm.is_unstable and f"confirm runs of {arm.name} diverged" not in mentioned


def _unstable(arm: ArmStanding) -> str:
    return f"{arm.n_diverged} of {arm.n_confirm} confirm runs of {arm.name} diverged and count as chance level."


def _why_no_verdict(evidence: Evidence) -> str:
    effect = evidence.effect
    if both_always_diverged(evidence):
        return "Both arms diverged in every confirm run: there is nothing to compare."
    if effect.n == 0:
        return "No replicate has confirm runs of both arms on common seeds."
    if effect.n < MIN_REPLICATES:
        return "Fewer than 3 replicates: this compares two configurations, not two optimizers."
    return "All replicates show the same difference: they are not independent, and no error can be estimated."


def _ruled_out(effect: Effect) -> str:
    interval = effect.interval_95
    if interval is None or math.isinf(interval.upper):
        return "Nothing is ruled out yet."
    return f"Ruled out: not worse than {percent(interval.upper)}, not better than {percent(interval.lower)}."


def _remedy(evidence: Evidence) -> str:
    replicates = count(evidence.n_planned, "replicate")
    cost = evidence.cost_per_replicate_s
    time = f", {duration(evidence.n_planned * cost)}" if cost is not None else ""
    return f"More replicates do not remedy this; a new study with other ranges does ({replicates}{time})."


def _cost(evidence: Evidence, n_more: int | None, more_s: float | None) -> str:
    margin = margin_percent(evidence.margin)
    if n_more is None:
        return f"No affordable number of replicates would bring the half-width to about {margin}."
    if n_more == 0:
        return (
            f"The half-width is already within {margin}: the effect lies close to a limit of the table, "
            "and more replicates decide it only slowly."
        )
    time = f" ({duration(more_s)})" if more_s is not None else ""
    return f"{count(n_more, 'more replicate')}{time} would bring the half-width to about {margin}."
