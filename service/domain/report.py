"""The comparison of a study's arms, recomputable from stored values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from service.domain.arm_report import ArmReport, describe_arm
from service.domain.comparison import Comparison, compare_pairs
from service.domain.estimates import estimates
from service.domain.mechanism import Mechanism, describe_mechanism
from service.domain.notes import study_notes
from service.domain.plain import to_plain
from service.domain.report_input import REPORTED_PHASES, ArmInput, ReportInput
from service.domain.report_registration import registration_document, reuse_sentences
from service.domain.trial import Phase, TrialRecord

__all__ = ["REPORT_VERSION", "SCHEMA", "ArmInput", "ArmReport", "Comparison", "Report", "ReportInput", "build_report"]

SCHEMA = 1
REPORT_VERSION = 3
"""What computed a report: raised whenever the same trials give another document, so that kept ones are computed anew.
"""
MAX_TRIALS = 20_000
"""Above that many trials (about 8 MB of JSON) a report leaves those of search and select to the study's export."""


@dataclass(frozen=True)
class Report:
    """A study's result.

    Attributes:
        source: What it was built from.
        comparisons: The declared pairs, in the order of the study file.
        arms: In the order of the study file.
        mechanism: What the optimizers did to the weights.
        notes: Warnings for the reader, each a sentence.
    """

    source: ReportInput
    comparisons: tuple[Comparison, ...]
    arms: tuple[ArmReport, ...]
    mechanism: Mechanism
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form: full floats, null for what is undefined or infinite, raw per-seed values included."""
        source = self.source
        reported = [trial for trial in source.trials if trial.phase in REPORTED_PHASES]
        return {
            "schema": SCHEMA,
            "version": REPORT_VERSION,
            "study": source.study,
            "spec_hash": source.spec_hash,
            "workload": source.workload,
            "metric": source.metric,
            "chance_level": source.chance_level,
            "margin": source.margin,
            "budget": {
                "trials_per_cell": source.trials_per_cell,
                "select_top": source.select_top,
                "select_seeds": source.select_seeds,
                "confirm_seeds": source.confirm_seeds,
                "replicates": source.replicates,
                "cost_per_replicate_s": source.cost_per_replicate_s,
                "search": to_plain(source.search_budget),
            },
            "time": {
                "wall_s": source.wall_s,
                "device_s": _total(trial.duration_s for trial in reported),
                "cpu_s": _total(trial.cpu_s for trial in reported),
            },
            "registration": registration_document(source.registration, source.replicates, source.runs_per_replicate),
            "reuse": {**to_plain(source.reuse), "sentences": reuse_sentences(source.reuse)},
            "was_extended_after_look": source.was_extended_after_look,
            "looks": list(source.looks),
            "is_finished": source.is_finished,
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
            "arms": to_plain(self.arms),
            "mechanism": self.mechanism.to_dict(),
            "notes": list(self.notes),
            "estimates": estimates(source, self.comparisons, self.arms),
            **_provenance(source),
        }


def _provenance(source: ReportInput) -> dict[str, Any]:
    """What the numbers above can be recomputed from: the declared arms and pairs, every trial, every curve."""
    every = sorted((t for t in source.trials if t.phase in REPORTED_PHASES), key=lambda trial: trial.number)
    trials = every if len(every) <= MAX_TRIALS else [t for t in every if t.phase is Phase.CONFIRM]
    return {
        "options": to_plain(source.options),
        "sampler": source.sampler,
        "pruner": source.pruner,
        "device": source.device,
        "seed": source.seed,
        "code_revision": source.code_revision,
        "compare": [list(pair) for pair in source.compare],
        "spaces": {arm.name: to_plain(arm.search) for arm in source.arms},
        "trials": [_trial(trial) for trial in trials],
        "n_trials_left_out": len(every) - len(trials),
        "curves": to_plain(sorted(source.curves, key=lambda curve: curve.trial)),
        "environments": to_plain(source.environments),
    }


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _trial(trial: TrialRecord) -> dict[str, Any]:
    """JSON form; reruns leave their parameters to the search trial that has their `config`."""
    document: dict[str, Any] = to_plain(trial)
    if trial.phase is not Phase.SEARCH:
        del document["params"]
    return document


def build_report(source: ReportInput) -> Report:
    """Compare the arms of a study as far as its trials allow; never fails on a degenerate result.

    Args:
        source: The study with its trials; checked when it was made.
    """
    arms = tuple(describe_arm(source, arm) for arm in source.arms)
    comparisons = compare_pairs(source, {arm.name: arm.standing for arm in arms})
    mechanism = describe_mechanism([arm.name for arm in source.arms], source.trials, source.layers)
    return Report(source, comparisons, arms, mechanism, study_notes(source, arms, mechanism))
