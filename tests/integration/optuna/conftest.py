"""One finished study with curves, for every test that only reads."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from service.domain.study import SearchPlan
from service.domain.trial import StudyId
from service.optuna_storage import LedgerStorage
from service.store.database import Database
from service.store.leases import Claim, Finish
from tests.integration.coordinator.support import Slots, coordinating, submit, toy, wait_for_end
from tests.integration.store.support import make_study


def with_curve(claimed: Claim) -> Finish:
    """The toy, with three epochs on the way and one value that was no number."""
    finish = toy(claimed)
    values = [2.0, None, finish.value]
    measured = [
        {"epoch": epoch, "step": 10 * epoch, "value": value, "metrics": {}, "layers": {}}
        for epoch, value in enumerate(values)
    ]
    return replace(finish, measurements=measured, metrics={"accuracy": 0.5})


@pytest.fixture(scope="module")
def finished(
    fresh_database: Callable[[], AbstractContextManager[str]],
) -> Iterator[tuple[str, StudyId]]:
    """The address of a ledger, and its one study: two arms, two replicates, all phases run."""
    with fresh_database() as url:
        database = Database(url, application_name="tangent-tests")
        study = make_study(("AdamW", "SGD"), replicates=2, search=SearchPlan(trials=12), compare=(("arm0", "arm1"),))
        study_id = submit(database, study)
        with coordinating(url), Slots(database, 2, with_curve):
            assert wait_for_end(database, study_id).state == "FINISHED"
        database.close()
        yield url, study_id


@pytest.fixture
def storage(finished):
    url, study_id = finished
    opened = LedgerStorage.connect(url, study_id)
    yield opened
    opened.close()


@pytest.fixture
def opening(database_url):
    """Opens storages that are closed with the test."""
    opened = []

    def open_one(*arguments, **options):
        opened.append(LedgerStorage.connect(database_url, *arguments, **options))
        return opened[-1]

    yield open_one
    for storage in opened:
        storage.close()


@pytest.fixture
def live(opening):
    """A storage that looks at the ledger at every question."""
    return opening(refresh_s=0)
