"""What people change over HTTP: pause, resume, retry, extend, clone, delete, settings, requeue, drain."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.domain.trial import Outcome, StudyId
from service.store.database import Database
from service.store.events import events_after
from service.store.leases import Claim, Finish, Wish, hand_back_trial, renew_lease
from service.store.workers import sign_off
from tests.asgi import Caller
from tests.integration.api.support import (
    SMALL,
    STUDIES,
    WORKER,
    claim,
    finish,
    invented,
    plan,
    register,
    row_counts,
    run,
    submit,
)
from tests.integration.store.support import LEASE, assert_consistent
from tests.unit.api.support import problem_of

ONE = {**SMALL, "arms": SMALL["arms"][:1], "compare": [], "replicates": 1}
"""9 trainings: one cell of 3 + 4 + 2."""
FRAGILE = {**ONE, "limits": {"failures": 0}}


@pytest.fixture(autouse=True)
def consistent(ledger: Database) -> Iterator[None]:
    """Whatever was changed, counters equal counts and events have no gaps."""
    yield
    assert_consistent(ledger)


def show(api: Caller, study_id: int) -> dict[str, Any]:
    view: dict[str, Any] = api.get(f"{STUDIES}/{study_id}").json()
    return view


def post(api: Caller, study_id: int, act: str, **request: Any) -> httpx.Response:
    return api.post(f"{STUDIES}/{study_id}/{act}", **request)


def done(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def refusal(response: httpx.Response, status: int = 409) -> str:
    problem = problem_of(response)
    assert problem["status"] == status
    return str(problem["detail"])


def events(ledger: Database, study_id: int) -> list[tuple[str, dict[str, Any]]]:
    with ledger.transaction() as connection:
        return [(event["kind"], event["data"]) for event in events_after(connection, StudyId(study_id), 0)]


def failing(*numbers: int) -> Any:
    """Results in which these trials fail, the first time."""
    left = set(numbers)

    def result(claimed: Claim) -> Finish:
        if claimed.number in left:
            left.discard(claimed.number)
            return Finish(Outcome.WORKLOAD_ERROR, reason="by the test")
        return invented(claimed)

    return result


def ended(api: Caller, ledger: Database, state: str, document: dict[str, Any] = ONE) -> StudyId:
    """A study that has ended like that."""
    study_id = submit(api, document)
    if state == "FAILED":
        run(ledger, study_id, result=failing(0), most=1)
        plan(ledger, study_id)
    else:
        run(ledger, study_id)
    assert show(api, study_id)["state"] == state
    return study_id


def test_paused_study_starts_no_trial_until_it_is_resumed(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id, most=2)
    running = claim(ledger)
    assert running is not None
    view = done(post(api, study_id, "pause"))
    assert (view["state"], view["counts"]["n_running"]) == ("PAUSED", 1)
    assert claim(ledger) is None
    with ledger.transaction() as connection:
        assert renew_lease(connection, running.trial_id, running.attempt, LEASE) is Wish.GO_ON
    finish(ledger, running, invented(running))
    plan(ledger, study_id)
    assert claim(ledger) is None
    assert done(post(api, study_id, "resume"))["state"] == "RUNNING"
    run(ledger, study_id)
    assert show(api, study_id)["state"] == "FINISHED"
    assert [data["state"] for kind, data in events(ledger, study_id) if kind == "study"] == [
        "PAUSED",
        "RUNNING",
        "FINISHED",
    ]


def test_pause_now_asks_running_trials_back_and_resume_withdraws_that(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    plan(ledger, study_id)
    first, second = claim(ledger), claim(ledger)
    assert first is not None
    assert second is not None
    assert done(post(api, study_id, "pause"))["state"] == "PAUSED"
    assert done(post(api, study_id, "pause?now=true"))["counts"]["n_running"] == 2
    with ledger.transaction() as connection:
        assert renew_lease(connection, first.trial_id, 1, LEASE) is Wish.HAND_BACK
        assert hand_back_trial(connection, first.trial_id, 1, outcome=None, reason="asked", checkpoint={"step": 3})
    done(post(api, study_id, "resume"))
    with ledger.transaction() as connection:
        assert renew_lease(connection, second.trial_id, 1, LEASE) is Wish.GO_ON
    again = claim(ledger)
    assert again is not None
    assert (again.number, again.attempt, again.checkpoint) == (first.number, 2, {"step": 3})


def test_cancel_ends_trials_that_were_asked_back(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    plan(ledger, study_id)
    running = claim(ledger)
    assert running is not None
    done(post(api, study_id, "pause?now=true"))
    done(post(api, study_id, "cancel"))
    with ledger.transaction() as connection:
        assert renew_lease(connection, running.trial_id, 1, LEASE) is Wish.CANCEL


def test_what_makes_no_sense_is_refused_with_a_sentence(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    assert refusal(post(api, study_id, "resume")) == f"study {study_id} is not paused, it is RUNNING"
    done(post(api, study_id, "pause"))
    assert refusal(post(api, study_id, "pause")) == f"study {study_id} is paused already"
    done(post(api, study_id, "cancel"))
    over = f"study {study_id} has ended: it is CANCELLED"
    for act in ("pause", "pause?now=true", "resume"):
        assert refusal(post(api, study_id, act)) == over
    assert refusal(api.request("PATCH", f"{STUDIES}/{study_id}", json={"priority": 1})) == over
    assert refusal(post(api, study_id, "retry")) == f"study {study_id} was cancelled; clone it to run it again"
    assert refusal(post(api, study_id, "replicates", json={"n": 1})).endswith("clone it with more replicates")


@pytest.mark.parametrize(
    "act", ["pause", "resume", "cancel", "retry", "trials/0/retry", "trials/0/requeue", "replicates", "clone"]
)
def test_study_that_is_not_there_is_not_found(api: Caller, act: str) -> None:
    assert refusal(post(api, 5, act, json={"n": 1} if act == "replicates" else None), 404) == "there is no study 5"


def test_cancelled_trials_are_counted_apart_from_failed_ones(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id, result=failing(0), most=1)
    done(post(api, study_id, "cancel"))
    counts = api.get(STUDIES).json()["studies"][0]["counts"]
    assert counts == show(api, study_id)["counts"]
    assert (counts["n_fail"], counts["n_cancelled"]) == (18, 17)
    progress = show(api, study_id)["progress"]
    assert sum(row["n_failed"] for row in progress) == 1
    assert sum(row["n_cancelled"] for row in progress) == 17


def test_failed_study_goes_on_where_its_failed_trial_is_retried(api: Caller, ledger: Database) -> None:
    study_id = ended(api, ledger, "FAILED", FRAGILE)
    before = show(api, study_id)
    assert before["counts"]["n_fail"] == 3  # one failed, two were cancelled with the study
    view = done(post(api, study_id, "trials/0/retry"))
    assert (view["state"], view["reason"], view["finished_at"]) == ("RUNNING", None, None)
    assert view["retried"] == [0, 1, 2]
    assert {cell["state"] for cell in view["cells"]} == {"search"}
    assert view["counts"]["n_waiting"] == 3
    assert ("control", {"act": "retry", "n": 3, "trials": [0, 1, 2]}) in events(ledger, study_id)
    run(ledger, study_id)
    assert show(api, study_id)["state"] == "FINISHED"
    trial = api.get(f"{STUDIES}/{study_id}/trials/0").json()
    assert [attempt["outcome"] for attempt in trial["attempts"]] == ["workload_error", "finished"]


def test_search_trial_with_a_substitute_and_select_run_after_the_choice_are_refused(
    api: Caller, ledger: Database
) -> None:
    study_id = submit(api, ONE)
    run(ledger, study_id, result=failing(1, 5))
    assert refusal(post(api, study_id, "trials/1/retry")) == (
        "trial 1 cannot run again: trial 1 failed and trial 3 was asked in its place"
    )
    assert "was chosen without trial 5" in refusal(post(api, study_id, "trials/5/retry"))
    assert refusal(post(api, study_id, "trials/0/retry")) == "trial 0 has not failed: its outcome is finished"
    assert refusal(post(api, study_id, "trials/99/retry"), 404).startswith("there is no trial 99; the study has trials")
    assert refusal(post(api, study_id, "retry")).startswith(f"no failed trial of study {study_id} can run again: ")


def test_select_run_is_retried_before_the_choice(api: Caller, ledger: Database) -> None:
    study_id = submit(api, ONE)
    run(ledger, study_id, result=failing(3), most=5)  # 3 search, 2 of 4 select
    assert show(api, study_id)["counts"]["n_fail"] == 1
    assert done(post(api, study_id, "retry"))["retried"] == [3]
    assert show(api, study_id)["counts"]["n_fail"] == 0
    run(ledger, study_id)
    assert show(api, study_id)["counts"]["n_complete"] == 9


def test_confirm_run_of_a_finished_study_is_retried_and_the_study_finishes_again(api: Caller, ledger: Database) -> None:
    study_id = submit(api, ONE)
    run(ledger, study_id, result=failing(7))
    assert show(api, study_id)["state"] == "FINISHED"
    view = done(post(api, study_id, "trials/7/retry"))
    assert (view["state"], view["cells"][0]["state"]) == ("RUNNING", "confirm")
    run(ledger, study_id)
    view = show(api, study_id)
    assert (view["state"], view["counts"]["n_complete"]) == ("FINISHED", 9)


def test_study_without_failures_has_nothing_to_retry(api: Caller, ledger: Database) -> None:
    study_id = ended(api, ledger, "FINISHED")
    assert refusal(post(api, study_id, "retry")) == f"study {study_id} has no failed trial"


def test_retry_waits_for_trials_that_still_stop(api: Caller, ledger: Database) -> None:
    study_id = submit(api, FRAGILE)
    plan(ledger, study_id)
    first, second = claim(ledger), claim(ledger)
    assert first is not None
    assert second is not None
    finish(ledger, first, Finish(Outcome.WORKLOAD_ERROR))
    plan(ledger, study_id)
    assert refusal(post(api, study_id, "retry")).endswith("1 trial of it not yet; try again in a moment")
    finish(ledger, second, Finish(Outcome.CANCELLED))
    assert done(post(api, study_id, "retry"))["retried"] == [0, 1, 2]


def test_finished_study_gets_more_replicates_marked_as_added_after_a_look(api: Caller, ledger: Database) -> None:
    study_id = ended(api, ledger, "FINISHED", {**SMALL, "replicates": 2})
    before = show(api, study_id)
    view = done(post(api, study_id, "replicates", json={"n": 2}))
    assert (view["state"], view["spec"]["replicates"], view["registered_replicates"]) == ("RUNNING", 4, 2)
    assert view["spec_hash"] == before["spec_hash"]
    (amendment,) = view["amendments"]
    assert (amendment["replicates"], amendment["after_look"]) == (2, True)
    assert run(ledger, study_id) == before["counts"]["n_complete"]
    after = show(api, study_id)
    assert (after["state"], len(after["cells"])) == ("FINISHED", 8)
    assert api.get(f"{STUDIES}/{study_id}/report").json()["comparisons"][0]["effect"]["n"] == 4


def test_replicates_before_any_confirm_run_are_no_look(api: Caller, ledger: Database) -> None:
    study_id = submit(api, {**SMALL, "replicates": 2})
    run(ledger, study_id, most=5)
    for number in (1, 2):
        view = done(post(api, study_id, "replicates", json={"n": 1}))
        assert [amendment["after_look"] for amendment in view["amendments"]] == [False] * number
    run(ledger, study_id)
    assert len(show(api, study_id)["cells"]) == 8


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"n": 0}, "n", "must be from 1"),
        ({"n": 4093}, "n", "4,096 replicates in all at most 4,095; got 4,093"),
        ({"n": 2**62}, "n", "at most 4,095"),
        ({"n": "4"}, "n", "must be a whole number, got '4'"),
        ({}, "n", "is required"),
        ({"m": 1, "n": 1}, "m", "is not known here; known: n"),
    ],
)
def test_impossible_replicates_are_refused(api: Caller, body: dict[str, Any], field: str, words: str) -> None:
    problem = problem_of(post(api, submit(api), "replicates", json=body))
    assert problem["status"] == 422
    (error,) = problem["errors"]
    assert error["field"] == field
    assert words in error["message"]


def test_replicates_that_would_take_too_many_trainings_are_refused(api: Caller) -> None:
    study_id = submit(api, {**SMALL, "search": {"trials": 10_000}})
    problem = problem_of(post(api, study_id, "replicates", json={"n": 40}))
    assert "the study would take 860,516 trainings; the most is 500,000" in problem["errors"][0]["message"]


def test_failed_study_is_retried_before_it_grows(api: Caller, ledger: Database) -> None:
    study_id = ended(api, ledger, "FAILED", FRAGILE)
    assert refusal(post(api, study_id, "replicates", json={"n": 1})).endswith(
        "retry its failed trials before adding to it"
    )


def test_clone_has_its_parents_file_and_the_lowest_unused_seed(api: Caller) -> None:
    parent = submit(api, {**SMALL, "seed": 3})
    submit(api, {**SMALL, "seed": 4})
    answer = post(api, parent, "clone")
    assert answer.status_code == 202
    clone = answer.json()
    assert answer.headers["Location"] == f"{STUDIES}/{clone['id']}"
    assert clone["spec"] == {**show(api, parent)["spec"], "seed": 5}
    assert show(api, clone["id"])["parent_id"] == parent
    assert clone["warnings"] == post(api, parent, "clone?validate_only=true").json()["warnings"]


def test_clone_takes_changes_key_by_key(api: Caller) -> None:
    parent = submit(api, {**SMALL, "max_running": 2})
    changes = {"name": "other", "search": {"trials": 5}, "max_running": None, "seed": 0}
    clone = post(api, parent, "clone", json=changes).json()["spec"]
    expected = show(api, parent)["spec"]
    assert clone == {**expected, "name": "other", "search": {**expected["search"], "trials": 5}, "max_running": None}


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"seach": {}}, "seach"), ({"search": {"trials": 0}}, "search.trials"), ({"workload": None}, "workload")],
)
def test_clone_that_cannot_run_is_refused_and_nothing_is_written(
    api: Caller, database_url: str, changes: dict[str, Any], field: str
) -> None:
    parent = submit(api)
    before = row_counts(database_url)
    problem = problem_of(post(api, parent, "clone", json=changes))
    assert problem["status"] == 422
    assert field in [error["field"] for error in problem["errors"]]
    assert refusal(post(api, parent, "clone", json=[1]), 422).startswith("the changes to a study file are an object")
    assert row_counts(database_url) == before


def test_file_submitted_again_is_the_same_study(api: Caller) -> None:
    study_id = submit(api, {**SMALL, "search": {"trials": 3, "options": {}}, "replicates": 3})
    done(post(api, study_id, "replicates", json={"n": 2}))
    answer = api.get(f"{STUDIES}/{study_id}/file")
    assert answer.headers["content-type"].startswith("application/yaml")
    headers = {"Content-Type": "application/yaml"}
    again = api.post(STUDIES, content=answer.content, headers=headers).json()
    assert again["spec_hash"] == show(api, study_id)["spec_hash"]
    assert api.get(f"{STUDIES}/{study_id}/file?format=json").json() == again["spec"]


def test_study_is_deleted_with_all_that_belongs_to_it_and_its_children_stay(
    api: Caller, ledger: Database, database_url: str
) -> None:
    study_id = ended(api, ledger, "FINISHED")
    child = post(api, study_id, "clone").json()["id"]
    path = f"{STUDIES}/{study_id}"
    wrong = problem_of(api.request("DELETE", f"{path}?confirm=smal"))
    assert wrong["errors"] == [{"field": "confirm", "message": "must be the study's name, 'small', got 'smal'"}]
    assert problem_of(api.request("DELETE", path))["status"] == 422
    assert api.request("DELETE", f"{path}?confirm=small").status_code == 204
    assert api.get(path).status_code == 404
    assert show(api, child)["parent_id"] is None
    counts = row_counts(database_url)
    assert (counts["studies"], counts["trials"], counts["attempts"], counts["measurements"]) == (1, 0, 0, 0)


def test_study_that_runs_is_not_deleted(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    plan(ledger, study_id)
    claim(ledger)
    path = f"{STUDIES}/{study_id}?confirm=small"
    assert refusal(api.request("DELETE", path)) == f"study {study_id} is RUNNING; cancel it before deleting it"
    done(post(api, study_id, "cancel"))
    assert refusal(api.request("DELETE", path)).endswith("1 trial of it not yet; try again in a moment")


def test_settings_are_changed_while_the_study_runs_and_its_hash_stays(api: Caller, ledger: Database) -> None:
    study_id, other = submit(api), submit(api)
    for each in (study_id, other):
        plan(ledger, each)
    before = show(api, study_id)["spec_hash"]
    changes = {"priority": 5, "weight": 2.5, "max_running": 1}
    view = done(api.request("PATCH", f"{STUDIES}/{study_id}", json=changes))
    assert {name: view["spec"][name] for name in changes} == changes
    assert view["spec_hash"] == before
    assert ("settings", changes) in events(ledger, study_id)
    claimed = [claim(ledger), claim(ledger)]
    assert [trial and trial.study_id for trial in claimed] == [study_id, other]
    assert (
        done(api.request("PATCH", f"{STUDIES}/{study_id}", json={"max_running": None}))["spec"]["max_running"] is None
    )
    third = claim(ledger)
    assert third is not None
    assert third.study_id == study_id


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"priority": 5000}, "priority", "must be in [-1000, 1000], got 5000"),
        ({"weight": 0}, "weight", "must be in (0, 1e6], got 0"),
        ({"max_running": 0}, "max_running", "must be in [1, 100000], got 0"),
        ({"weight": "2"}, "weight", "must be a number, got '2'"),
        ({"seed": 1}, "seed", "is not known here; known: priority, weight, max_running"),
    ],
)
def test_impossible_settings_are_refused(api: Caller, changes: dict[str, Any], field: str, words: str) -> None:
    study_id = submit(api)
    problem = problem_of(api.request("PATCH", f"{STUDIES}/{study_id}", json=changes))
    assert problem["status"] == 422
    assert [error["field"] for error in problem["errors"]] == [field]
    assert words in problem["errors"][0]["message"]
    assert "nothing to change" in refusal(api.request("PATCH", f"{STUDIES}/{study_id}", json={}), 422)


def test_requeued_trial_runs_on_elsewhere_and_its_first_slot_has_lost_it(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    plan(ledger, study_id)
    running = claim(ledger)
    assert running is not None
    assert done(post(api, study_id, "trials/0/requeue"))["state"] == "WAITING"
    assert (
        refusal(post(api, study_id, "trials/0/requeue")) == f"trial 0 of study {study_id} does not run, it is WAITING"
    )
    assert refusal(post(api, study_id, "trials/99/requeue"), 404) == f"study {study_id} has no trial 99"
    with ledger.transaction() as connection:
        assert renew_lease(connection, running.trial_id, 1, LEASE) is None
    again = claim(ledger)
    assert again is not None
    assert (again.number, again.attempt) == (0, 2)
    assert ("requeue", {"number": 0}) in events(ledger, study_id)


def test_workers_are_drained_and_taken_back(api: Caller, ledger: Database) -> None:
    register(ledger)
    study_id = submit(api)
    plan(ledger, study_id)
    path = f"/api/v1/workers/{WORKER}"
    assert done(api.post(f"{path}/drain"))["state"] == "draining"
    assert claim(ledger) is None
    assert done(api.post(f"{path}/undrain"))["state"] == "online"
    assert claim(ledger) is not None
    with ledger.transaction() as connection:
        sign_off(connection, WORKER)
    assert refusal(api.post(f"{path}/drain")) == f"worker {WORKER} is offline"
    missing = "00000000-0000-0000-0000-00000000000f"
    assert refusal(api.post(f"/api/v1/workers/{missing}/drain"), 404) == f"there is no worker {missing}"
    assert api.post("/api/v1/workers/7/drain").status_code == 422


def test_etag_names_the_revision_and_saves_the_answer_to_who_has_it(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    path = f"{STUDIES}/{study_id}"
    tag = api.get(path).headers["ETag"]
    assert tag == f'"{study_id}-1"'
    known = api.get(path, headers={"If-None-Match": tag})
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", tag)
    plan(ledger, study_id)
    changed = api.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["ETag"]) == (200, f'"{study_id}-2"')


@pytest.mark.parametrize(
    ("method", "act"),
    [
        ("POST", "/pause"),
        ("POST", "/pause?now=true"),
        ("POST", "/resume"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("POST", "/replicates"),
        ("POST", "/trials/0/requeue"),
        ("PATCH", ""),
        ("DELETE", "?confirm=small"),
    ],
)
def test_act_on_what_has_changed_meanwhile_is_refused_with_the_revision(
    api: Caller, ledger: Database, method: str, act: str
) -> None:
    study_id = submit(api)
    plan(ledger, study_id)
    claim(ledger)
    body = {"n": 1} if act == "/replicates" else {"priority": 1} if method == "PATCH" else None
    old = {"If-Match": f'"{study_id}-1"'}
    response = api.request(method, f"{STUDIES}/{study_id}{act}", json=body, headers=old)
    assert refusal(response, 412) == f"study {study_id} is at revision 3, not 1; look again before acting"
    assert show(api, study_id)["revision"] == 3


def test_act_on_what_was_seen_is_done_and_says_the_new_tag(api: Caller) -> None:
    study_id = submit(api)
    for act in ("pause", "resume", "cancel"):
        tag = api.get(f"{STUDIES}/{study_id}").headers["ETag"]
        answer = post(api, study_id, act, headers={"If-Match": tag})
        assert answer.status_code == 200
        assert answer.headers["ETag"] == api.get(f"{STUDIES}/{study_id}").headers["ETag"] != tag
