"""What a study costs and can show, before it runs."""

import pytest

from service.domain.catalog import BUILT_IN, Workload
from service.domain.cost import estimate_cost, run_s
from service.domain.study import Study
from service.domain.validation import study_from_file


def study(**changes: object) -> Study:
    document = {
        "name": "a",
        "workload": {"name": "digits-cnn"},
        "arms": [{"name": "sgd", "optimizer": "SGD"}, {"name": "sgdp", "optimizer": "SGDP"}],
        **changes,
    }
    return study_from_file(document, BUILT_IN)


def cost_of(**changes: object) -> tuple[int, float, list[float]]:
    asked = study(**changes)
    cost = estimate_cost(asked, BUILT_IN.workloads[asked.workload])
    return cost.n_trainings, cost.device_s, [entry.power for entry in cost.power]


def test_trainings_are_counted_over_arms_replicates_and_phases() -> None:
    n_trainings, _, _ = cost_of()
    assert n_trainings == 2 * 5 * (30 + 25 + 5)


def test_seconds_scale_with_epochs() -> None:
    workload = BUILT_IN.workloads["digits-cnn"]
    default = workload.option("epochs")
    assert default is not None
    assert isinstance(default.default, int)
    doubled = study(workload={"name": "digits-cnn", "options": {"epochs": 2 * default.default}})
    assert run_s(study(), workload) == workload.cpu_s_per_run
    assert run_s(doubled, workload) == pytest.approx(2 * workload.cpu_s_per_run)


def test_workload_without_epochs_costs_what_the_catalog_says() -> None:
    assert run_s(study(), Workload("digits-cnn", "", "NLL", 2.3, cpu_s_per_run=7.0)) == 7.0


def test_power_is_the_measured_one_of_the_method() -> None:
    """R = 5, S = 5, T = 30: .12, .33 and .83 for a change of 5, 10 and 20 %; R = 10: .24, .70, 1."""
    assert cost_of()[2] == pytest.approx([0.12, 0.33, 0.83], abs=0.05)
    assert cost_of(replicates=10)[2] == pytest.approx([0.24, 0.70, 1.0], abs=0.02)


def test_more_declared_pairs_leave_less_power() -> None:
    arms = [{"name": f"sgd{i}", "optimizer": "SGD"} for i in range(4)]
    assert cost_of(arms=arms)[2][1] < cost_of()[2][1]


def test_one_replicate_has_no_power() -> None:
    assert cost_of(replicates=1)[2] == [0.0, 0.0, 0.0]


def test_whole_numbers_written_as_fractions_become_whole() -> None:
    asked = study(
        workload={"name": "digits-cnn", "options": {"epochs": 3.0}},
        search={"sampler": "tpe", "options": {"n_startup_trials": 4.0}},
    )
    assert (asked.options["epochs"], asked.search.options["n_startup_trials"]) == (3, 4)
    assert type(asked.options["epochs"]) is type(asked.search.options["n_startup_trials"]) is int
    assert (
        asked.spec_hash
        == study(
            workload={"name": "digits-cnn", "options": {"epochs": 3}},
            search={"sampler": "tpe", "options": {"n_startup_trials": 4}},
        ).spec_hash
    )
