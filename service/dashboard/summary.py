"""A comparison as a reader wants it within seconds: which optimizer, by how much, how sure, what next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.ruling import VerdictKind
from service.domain.statistics import Interval
from service.domain.wording import duration, percent, percent_range, probability


@dataclass(frozen=True)
class PairSummary:
    """One declared pair.

    Attributes:
        answer: Which optimizer to take, such as "Take adamp"; "Not decided" where nothing says.
        take: The arm whose lines to paste; None where neither is preferred.
        words: The verdict's short form.
        tone: "good", "bad" or "", for the challenger.
        change: By how much the challenger differs, such as "-18 %".
        certainty: Interval, corrected p, replicates.
        ruled_out: What the 95 % interval excludes.
        next: What to do.
        n_more: Replicates that would decide it; None where they would not.
        sentence: The full form, to be quoted.
    """

    baseline: str
    challenger: str
    answer: str
    take: str | None
    words: str
    tone: str
    change: str
    certainty: str
    ruled_out: str
    next: str
    n_more: int | None
    sentence: str


def summaries(report: Mapping[str, Any] | None) -> list[PairSummary]:
    """The declared pairs of a report, in its order; empty without a report."""
    return [_summary(pair) for pair in report["comparisons"]] if report else []


def _summary(pair: Mapping[str, Any]) -> PairSummary:
    verdict, effect = pair["verdict"], pair["effect"]
    kind = VerdictKind(verdict["kind"])
    answer, take = _answer(kind, pair["baseline"], pair["challenger"])
    return PairSummary(
        baseline=pair["baseline"],
        challenger=pair["challenger"],
        answer=answer,
        take=take,
        words=verdict["words"],
        tone="good" if kind.is_better else "bad" if kind.is_worse else "",
        change=percent(effect["mean"]) if effect["n"] else "not measured yet",
        certainty=_certainty(effect, pair["holm_p"]),
        ruled_out=_ruled_out(_interval(effect)),
        next=_next(kind, verdict, pair),
        n_more=verdict["n_more_replicates"] or None,
        sentence=verdict["sentence"],
    )


def _answer(kind: VerdictKind, baseline: str, challenger: str) -> tuple[str, str | None]:
    if kind.is_better:
        return f"Take {challenger}", challenger
    if kind.is_worse:
        return f"Keep {baseline}", baseline
    if kind is VerdictKind.EQUIVALENT:
        return "Either will do", None
    return "Not decided", None


def _interval(effect: Mapping[str, Any]) -> Interval | None:
    found = effect["interval_95"]
    if found is None:
        return None
    lower, upper = found["lower"], found["upper"]
    return Interval(-math.inf if lower is None else lower, math.inf if upper is None else upper)


def _certainty(effect: Mapping[str, Any], holm_p: float | None) -> str:
    interval = _interval(effect)
    if interval is None:
        return f"no interval from {effect['n']} replicates"
    corrected = f", {probability(holm_p)}" if holm_p is not None else ""
    return f"95 % from {percent_range(interval)}{corrected}, {effect['n']} replicates"


def _ruled_out(interval: Interval | None) -> str:
    if interval is None or math.isinf(interval.upper) or math.isinf(interval.lower):
        return "nothing yet"
    return f"a change below {percent(interval.lower)} or above {percent(interval.upper)}"


def _next(kind: VerdictKind, verdict: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    more, seconds = verdict["n_more_replicates"], verdict["more_s"]
    if kind is VerdictKind.NOT_COMPARABLE:
        return "wait: the arms' budgets are not spent alike yet"
    if kind is VerdictKind.NO_VERDICT:
        return "run more replicates: fewer than 3 compare two configurations, not two optimizers"
    if verdict["reasons"]:
        return f"a new study: {'; '.join(verdict['reasons'])}"
    if kind is VerdictKind.INCONCLUSIVE:
        if not more:
            return "stop here, or accept a wider margin: more replicates decide it slowly"
        return f"{more:,} more replicates{f', {duration(seconds)}' if seconds is not None else ''}"
    if kind is VerdictKind.EQUIVALENT:
        return f"stay with {pair['baseline']}: a change gains nothing within the margin"
    taken = pair["challenger"] if kind.is_better else pair["baseline"]
    return f"paste the lines of {taken} below"


def wanted(found: Sequence[PairSummary]) -> list[str]:
    """Arms whose lines come first: those that a verdict prefers, without repeats."""
    return list(dict.fromkeys(entry.take for entry in found if entry.take))
