"""The report: against an independent oracle, and its symmetries."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.report import build_report
from service.domain.verdict import VerdictKind
from tests.reference.report_oracle import recompute
from tests.unit.domain.report_cases import (
    CONFIRM,
    damaged_study,
    export,
)

K = VerdictKind


class TestAgainstTheOracle:
    @pytest.mark.parametrize("block", range(6))
    def test_equals_the_oracle_on_damaged_studies(self, block):
        for seed in range(20 * block, 20 * block + 20):
            source = damaged_study(seed)
            pairs = zip(build_report(source).to_dict()["comparisons"], recompute(export(source)), strict=True)
            for found, expected in pairs:
                self.check(found, expected)

    def test_the_damaged_studies_reach_every_kind_of_verdict(self):
        verdicts = [c.verdict for seed in range(120) for c in build_report(damaged_study(seed)).comparisons]
        assert {verdict.kind for verdict in verdicts} == set(K)
        reasons = " ".join(reason for verdict in verdicts for reason in verdict.reasons)
        assert "too narrow" in reasons
        assert "never called better" in reasons

    @staticmethod
    def check(found, expected):
        effect, verdict = found["effect"], found["verdict"]
        assert (found["baseline"], found["challenger"]) == (expected["baseline"], expected["challenger"])
        assert effect["n"] == expected["n"]
        assert verdict["kind"] == expected["kind"]
        assert verdict["before_downgrade"] == expected["table_kind"] or "Both arms diverged" in verdict["sentence"]
        means = [replicate["mean"] for replicate in found["replicates"]]
        assert means == pytest.approx(expected["replicate_means"], abs=1e-9)
        for key in ("mean", "sd", "p_value"):
            assert effect[key] == pytest.approx(expected[key], abs=1e-9)
        assert found["holm_p"] == pytest.approx(expected["holm_p"], abs=1e-9)
        for key in ("interval_95", "interval_90"):
            ends = expected[key] and [None if math.isinf(end) else end for end in expected[key]]
            assert (effect[key] and list(effect[key].values())) == pytest.approx(ends, abs=1e-9)


class TestSymmetries:
    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, 40), st.randoms())
    def test_the_order_of_trials_and_layers_changes_nothing(self, seed, rng):
        source = damaged_study(seed)
        shuffled = list(source.trials)
        rng.shuffle(shuffled)
        other = dataclasses.replace(source, trials=tuple(shuffled))
        assert build_report(other).to_dict() == build_report(source).to_dict()

    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, 40), st.randoms())
    def test_the_order_of_seeds_changes_no_effect(self, seed, rng):
        source = damaged_study(seed)
        order = list(range(source.confirm_seeds))
        rng.shuffle(order)
        trials = tuple(
            dataclasses.replace(t, seed_index=order[t.seed_index]) if t.phase is CONFIRM else t for t in source.trials
        )
        other = build_report(dataclasses.replace(source, trials=trials))
        for a, b in zip(build_report(source).comparisons, other.comparisons, strict=True):
            assert a.measurement.effect == b.measurement.effect
            assert a.verdict == b.verdict

    @pytest.mark.parametrize("seed", range(30))
    def test_swapping_the_arms_mirrors_everything(self, seed):
        source = damaged_study(seed)
        swapped = dataclasses.replace(source, compare=tuple((b, a) for a, b in source.compare))
        for there, back in zip(build_report(source).comparisons, build_report(swapped).comparisons, strict=True):
            assert back.verdict.kind is there.verdict.kind.mirrored
            assert back.holm_p == there.holm_p
            a, b = there.measurement.effect, back.measurement.effect
            assert (b.mean, b.sd, b.p_value) == (-a.mean, a.sd, a.p_value)
            assert b.interval_95 == (a.interval_95 and a.interval_95.mirrored)
            assert back.measurement.components == there.measurement.components
