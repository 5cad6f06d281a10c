"""Published effects beside earlier ones."""

import math

import numpy as np
import pytest
from scipy import stats

from service.domain.statistics import estimate_effect
from service.output.earlier import difference, earlier_section
from tests.unit.domain.estimate_cases import document, full_source

FIGURE = {"baseline": "adamw", "challenger": "adamp", "replicates": 8, "design": "20 epochs"}


def earlier(change, half, workload):
    ends = [math.expm1(math.log1p(change) + sign * half) for sign in (-1, 1)]
    return {"source": "notes", "figures": [{**FIGURE, "workload": workload, "change": change, "interval_95": ends}]}


def test_the_ratio_has_scipys_welch_interval():
    rng = np.random.default_rng(5)
    groups = rng.normal(-0.2, 0.1, 10), rng.normal(-0.1, 0.2, 6)
    effects = [estimate_effect(list(group)) for group in groups]
    shift, interval = difference(*((e.mean, e.interval_95, e.n) for e in effects))
    expected = stats.ttest_ind(*groups, equal_var=False).confidence_interval()
    assert shift == pytest.approx(groups[0].mean() - groups[1].mean())
    assert (interval.lower, interval.upper) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("change", "said"), [(-0.18, "agree within chance"), (1.5, "differ |")])
def test_a_figure_of_the_same_pair_and_workload_is_compared(change, said):
    report = document(full_source(replicates=6, workload="w"))
    page = "\n".join(earlier_section([report], earlier(change, 0.1, "w")))
    assert said in page
    assert "20 epochs, R = 8" in page


def test_nothing_is_said_of_other_workloads_and_of_pairs_without_an_interval():
    assert earlier_section([document(full_source(replicates=6, workload="w"))], earlier(-0.1, 0.1, "v")) == []
    assert earlier_section([document(full_source(replicates=1, workload="w"))], earlier(-0.1, 0.1, "w")) == []
