"""Real A/A studies: searches of one optimizer that differ in nothing but the seed, compared two and two.

Arms of one study that are equal share draws and seeds and come out equal to the last bit, so they cannot show how often
chance is taken for a difference. Studies with different seeds share nothing. Studies 1 and 2 are a pair, 3 and 4, and
so on, fixed before any of them ran; each pair is judged in two ways:

- as `tangent compare` does for two studies: Welch's test on the replicates' mean log endpoints;
- as a report does for two arms: replicate r of the one beside replicate r of the other, paired t, table of verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.ruling import LEVEL, VerdictKind, kind_from_table
from service.domain.statistics import clopper_pearson, estimate_effect
from service.domain.suite import log_means
from service.domain.unpaired import compare_studies
from service.domain.wording import percent
from service.output.numbers import seconds, share

Report = Mapping[str, Any]
SCHEMA = 1
_SHARED = ("workload", "options", "metric", "chance_level", "margin", "budget", "sampler", "device")
_OWN = ("study", "seed", "spec_hash", "code_revision", "is_finished")


@dataclass(frozen=True)
class Judged:
    """A pair of equal studies.

    Attributes:
        seeds: Their spec seeds.
        change: Log ratio of the second's endpoint over the first's.
        p_welch: Of `tangent compare`.
        kind: The report's verdict.
    """

    seeds: tuple[int, int]
    change: float
    p_welch: float | None
    kind: VerdictKind

    @property
    def has_welch_alarm(self) -> bool:
        """True where `tangent compare` calls the second better or worse."""
        return self.p_welch is not None and self.p_welch < LEVEL

    @property
    def has_alarm(self) -> bool:
        """True where a report does."""
        return self.kind.is_better or self.kind.is_worse


def equal_arms_document(reports: Sequence[Report]) -> dict[str, Any]:
    """What is kept of the studies' reports: what they share once, of each the confirm runs.

    Raises:
        ValueError: Not an even number, or they differ in more than the seed.
    """
    if len(reports) % 2 or not reports:
        raise ValueError(f"equal studies are compared two and two, got {len(reports)}")
    shared = _design_of(reports[0])
    for report in reports:
        if _design_of(report) != shared:
            raise ValueError(f"study '{report['study']}' with seed {report['seed']} differs in more than its seed")
    return {**shared, "schema": SCHEMA, "studies": [_trimmed(report) for report in reports]}


def _design_of(report: Report) -> dict[str, Any]:
    optimizers = " and ".join(arm["optimizer"] for arm in report["arms"])
    budget = {key: value for key, value in report["budget"].items() if key != "cost_per_replicate_s"}
    return {**{key: report[key] for key in _SHARED}, "budget": budget, "optimizer": optimizers}


def _trimmed(report: Report) -> dict[str, Any]:
    (arm,) = report["arms"]
    kept = ("replicate", "seed", "trial", "value", "diverged")
    runs = [{key: run[key] for key in kept} for run in arm["confirm_runs"]]
    cost = {"n_runs": sum(arm["n_runs"].values()), "device_s": report["time"]["device_s"]}
    return {**{key: report[key] for key in _OWN}, **cost, "arms": [{"name": arm["name"], "confirm_runs": runs}]}


def judge_pairs(document: Mapping[str, Any]) -> list[Judged]:
    """Every pair, in the order of the studies."""
    shared = {key: value for key, value in document.items() if key != "studies"}
    reports = [{**shared, **study} for study in document["studies"]]
    return [_judge(first, second) for first, second in zip(reports[::2], reports[1::2], strict=True)]


def _judge(first: Report, second: Report) -> Judged:
    name = first["arms"][0]["name"]
    welch = compare_studies(first, second, name, name)
    before, after = log_means(first["arms"][0]), log_means(second["arms"][0])
    effect = estimate_effect([after[r] - before[r] for r in sorted(before.keys() & after.keys())])
    kind = kind_from_table(effect, effect.p_value, first["margin"])
    return Judged((first["seed"], second["seed"]), effect.mean, welch.p_value, kind)


def equal_arms_section(document: Mapping[str, Any], name: str) -> list[str]:
    """The part of the page of results."""
    judged = judge_pairs(document)
    n = len(judged)
    budget, studies = document["budget"], document["studies"]
    alarms = [sum(pair.has_alarm for pair in judged), sum(pair.has_welch_alarm for pair in judged)]
    other = [sum(pair.kind is kind for pair in judged) for kind in (VerdictKind.EQUIVALENT, VerdictKind.INCONCLUSIVE)]
    sizes = sorted(abs(pair.change) for pair in judged)
    device = sum(study["device_s"] or 0 for study in studies)
    return [
        "## Equal studies",
        f"{len(studies)} studies of {document['optimizer']} on "
        f"{document['workload']} that differ in nothing but the spec seed (R = {budget['replicates']}, T = "
        f"{budget['trials_per_cell']}, select {budget['select_top']} x {budget['select_seeds']}, S = "
        f"{budget['confirm_seeds']}), compared two and two in an order that was fixed before they ran. Whoever is "
        "called better or worse here is called so by mistake; 5 % of pairs are to be expected. Equal arms of one study "
        "could not show that, because they share all draws and seeds.",
        "\n".join(
            [
                "| judged | called better or worse | share (95 %, Clopper-Pearson) |",
                "| --- | ---: | ---: |",
                f"| as two arms of a study (paired t, table of verdicts) {_rate(alarms[0], n)} |",
                f"| as two studies (`tangent compare`, Welch) {_rate(alarms[1], n)} |",
            ]
        ),
        f"Of the {n} verdicts as two arms, {other[0]} were equivalent and {other[1]} inconclusive. Half of the pairs "
        f"differ by less than {percent(sizes[n // 2]).lstrip('+')}, the widest by {percent(sizes[-1]).lstrip('+')}. "
        f"{sum(study['n_runs'] for study in studies):,} trainings took {seconds(device)} of one slot; training code "
        f"{_codes(studies)}; [all numbers](results/{name}).",
    ]


def _rate(n_alarms: int, n: int) -> str:
    interval = clopper_pearson(n_alarms, n).interval_95
    return f"| {n_alarms} of {n} | {share(n_alarms / n)} ({share(interval.lower)} to {share(interval.upper)})"


def _codes(studies: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(sorted({f"`{str(study['code_revision'])[:12]}`" for study in studies}))
