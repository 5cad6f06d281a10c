"""The training layer between two real processes, on optimizers with planted faults."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from service.domain.checks import CheckVerdict, LayerResult
from service.domain.sequential import Plan, repeated_interval
from tests.integration.check.planting import Stable, toy_config
from workers.check.client import ProbeRefusedError
from workers.check.errors import InfrastructureError, UsageError
from workers.check.training import run_training

BOTH = [{"name": "digits-mlp"}, {"name": "digits-cnn"}]


class Trainer:
    """Trains one planted optimizer against another."""

    def __init__(self, stable: Stable) -> None:
        self._stable = stable
        self.said: list[str] = []

    def __call__(self, candidate: str, *, baseline: str = "Plain", seed: int = 0, **table: Any) -> LayerResult:
        config = toy_config(**{"workloads": BOTH[:1], "max_pairs": 8, **table})
        sides = self._stable.side("baseline", baseline), self._stable.side("candidate", candidate)
        return run_training(*sides, config, seed, self.said.append)


@pytest.fixture(scope="module")
def stable() -> Iterator[Stable]:
    shared = Stable()
    yield shared
    shared.close()


@pytest.fixture
def trained(stable: Stable) -> Trainer:
    return Trainer(stable)


def test_the_same_arithmetic_is_decided_at_the_first_look_as_equal_to_the_bit(trained: Trainer) -> None:
    result = trained("Rebuilt", workloads=BOTH, max_pairs=24)
    assert result.verdict is CheckVerdict.PASS
    assert [finding.name for finding in result.findings] == [
        f"{workload}-{endpoint}"
        for workload in ("digits-mlp", "digits-cnn")
        for endpoint in ("behaviour", "train-loss", "validation-loss")
    ]
    assert all("equal to the bit on 4 paired seeds" in finding.sentence for finding in result.findings)
    assert len(trained.said) == 2


def test_three_percent_off_the_learning_rate_is_a_change_of_behaviour_and_no_failure(trained: Trainer) -> None:
    result = trained("Slightly", max_pairs=24)
    verdicts = {finding.name: finding.verdict for finding in result.findings}
    assert verdicts["digits-mlp-behaviour"] is CheckVerdict.CHANGED
    assert result.verdict is CheckVerdict.CHANGED


def test_a_loss_fails_on_two_disjoint_blocks_and_spares_the_second_workload(trained: Trainer) -> None:
    result = trained("Lame", workloads=BOTH, max_pairs=24)
    found = {finding.name: finding for finding in result.findings}["digits-mlp-train-loss"]
    assert found.verdict is CheckVerdict.FAIL
    assert "; on other seeds it moves by +" in found.sentence
    assert [block["block"] for block in found.data["blocks"]] == [0, 1]
    assert found.data["blocks"][0]["baseline"] != found.data["blocks"][1]["baseline"]
    assert result.reason == "digits-cnn not run: digits-mlp failed, which decides"
    assert any("again on other seeds" in line for line in trained.said)


def test_a_check_repeats_to_the_bit_by_its_seed(trained: Trainer) -> None:
    first, again, other = (trained("Slightly", max_pairs=4, seed=seed) for seed in (1, 1, 2))
    values = [[finding.data["blocks"] for finding in result.findings] for result in (first, again, other)]
    assert values[0] == values[1] != values[2]


def test_a_candidate_that_diverges_fails_and_says_where(trained: Trainer) -> None:
    (found,) = trained("Wild").findings
    assert (found.name, found.verdict) == ("digits-mlp-divergence", CheckVerdict.FAIL)
    assert "diverges on 4 of 4 seeds at lr=0.1, momentum=0.9" in found.sentence


def test_a_baseline_that_diverges_is_no_baseline(trained: Trainer) -> None:
    with pytest.raises(InfrastructureError, match=r"the baseline diverges at lr=0.1.* give the workload arguments"):
        trained("Plain", baseline="Wild")


def test_without_workloads_the_layer_is_skipped_and_says_so(trained: Trainer) -> None:
    result = trained("Plain", workloads=[])
    assert (result.verdict, result.reason) == (
        CheckVerdict.SKIPPED,
        "there are no `workloads` in [tool.tangent.check.toy]",
    )


def test_one_pair_and_an_unknown_workload_are_refused(trained: Trainer) -> None:
    with pytest.raises(UsageError, match="max_pairs must be at least 2, got 1"):
        trained("Plain", max_pairs=1)
    with pytest.raises(UsageError, match="no workload 'cifar'; it has digits-mlp, digits-cnn"):
        trained("Plain", workloads=[{"name": "cifar"}])


def test_arguments_that_the_candidate_refuses_name_the_candidate(trained: Trainer) -> None:
    with pytest.raises(ProbeRefusedError, match=r"the candidate \(Narrow\).*refuses its arguments") as caught:
        trained("Narrow", workloads=[{"name": "digits-mlp", "arguments": {"nesterov": True}}])
    assert caught.value.role == "candidate"


@pytest.mark.parametrize("anytime", [False, True])
def test_interval_and_estimate_follow_from_the_raw_values_and_nightly_from_other_limits(
    trained: Trainer, anytime: bool
) -> None:
    finding = trained("Slightly", anytime=anytime).findings[0]
    (block,) = finding.data["blocks"]
    pairs = list(zip(block["baseline"], block["candidate"], strict=True))[: block["n_decided_on"]]
    differences = [math.log(candidate / baseline) for baseline, candidate in pairs]
    interval = repeated_interval(differences, Plan((4, 8), is_anytime=anytime))
    assert finding.estimate == pytest.approx(100 * math.expm1(sum(differences) / len(differences)))
    assert finding.high == pytest.approx(100 * math.expm1(interval.upper))
    assert finding.data["is_anytime"] is anytime
