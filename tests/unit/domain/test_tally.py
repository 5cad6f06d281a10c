"""Counts that are kept trial by trial say what a look at all trials says."""

import random
from dataclasses import replace

from service.domain.plan import Tally, plan_cell, plan_search, tally_of
from service.domain.study import SearchPlan
from service.domain.trial import Outcome, Phase, TrialRecord, TrialState
from tests.integration.store.support import make_study

STUDY = make_study(search=SearchPlan(trials=20))


def waiting(number: int, phase: Phase) -> TrialRecord:
    return TrialRecord(
        number=number,
        arm="arm0",
        replicate=0,
        phase=phase,
        cell_number=number,
        config=number,
        seed_index=0,
        seed=number,
        state=TrialState.WAITING,
        params={},
    )


def finished(record: TrialRecord, outcome: Outcome) -> TrialRecord:
    return replace(record, state=outcome.state, outcome=outcome, value=0.5, n_steps=7, duration_s=0.25)


def test_tally_kept_up_to_date_is_the_tally_of_all_trials_at_every_moment():
    rng = random.Random(3)
    records: dict[int, TrialRecord] = {}
    tally = Tally()
    for number in range(300):
        if records and rng.random() < 0.6:
            record = finished(records[rng.choice(list(records))], rng.choice(list(Outcome)))
            tally.add(records[record.number], -1)
        else:
            record = waiting(number, rng.choice(list(Phase)))
        records[record.number] = record
        tally.add(record)
        assert tally == tally_of(records.values())


def test_search_is_planned_from_counts_alone_and_reruns_are_not():
    records = [finished(waiting(i, Phase.SEARCH), Outcome.FINISHED) for i in range(20)]
    for n in range(20):
        assert plan_search(STUDY, tally_of(records[:n])) == plan_cell(STUDY, records[:n])
    assert plan_search(STUDY, tally_of(records)) is None
    assert len(plan_cell(STUDY, records).reruns) == STUDY.select_top * STUDY.select_seeds
