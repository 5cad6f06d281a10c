"""The verdict table: from an effect with its interval to what may be said.

First row that holds (margin m on the log scale; each row on the better side has its mirror image):

    R < 3                                                        no verdict
    Holm p < .05 and 95 % interval beyond -m                     better by at least m
    Holm p < .05, E < 0 and 90 % interval inside (-m, m)         better, but practically equivalent
    Holm p < .05 and E < 0                                       better, size uncertain
    90 % interval inside (-m, m)                                 equivalent within m
    else                                                         inconclusive

The mirror images stand beside their rows and not after "equivalent": exchanging the arms then mirrors every verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.domain.statistics import Effect, Interval

LEVEL = 0.05
MIN_REPLICATES = 3
MAX_DIVERGED_SHARE = 0.10


class VerdictKind(StrEnum):
    """What may be said of the challenger against the baseline."""

    NOT_COMPARABLE = "not_comparable"
    NO_VERDICT = "no_verdict"
    BETTER_BY_MARGIN = "better_by_margin"
    BETTER_EQUIVALENT = "better_equivalent"
    BETTER = "better"
    EQUIVALENT = "equivalent"
    WORSE = "worse"
    WORSE_EQUIVALENT = "worse_equivalent"
    WORSE_BY_MARGIN = "worse_by_margin"
    INCONCLUSIVE = "inconclusive"

    @property
    def is_better(self) -> bool:
        """True where the challenger is called better, by whatever size."""
        return self in _MIRROR

    @property
    def is_worse(self) -> bool:
        """True where the challenger is called worse, by whatever size."""
        return self in _MIRROR.values()

    @property
    def mirrored(self) -> VerdictKind:
        """The verdict with the arms exchanged."""
        return _MIRROR.get(self) or {worse: better for better, worse in _MIRROR.items()}.get(self, self)


_MIRROR = {
    VerdictKind.BETTER_BY_MARGIN: VerdictKind.WORSE_BY_MARGIN,
    VerdictKind.BETTER_EQUIVALENT: VerdictKind.WORSE_EQUIVALENT,
    VerdictKind.BETTER: VerdictKind.WORSE,
}


@dataclass(frozen=True)
class ArmStanding:
    """What speaks against believing a verdict about an arm.

    Attributes:
        name: The arm's name.
        n_confirm: Confirm runs that finished or diverged.
        n_diverged: Those that diverged.
        narrow_ranges: Findings such as "lr at its upper edge (0.1) in 4 of 5 replicates": the arm might do better
            with a wider range.
    """

    name: str
    n_confirm: int = 0
    n_diverged: int = 0
    narrow_ranges: tuple[str, ...] = ()

    @property
    def is_unstable(self) -> bool:
        """True where over 10 % of the confirm runs diverged; such an arm is never called better."""
        return self.n_confirm > 0 and self.n_diverged / self.n_confirm > MAX_DIVERGED_SHARE


@dataclass(frozen=True)
class Evidence:
    """All that a verdict and its sentence depend on.

    Attributes:
        metric: The endpoint's name as reported, such as "test NLL".
        margin: m > 0, on the log scale.
        n_planned: Replicates that the study plans.
        n_trials: T, search trials per cell.
        n_seeds: S, confirm seeds per replicate as planned.
        effect: Over the replicates that are complete in both arms.
        holm_p: p after Holm's correction over the declared pairs; None where there is no p.
        n_pairs: Declared pairs of the study.
        blockers: Why the budgets are not equal yet, such as "sgd 34 of 60" (search trials); empty where they are.
        search_limit: What ends a search before T trials, such as "500 training steps"; empty where nothing does.
        remarks: Further sentences that must go with the verdict, such as missing runs.
        cost_per_replicate_s: Seconds that one more replicate takes; None where unknown.
    """

    metric: str
    margin: float
    n_planned: int
    n_trials: int
    n_seeds: int
    baseline: ArmStanding
    challenger: ArmStanding
    effect: Effect
    holm_p: float | None
    n_pairs: int = 1
    blockers: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    search_limit: str = ""
    cost_per_replicate_s: float | None = None


@dataclass(frozen=True)
class Ruling:
    """A kind with the way to it: the table's row, and why it was downgraded."""

    kind: VerdictKind
    before_downgrade: VerdictKind
    reasons: tuple[str, ...] = ()


def rule(evidence: Evidence) -> Ruling:
    """The verdict's kind: budgets first, then the table, then the downgrades."""
    if evidence.blockers:
        return Ruling(VerdictKind.NOT_COMPARABLE, VerdictKind.NOT_COMPARABLE)
    if both_always_diverged(evidence):
        return Ruling(VerdictKind.NO_VERDICT, VerdictKind.NO_VERDICT)
    kind = kind_from_table(evidence.effect, evidence.holm_p, evidence.margin)
    if kind.is_worse:
        mirrored = _downgrade(kind.mirrored, loser=evidence.challenger, winner=evidence.baseline)
        return Ruling(mirrored.kind.mirrored, kind, mirrored.reasons)
    return _downgrade(kind, loser=evidence.baseline, winner=evidence.challenger)


def both_always_diverged(evidence: Evidence) -> bool:
    """True where no confirm run of either arm survived: all differences are 0, and that is no equivalence."""
    arms = (evidence.baseline, evidence.challenger)
    return all(arm.n_confirm > 0 and arm.n_diverged == arm.n_confirm for arm in arms)


def kind_from_table(effect: Effect, holm_p: float | None, margin: float) -> VerdictKind:
    """First row of the table that holds.

    Args:
        effect: Challenger against baseline.
        holm_p: Adjusted p, two-sided; None (no error can be estimated) gives no verdict.
        margin: m > 0, log scale.
    """
    interval_95, interval_90 = effect.interval_95, effect.interval_90
    if effect.n < MIN_REPLICATES or interval_95 is None or interval_90 is None or holm_p is None:
        return VerdictKind.NO_VERDICT
    if effect.mean > 0:
        better = _better_row(interval_95.mirrored, interval_90, holm_p, margin)
        return better.mirrored
    return _better_row(interval_95, interval_90, holm_p, margin)


def _better_row(interval_95: Interval, interval_90: Interval, holm_p: float, margin: float) -> VerdictKind:
    """The table for E <= 0; E = 0 is never significant."""
    is_equivalent = interval_90.is_inside(margin)
    if holm_p < LEVEL and interval_95.upper < -margin:
        return VerdictKind.BETTER_BY_MARGIN
    if holm_p < LEVEL:
        return VerdictKind.BETTER_EQUIVALENT if is_equivalent else VerdictKind.BETTER
    return VerdictKind.EQUIVALENT if is_equivalent else VerdictKind.INCONCLUSIVE


def _downgrade(kind: VerdictKind, *, loser: ArmStanding, winner: ArmStanding) -> Ruling:
    """Take back what divergence or a too narrow range could overturn; `kind` is not on the worse side.

    A narrow range hides how good its arm can be. So the loser's takes back "better", either arm's takes back
    "equivalent", and the winner's leaves "better" standing: its arm could only gain.
    """
    after, reasons = kind, []
    if after.is_better and winner.is_unstable:
        after = VerdictKind.EQUIVALENT if after is VerdictKind.BETTER_EQUIVALENT else VerdictKind.INCONCLUSIVE
        reasons.append(
            f"{winner.n_diverged} of {winner.n_confirm} confirm runs of {winner.name} diverged; "
            "an arm with over 10 % is never called better"
        )
    if after.is_better and loser.narrow_ranges:
        after = VerdictKind.INCONCLUSIVE
        reasons.append(_range_reason(loser))
    if after is VerdictKind.BETTER_EQUIVALENT and winner.narrow_ranges:
        after = VerdictKind.BETTER
        reasons.append(_range_reason(winner))
    if after is VerdictKind.EQUIVALENT and (loser.narrow_ranges or winner.narrow_ranges):
        after = VerdictKind.INCONCLUSIVE
        reasons.extend(_range_reason(arm) for arm in (loser, winner) if arm.narrow_ranges)
    return Ruling(after, kind, tuple(reasons))


def _range_reason(arm: ArmStanding) -> str:
    return f"range of {arm.name} too narrow: {'; '.join(arm.narrow_ranges)}"
