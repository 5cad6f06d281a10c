"""The verdict table, its downgrades and its sentences."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from service.domain.statistics import Effect, Interval, estimate_effect, holm
from service.domain.verdict import ArmStanding, Evidence, VerdictKind, judge, kind_from_table, rule
from service.domain.wording import duration, listing, margin_percent, percent, percent_range, probability

K = VerdictKind
CARRIED = (
    "test NLL",
    "R = ",
    "S = 3 confirm seeds",
    "T = 12 search trials per cell",
    "margin 5 %",
    "interval",
    "chosen on validation, reported on test",
)


def evidence(means=(), *, holm_p=None, **changes):
    effect = estimate_effect(means, is_anytime_valid=changes.pop("anytime", False))
    fields = {
        "metric": "test NLL",
        "margin": 0.05,
        "n_planned": len(means),
        "n_trials": 12,
        "n_seeds": 3,
        "baseline": ArmStanding("adamw", n_confirm=15),
        "challenger": ArmStanding("adamp", n_confirm=15),
        "effect": effect,
        "holm_p": effect.p_value if holm_p is None else holm_p,
    }
    return Evidence(**{**fields, **changes})


def mirrored(case):
    effect = estimate_effect([])
    e = case.effect
    if e.interval_95:
        effect = dataclasses.replace(
            e, mean=-e.mean, interval_95=e.interval_95.mirrored, interval_90=e.interval_90.mirrored
        )
    return dataclasses.replace(case, effect=effect, baseline=case.challenger, challenger=case.baseline)


def effect(mean, low, high, low_90, high_90, n=6):
    return Effect(n, mean, 0.1, Interval(low, high), Interval(low_90, high_90), 0.01)


class TestTable:
    @pytest.mark.parametrize(
        ("found", "holm_p", "kind"),
        [
            (effect(-0.10, -0.14, -0.06, -0.13, -0.07), 0.01, K.BETTER_BY_MARGIN),
            (effect(-0.10, -0.15, -0.05, -0.13, -0.07), 0.01, K.BETTER),  # upper end exactly at -m
            (effect(-0.02, -0.035, -0.005, -0.03, -0.01), 0.01, K.BETTER_EQUIVALENT),
            (effect(-0.04, -0.06, -0.02, -0.05, -0.03), 0.01, K.BETTER),  # 90 % interval touches -m
            (effect(-0.10, -0.19, -0.01, -0.18, -0.02), 0.049, K.BETTER),
            (effect(-0.10, -0.19, -0.01, -0.18, -0.02), 0.05, K.INCONCLUSIVE),  # lost to Holm
            (effect(-0.02, -0.035, -0.005, -0.03, -0.01), 0.06, K.EQUIVALENT),
            (effect(0.00, -0.04, 0.04, -0.03, 0.03), 1.0, K.EQUIVALENT),
            (effect(-0.02, -0.08, 0.04, -0.06, 0.02), 0.4, K.INCONCLUSIVE),
        ],
    )
    def test_first_row_that_holds_and_its_mirror_image(self, found, holm_p, kind):
        assert kind_from_table(found, holm_p, 0.05) is kind
        opposite = dataclasses.replace(
            found,
            mean=-found.mean,
            interval_95=found.interval_95.mirrored,
            interval_90=found.interval_90.mirrored,
        )
        assert kind_from_table(opposite, holm_p, 0.05) is kind.mirrored

    def test_two_replicates_compare_two_configurations(self):
        assert kind_from_table(estimate_effect([-0.2, -0.2001]), 0.001, 0.05) is K.NO_VERDICT

    def test_mirroring_twice_changes_nothing(self):
        for kind in K:
            assert kind.mirrored.mirrored is kind
            assert kind.is_better == kind.mirrored.is_worse

    @settings(deadline=None)
    @given(
        st.lists(st.floats(-0.3, 0.3).map(lambda x: round(x, 4)), max_size=7),
        st.tuples(st.integers(0, 15), st.integers(0, 15)),
        st.tuples(st.booleans(), st.booleans()),
    )
    def test_swapping_arms_mirrors_every_ruling(self, means, diverged, narrow):
        arms = [
            ArmStanding(name, 15, n, ("lr at its upper edge (0.1) in 4 of 5 replicates",) if is_narrow else ())
            for name, n, is_narrow in zip(("a", "b"), diverged, narrow, strict=True)
        ]
        case = evidence(means, baseline=arms[0], challenger=arms[1])
        ruling, opposite = rule(case), rule(mirrored(case))
        assert opposite.kind is ruling.kind.mirrored
        assert opposite.before_downgrade is ruling.before_downgrade.mirrored
        assert sorted(opposite.reasons) == sorted(ruling.reasons)


class TestFalseAlarms:
    @pytest.mark.parametrize("n", [3, 5, 10])
    def test_identical_optimizers_are_called_different_at_the_nominal_rate(self, n):
        rng = np.random.default_rng(10 + n)
        seeds = rng.normal(0, 0.1, (2000, n, 5)).mean(axis=2)
        means = rng.normal(0, 0.1, (2000, n)) + seeds
        kinds = [rule(evidence(row.tolist())).kind for row in means]
        alarms = sum(kind.is_better or kind.is_worse for kind in kinds)
        low, high = stats.binom.ppf([0.005, 0.995], 2000, 0.05)
        assert low <= alarms <= high
        # Each side gets its half.
        low, high = stats.binom.ppf([0.005, 0.995], 2000, 0.025)
        assert low <= sum(kind.is_better for kind in kinds) <= high

    def test_three_declared_pairs_alarm_no_more_often_than_one(self):
        rng = np.random.default_rng(20)
        arms = rng.normal(0, 0.1, (2000, 4, 5))
        alarms = 0
        for table in arms:
            effects = [estimate_effect((table[i] - table[0]).tolist()) for i in (1, 2, 3)]
            adjusted = holm([e.p_value for e in effects])
            kinds = [kind_from_table(e, p, 0.05) for e, p in zip(effects, adjusted, strict=True)]
            alarms += any(kind.is_better or kind.is_worse for kind in kinds)
        assert alarms <= stats.binom.ppf(0.995, 2000, 0.05)


class TestDowngrades:
    strong = (-0.2, -0.22, -0.21, -0.19, -0.2)
    slight = (-0.02, -0.022, -0.021, -0.019, -0.02)
    edge = ("lr at its upper edge (0.1) in 4 of 5 replicates",)

    def kind(self, means, *, baseline=(0, ()), challenger=(0, ())):
        arms = {
            "baseline": ArmStanding("adamw", 20, *baseline),
            "challenger": ArmStanding("adamp", 20, *challenger),
        }
        return judge(evidence(means, **arms))

    def test_an_arm_that_diverges_in_over_a_tenth_is_never_better(self):
        assert self.kind(self.strong, challenger=(2, ())).kind is K.BETTER_BY_MARGIN  # exactly a tenth
        verdict = self.kind(self.strong, challenger=(3, ()))
        assert verdict.kind is K.INCONCLUSIVE
        assert verdict.before_downgrade is K.BETTER_BY_MARGIN
        assert "3 of 20 confirm runs of adamp diverged" in verdict.sentence
        assert self.kind(self.slight, challenger=(3, ())).kind is K.EQUIVALENT

    def test_the_losers_divergence_takes_nothing_back_but_is_said(self):
        verdict = self.kind(self.strong, baseline=(3, ()))
        assert verdict.kind is K.BETTER_BY_MARGIN
        assert "3 of 20 confirm runs of adamw diverged and count as chance level." in verdict.sentence

    def test_a_narrow_range_of_the_loser_takes_better_back(self):
        verdict = self.kind(self.strong, baseline=(0, self.edge))
        assert verdict.kind is K.INCONCLUSIVE
        assert "range of adamw too narrow: lr at its upper edge (0.1)" in verdict.sentence
        assert "More replicates do not remedy this" in verdict.sentence
        assert verdict.n_more_replicates is None

    def test_a_narrow_range_of_the_winner_takes_back_only_equivalence(self):
        assert self.kind(self.strong, challenger=(0, self.edge)).kind is K.BETTER_BY_MARGIN
        assert self.kind(self.slight, challenger=(0, self.edge)).kind is K.BETTER

    @pytest.mark.parametrize("arm", ["baseline", "challenger"])
    def test_a_narrow_range_of_either_arm_takes_equivalence_back(self, arm):
        same = (0.001, -0.001, 0.0005, -0.0005, 0.0)
        assert self.kind(same).kind is K.EQUIVALENT
        assert self.kind(same, **{arm: (0, self.edge)}).kind is K.INCONCLUSIVE


SITUATIONS = {
    "by margin": evidence((-0.2, -0.22, -0.21)),
    "size uncertain": evidence((-0.2, -0.1, -0.01, -0.15, -0.3)),
    "worse": evidence((0.2, 0.22, 0.21)),
    "inconclusive": evidence((-0.2, 0.1, -0.1)),
    "equivalent": evidence((0.001, -0.001, 0.0005)),
    "identical": evidence((0.0, 0.0, 0.0)),
    "constant": evidence((-0.2, -0.2, -0.2)),
    "two": evidence((-0.2, -0.1)),
    "one": evidence((-0.2,)),
    "none": evidence((), n_planned=5),
    "behind": evidence((-0.2,), n_planned=5, blockers=("sgd 34 of 60",)),
    "nothing yet": evidence((), n_planned=5, blockers=("sgd 0 of 60", "sgdp 1 of 60")),
    "both diverged": evidence((0.0,) * 3, baseline=ArmStanding("a", 9, 9), challenger=ArmStanding("b", 9, 9)),
    "huge": evidence((20.0, 21.0, 900.0)),
    "anytime, few": evidence((-0.2, -0.1, -0.15), anytime=True),
}


class TestSentences:
    @pytest.mark.parametrize("case", SITUATIONS.values(), ids=SITUATIONS.keys())
    def test_every_sentence_carries_what_it_must(self, case):
        verdict = judge(case)
        for part in CARRIED:
            assert part in verdict.sentence
        assert "nan" not in verdict.sentence
        assert "None" not in verdict.sentence
        assert verdict.sentence.endswith(".")

    def expect(self, name, kind, *parts):
        verdict = judge(SITUATIONS[name])
        assert verdict.kind is kind
        for part in parts:
            assert part in verdict.sentence

    def test_better_says_by_how_much(self):
        self.expect("by margin", K.BETTER_BY_MARGIN, "Better by at least 5 %: adamp against adamw, test NLL -19 %")
        self.expect("size uncertain", K.BETTER, "Better, size uncertain: 1.7 to 25 %", "R = 5 replicates")
        self.expect("worse", K.WORSE_BY_MARGIN, "Worse by at least 5 %", "+23 %")

    def test_equivalent_and_identical(self):
        self.expect("equivalent", K.EQUIVALENT, "Equivalent within 5 %")
        self.expect("identical", K.EQUIVALENT, "Both arms gave the same endpoint in every replicate.")

    def test_inconclusive_says_what_is_ruled_out_and_what_certainty_costs(self):
        case = dataclasses.replace(SITUATIONS["inconclusive"], cost_per_replicate_s=120.0)
        verdict = judge(case)
        # sd = sqrt(.07/3) = .1528; the smallest n with t sd / sqrt(n) <= .05 is 39 = 3 + 36.
        assert (verdict.n_more_replicates, verdict.more_s) == (36, 4320.0)
        assert "Ruled out: not worse than +37 %, not better than -36 %." in verdict.sentence
        assert "36 more replicates (about 72 minutes) would bring the half-width to about 5 %." in verdict.sentence
        assert "minutes" not in judge(SITUATIONS["inconclusive"]).sentence

    def test_inconclusive_at_the_margins_edge_promises_nothing(self):
        verdict = judge(evidence((-0.06, -0.055, -0.05, -0.045, -0.04), holm_p=0.2))
        assert verdict.kind is K.INCONCLUSIVE
        assert verdict.n_more_replicates == 0
        assert "effect lies close to a limit of the table" in verdict.sentence

    def test_hopeless_spread_is_said(self):
        verdict = judge(evidence((-300.0, 200.0, 90.0)))
        assert verdict.n_more_replicates is None
        assert "No affordable number of replicates" in verdict.sentence

    def test_no_verdict_says_why(self):
        self.expect("two", K.NO_VERDICT, "compares two configurations, not two optimizers", "95 % interval")
        self.expect("one", K.NO_VERDICT, "compares two configurations", "no interval: one replicate has none")
        self.expect("none", K.NO_VERDICT, "No replicate has confirm runs of both arms", "R = 0 of 5 replicates")
        self.expect("constant", K.NO_VERDICT, "they are not independent", "no interval: the replicates do not vary")
        self.expect("both diverged", K.NO_VERDICT, "Both arms diverged in every confirm run")

    def test_unequal_budgets_give_no_early_verdict(self):
        self.expect("behind", K.NOT_COMPARABLE, "Not comparable yet (sgd 34 of 60)", "so far -18 %")
        assert judge(SITUATIONS["behind"]).words == "not comparable yet: sgd 34 of 60"
        assert judge(SITUATIONS["nothing yet"]).words == "not comparable yet: sgd 0 of 60 and sgdp 1 of 60"

    def test_replicates_added_after_a_look_are_said(self):
        self.expect("anytime, few", K.INCONCLUSIVE, "valid at every look", "Nothing is ruled out yet.")

    def test_holm_is_named_where_there_are_several_pairs(self):
        assert "Holm over 3 pairs p = " in judge(evidence((-0.2, -0.1, 0.1), n_pairs=3)).sentence


class TestWording:
    @pytest.mark.parametrize(
        ("log_ratio", "text"),
        [
            (math.log(0.916), "-8.4 %"),
            (math.log(1.16), "+16 %"),
            (0.0, "0 %"),
            (1e-12, "0 %"),
            (-0.0003, "-0.03 %"),
            (20.0, "+4.9e+10 %"),
            (1000.0, "+inf %"),
        ],
    )
    def test_percent(self, log_ratio, text):
        assert percent(log_ratio) == text

    def test_ranges_margins_and_lists(self):
        assert percent_range(Interval(math.log(0.92), math.log(1.039))) == "-8.0 % to +3.9 %"
        assert percent_range(Interval(-math.inf, math.inf)) == "unbounded with so few replicates"
        assert [margin_percent(m) for m in (0.05, 0.1, 0.025, 0.3)] == ["5 %", "10 %", "2.5 %", "26 %"]
        assert [listing(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]

    def test_probabilities_never_round_across_the_level(self):
        assert [probability(p) for p in (0.0001, 0.012, 0.0499, 0.0501, 1.0)] == [
            "p < .001",
            "p = .012",
            "p = .0499",
            "p = .0501",
            "p = 1.000",
        ]

    def test_durations(self):
        assert [duration(s) for s in (20, 61, 2400, 7200)] == [
            "less than a minute",
            "about 1 minute",
            "about 40 minutes",
            "about 2 hours",
        ]
