"""Studies that differ in nothing but the seed: judged as the report and as `tangent compare` judge."""

import copy
import math

import numpy as np
import pytest
from scipy import stats

from service.domain.ruling import VerdictKind
from service.output.equal_arms import equal_arms_document, equal_arms_section, judge_pairs
from service.output.results import Published, results_page
from tests.unit.domain.estimate_cases import ARMS, document
from tests.unit.domain.study_simulation import SimulatedStudy


def report(seed, shift=0.0, replicates=6):
    study = SimulatedStudy({"adamw": shift}, seed=seed, replicates=replicates, n_trials=3)
    hashed = {"seed": seed, "spec_hash": f"{seed:064x}", "code_revision": "c0de" * 16}
    return document(study.report_input(arms=ARMS[:1], compare=(), is_finished=True, **hashed))


@pytest.fixture(scope="module")
def reports():
    """Ten equal studies and, at the end, one pair that a shift of a third sets apart."""
    return [report(seed) for seed in range(10)] + [report(10), report(11, shift=math.log(1.5))]


def logs(found):
    runs = found["arms"][0]["confirm_runs"]
    return [np.mean([math.log(run["value"]) for run in runs if run["replicate"] == r]) for r in range(6)]


def test_each_pair_has_scipys_welch_and_paired_p(reports):
    judged = judge_pairs(equal_arms_document(reports))
    assert len(judged) == 6
    for index, pair in enumerate(judged):
        first, second = logs(reports[2 * index]), logs(reports[2 * index + 1])
        assert pair.seeds == (2 * index, 2 * index + 1)
        assert pair.p_welch == pytest.approx(stats.ttest_ind(second, first, equal_var=False).pvalue)
        assert pair.change == pytest.approx(np.mean(second) - np.mean(first))
        assert pair.has_alarm == (stats.ttest_rel(second, first).pvalue < 0.05)
        assert pair.has_welch_alarm == (pair.p_welch < 0.05)


def test_a_planted_difference_is_counted_as_an_alarm_and_the_page_says_so(reports):
    document = equal_arms_document(reports)
    judged = judge_pairs(document)
    assert judged[-1].kind is VerdictKind.WORSE_BY_MARGIN
    n_alarms = sum(pair.has_alarm for pair in judged)
    page = results_page(Published(equal_arms=document))
    assert f"| {n_alarms} of 6 | {100 * n_alarms / 6:.3g} % (" in page
    assert "12 studies of AdamW on digits-cnn" in page


def test_equal_optimizers_are_called_different_at_the_nominal_rate():
    """200 pairs, both judgements; the limits are those of 99.9 % of binomial draws at 5 %."""
    judged = judge_pairs(equal_arms_document([report(seed, replicates=4) for seed in range(400)]))
    low, high = stats.binom.ppf([0.0005, 0.9995], len(judged), 0.05)
    for alarms in ([pair.has_alarm for pair in judged], [pair.has_welch_alarm for pair in judged]):
        assert low <= sum(alarms) <= high


def test_studies_that_differ_in_more_than_the_seed_and_odd_ones_are_refused(reports):
    other = copy.deepcopy(reports[1])
    other["budget"]["confirm_seeds"] = 9
    with pytest.raises(ValueError, match="with seed 1 differs in more than its seed"):
        equal_arms_document([reports[0], other])
    with pytest.raises(ValueError, match="compared two and two, got 3"):
        equal_arms_document(reports[:3])


def test_trials_stand_behind_every_number(reports):
    kept = equal_arms_document(reports)["studies"][0]
    assert kept["spec_hash"] == reports[0]["spec_hash"]
    trials = {trial["number"]: trial for trial in reports[0]["trials"]}
    for run in kept["arms"][0]["confirm_runs"]:
        assert trials[run["trial"]]["test_value"] == run["value"]


def test_the_section_names_the_way_of_judging(reports):
    text = "\n".join(equal_arms_section(equal_arms_document(reports), "equal-arms.json"))
    for part in ("paired t, table of verdicts", "`tangent compare`, Welch", "`c0dec0dec0de`", "Clopper-Pearson"):
        assert part in text
