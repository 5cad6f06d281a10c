"""A ledger with something to see on every page: a finished study, one that runs, a worker, checks."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.client import Client
from service.domain.trial import Outcome, StudyId
from service.reports import store_report
from service.store.database import Database
from service.store.leases import Claim, Finish
from tests.browser.filling import fill
from tests.integration.api.support import SMALL, claim, finish, invented, plan, register, run
from tests.unit.domain.check_cases import CheckVerdict, check, full_check, layered


@dataclass(frozen=True)
class Scene:
    """Ids of what the ledger holds.

    Attributes:
        finished: Studies of 4 arms x 200 trials with a report, two of them.
        running: A study with two finished trials, a failed one and one that runs.
        failed, busy: Numbers of these two trials.
        check: A check with every kind of finding.
    """

    finished: tuple[int, int]
    running: int
    failed: int
    busy: int
    check: int


def submitted(client: Client, **changes: Any) -> StudyId:
    """A small study that has not begun."""
    return StudyId(client.submit({**SMALL, **changes})["id"])


def failure(reason: str = "the disk is full") -> Finish:
    """What a slot says of a training that failed."""
    return Finish(Outcome.WORKLOAD_ERROR, reason=reason, traceback=f"Traceback\nOSError: {reason}", log_tail="epoch 1")


def begin(ledger: Database, study_id: StudyId, n_finished: int, *endings: Finish) -> Claim:
    """Plan the study, finish some of its trials, end others as given, and leave the next one running."""
    plan(ledger, study_id)
    for ending in (*(None for _ in range(n_finished)), *endings):
        taken = claim(ledger)
        assert taken is not None
        finish(ledger, taken, ending or invented(taken))
    running = claim(ledger)
    assert running is not None
    return running


def complete(ledger: Database, study_id: StudyId, result: Callable[[Claim], Finish] = invented) -> StudyId:
    """Run the study to its end, and make its report."""
    run(ledger, study_id, result=result)
    store_report(ledger, study_id)
    return study_id


def noisy(claimed: Claim) -> Finish:
    """A result that depends on the replicate far more than on the optimizer, so that no verdict can be given."""
    share = random.Random(f"{claimed.optimizer} {claimed.number // 9}").uniform(0.8, 1.25)
    return replace(invented(claimed), value=0.1 * share, test_value=0.1 * share if claimed.phase == "confirm" else None)


def finished(ledger: Database, name: str, *, n: int = 200, seed: int = 0) -> StudyId:
    """A study of 4 arms x `n` trials with its report."""
    with ledger.transaction() as connection:
        study_id = fill(connection, n, name=name, seed=seed)
    store_report(ledger, study_id)
    return study_id


def everything(ledger: Database, client: Client) -> Scene:
    """Fill the ledger."""
    register(ledger)
    both = (finished(ledger, "digits-cnn-adamp"), finished(ledger, "digits-cnn-again", seed=1))
    running = submitted(client, name="still-running")
    busy = begin(ledger, running, 2, failure())
    for seed in range(3):
        client.upload_check(_json(check(layered(CheckVerdict.PASS), seed=seed)))
    report = client.upload_check(_json(full_check()))
    client.upload_check(_json(check(*full_check().layers, seed=9)))
    return Scene(both, running, busy.number - 1, busy.number, report["id"])


def _json(report: Any) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = json.loads(json.dumps(report.to_dict()))
    return plain
