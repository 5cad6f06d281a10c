"""Listing, showing and cancelling studies; trials; catalog and workers."""

import pytest

from service.domain.trial import Outcome, StudyId
from service.store.database import Database
from service.store.leases import Claim, Finish
from tests.asgi import Caller
from tests.integration.api.support import SMALL, STUDIES, claim, finish, invented, plan, register, run, submit
from tests.unit.api.support import problem_of


def test_list_is_paged_newest_first_without_gap_or_repeat(api: Caller) -> None:
    ids = [submit(api, {**SMALL, "name": f"study {i}"}) for i in range(7)]
    seen, token, pages = [], None, 0
    while pages == 0 or token:
        query = f"&page_token={token}" if token else ""
        page = api.get(f"{STUDIES}?limit=3{query}").json()
        seen += [entry["id"] for entry in page["studies"]]
        token, pages = page["next_page_token"], pages + 1
        if pages == 1:
            submit(api, {**SMALL, "name": "arrives while somebody reads"})
    assert (seen, pages) == (ids[::-1], 3)


def test_last_full_page_has_no_further_token(api: Caller) -> None:
    for _ in range(2):
        submit(api)
    assert api.get(f"{STUDIES}?limit=2").json()["next_page_token"] is None


def test_list_is_filtered_by_state(api: Caller) -> None:
    first, second = submit(api), submit(api)
    api.post(f"{STUDIES}/{first}/cancel")
    assert [entry["id"] for entry in api.get(f"{STUDIES}?state=RUNNING").json()["studies"]] == [second]
    assert [entry["id"] for entry in api.get(f"{STUDIES}?state=CANCELLED").json()["studies"]] == [first]


def test_new_study_shows_every_arm_and_phase_as_planned(api: Caller) -> None:
    view = api.get(f"{STUDIES}/{submit(api)}").json()
    planned = {(entry["arm"], entry["phase"]): entry["n_planned"] for entry in view["progress"]}
    per_phase = {"search": 9, "select": 12, "confirm": 6}
    assert planned == {(arm, phase): n for arm in ("adamw", "adamp") for phase, n in per_phase.items()}
    assert (view["n_planned"], view["n_counted"], view["eta_s"]) == (54, 0, None)
    assert len(view["cells"]) == 6
    assert {cell["state"] for cell in view["cells"]} == {"search"}
    assert view["spec"]["name"] == "small"


def test_eta_before_the_first_result_is_the_catalogs_guess(api: Caller, ledger: Database) -> None:
    register(ledger, n_slots=2)
    assert api.get(f"{STUDIES}/{submit(api)}").json()["eta_s"] == pytest.approx(54 * 0.04 / 2)


def test_progress_counts_what_ran(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id, most=10)
    view = api.get(f"{STUDIES}/{study_id}").json()
    assert view["n_counted"] == sum(entry["n_counted"] for entry in view["progress"]) == 10
    assert view["counts"]["n_complete"] == 10
    assert view["eta_s"] > 0
    assert view["started_at"]
    assert view["code_revision"] == "r1"
    measured = [entry for entry in view["progress"] if entry["n_counted"]]
    assert all(entry["best"] > 0 and entry["cpu_s"] > 0 for entry in measured)


def test_finished_study_shows_it(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    assert run(ledger, study_id) == 54
    view = api.get(f"{STUDIES}/{study_id}").json()
    assert (view["state"], view["n_counted"], view["eta_s"]) == ("FINISHED", 54, None)
    assert {cell["state"] for cell in view["cells"]} == {"finished"}
    assert all(cell["winner"] is not None for cell in view["cells"])


def test_diverged_and_failed_trials_are_told_apart(api: Caller, ledger: Database) -> None:
    def result(claimed: Claim) -> Finish:
        if claimed.number == 0:
            return Finish(Outcome.DIVERGED, reason="loss is not finite", duration_s=0.1)
        if claimed.number == 1:
            return Finish(Outcome.WORKLOAD_ERROR, reason="boom", traceback="Traceback: boom")
        return invented(claimed)

    study_id = submit(api)
    run(ledger, study_id, result=result, most=4)
    progress = api.get(f"{STUDIES}/{study_id}").json()["progress"]
    totals = {key: sum(entry[key] for entry in progress) for key in ("n_counted", "n_failed", "n_diverged")}
    assert totals == {"n_counted": 3, "n_failed": 1, "n_diverged": 1}
    trial = api.get(f"{STUDIES}/{study_id}/trials/1").json()
    assert (trial["state"], trial["outcome"], trial["reason"]) == ("FAIL", "workload_error", "boom")
    assert trial["attempts"][0]["traceback"] == "Traceback: boom"


def test_cancel_ends_waiting_trials_and_asks_running_ones(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    plan(ledger, study_id)
    running = claim(ledger)
    assert running is not None
    view = api.post(f"{STUDIES}/{study_id}/cancel").json()
    assert (view["state"], view["reason"]) == ("CANCELLED", "cancelled by a user")
    assert (view["counts"]["n_waiting"], view["counts"]["n_running"], view["counts"]["n_fail"]) == (0, 1, 17)
    finish(ledger, running, Finish(Outcome.CANCELLED, reason="cancelled"))
    assert api.get(f"{STUDIES}/{study_id}").json()["counts"]["n_running"] == 0


def test_cancel_twice_is_a_conflict(api: Caller) -> None:
    study_id = submit(api)
    assert api.post(f"{STUDIES}/{study_id}/cancel").status_code == 200
    problem = problem_of(api.post(f"{STUDIES}/{study_id}/cancel"))
    assert problem["status"] == 409
    assert problem["detail"] == f"study {study_id} has ended already: it is CANCELLED"


def test_finished_study_cannot_be_cancelled(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    assert "it is FINISHED" in problem_of(api.post(f"{STUDIES}/{study_id}/cancel"))["detail"]


@pytest.mark.parametrize("path", ["", "/trials", "/trials/0", "/report", "/export", "/export?format=csv", "/events"])
@pytest.mark.parametrize("study_id", [1, 2**63 - 1])
def test_study_that_does_not_exist_is_404(api: Caller, path: str, study_id: int) -> None:
    problem = problem_of(api.get(f"{STUDIES}/{study_id}{path}"))
    assert (problem["status"], problem["detail"]) == (404, f"there is no study {study_id}")


def test_cancelling_a_study_that_does_not_exist_is_404(api: Caller) -> None:
    assert problem_of(api.post(f"{STUDIES}/5/cancel"))["status"] == 404


def test_trials_are_paged_by_number_and_filtered(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    numbers, token = [], ""
    while token is not None:
        page = api.get(f"{STUDIES}/{study_id}/trials?limit=10" + (f"&page_token={token}" if token else "")).json()
        numbers += [trial["number"] for trial in page["trials"]]
        token = page["next_page_token"]
    assert numbers == list(range(54))
    filtered = api.get(f"{STUDIES}/{study_id}/trials?arm=adamp&phase=confirm&state=COMPLETE").json()["trials"]
    assert len(filtered) == 6
    assert {(t["arm"], t["phase"], t["state"]) for t in filtered} == {("adamp", "confirm", "COMPLETE")}
    assert all(t["test_value"] > 0 for t in filtered)
    assert api.get(f"{STUDIES}/{study_id}/trials?state=FAIL").json() == {"trials": [], "next_page_token": None}


def test_unknown_arm_in_a_filter_lists_the_known_ones(api: Caller) -> None:
    problem = problem_of(api.get(f"{STUDIES}/{submit(api)}/trials?arm=sgd"))
    assert (problem["status"], problem["detail"]) == (404, "study 1 has no arm 'sgd'; it has adamw, adamp")


def test_trial_shows_attempts_and_measurements(api: Caller, ledger: Database) -> None:
    register(ledger)
    study_id = submit(api)
    run(ledger, study_id, most=1)
    trial = api.get(f"{STUDIES}/{study_id}/trials/0").json()
    assert [entry["epoch"] for entry in trial["measurements"]] == [0, 1, 2]
    assert trial["measurements"][2]["layers"]["fc1"]["weight_norm"] == 2.0
    (attempt,) = trial["attempts"]
    assert (attempt["attempt"], attempt["hostname"], attempt["outcome"]) == (1, "here", "finished")
    assert problem_of(api.get(f"{STUDIES}/{study_id}/trials/999"))["detail"] == f"study {study_id} has no trial 999"


def test_value_that_is_no_number_is_null(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    result = Finish(Outcome.DIVERGED, value=float("inf"), test_value=float("nan"), reason="diverged")
    run(ledger, study_id, result=lambda _: result, most=1)
    trial = api.get(f"{STUDIES}/{study_id}/trials/0").json()
    assert (trial["value"], trial["test_value"]) == (None, None)
    view = api.get(f"{STUDIES}/{study_id}")
    assert view.status_code == 200
    assert [entry["best"] for entry in view.json()["progress"]] == [None] * 6


def test_catalog_says_what_is_there_and_who_can_run_it(api: Caller, ledger: Database) -> None:
    before = api.get("/api/v1/catalog").json()
    assert {entry["name"] for entry in before["optimizers"]} == {"SGD", "SGDW", "SGDP", "Adam", "AdamW", "AdamP"}
    assert not any(entry["is_available"] for entry in before["optimizers"] + before["workloads"])
    assert [sampler["name"] for sampler in before["samplers"]] == ["cmaes", "gp", "grid", "qmc", "random", "tpe"]
    register(ledger)
    after = api.get("/api/v1/catalog").json()
    assert all(entry["is_available"] for entry in after["optimizers"] + after["workloads"])


def test_workers_show_what_they_run(api: Caller, ledger: Database) -> None:
    assert api.get("/api/v1/workers").json() == {"workers": []}
    register(ledger)
    study_id = submit(api)
    plan(ledger, StudyId(study_id))
    claim(ledger)
    (worker,) = api.get("/api/v1/workers").json()["workers"]
    assert (worker["state"], worker["queues"], worker["n_slots"]) == ("online", ["cpu"], 2)
    assert worker["trials"] == [{"study": study_id, "trial": 0, "slot": 0}]
    assert worker["heartbeat_age_s"] >= 0


def test_ready_with_a_migrated_ledger(api: Caller) -> None:
    response = api.get("/readyz")
    assert (response.status_code, response.json()["postgres"]) == (200, "ok")
