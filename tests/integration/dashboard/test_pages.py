"""Pages on a real ledger, without a browser: what they say, in which state."""

import json
import re
from dataclasses import replace

import pytest
from sqlalchemy import text

from service.domain.checks import CheckVerdict
from service.reports import store_report
from service.store.studies import end_study
from tests.browser.filling import fill
from tests.integration.api.conftest import api  # noqa: F401
from tests.integration.api.support import register, run, submit
from tests.unit.domain.check_cases import check, full_check, layered

PLAIN = re.compile(r"<[^>]+>")


def words(html):
    return re.sub(r"\s+", " ", PLAIN.sub(" ", html))


@pytest.fixture
def see(api):  # noqa: F811
    """The words of a page; fails where it is not there."""

    def get(path, status=200):
        response = api.get(path, headers={"Accept": "text/html"})
        assert response.status_code == status, response.text
        assert "content-security-policy" in response.headers
        return words(response.text)

    return get


def test_an_empty_ledger_says_what_belongs_here_and_what_to_do(see):
    assert "No studies yet" in see("/studies")
    assert "tangent init" in see("/studies")
    queue = see("/queue")
    assert "No worker is online" in queue
    assert "Nothing waits" in queue


def test_the_list_shows_progress_best_values_and_verdicts(see, ledger):
    with ledger.transaction() as connection:
        study_id = fill(connection, 200)
    assert "none yet" in see("/studies")
    store_report(ledger, study_id)
    listed = see("/studies")
    assert "800 of 800" in listed
    assert "sgdp against sgdw:" in listed
    assert see("/studies?q=no-such-name").count("No study matches") == 1
    assert "filled" in see("/studies?q=ILL&state=FINISHED")
    assert "No study matches" in see("/studies?q=%25")


def test_older_studies_are_a_link_away(api, see):  # noqa: F811
    for _ in range(26):
        submit(api)
    html = api.get("/studies").text
    following = re.search(r'href="(/studies\?before=\d+)" rel="next"', html).group(1)
    assert see(following).count("small") >= 1
    assert 'rel="next"' not in api.get(following).text


def test_an_unequal_budget_is_never_a_verdict(api, see, ledger):  # noqa: F811
    study_id = submit(api)
    register(ledger)
    run(ledger, study_id, most=5)
    assert "Not comparable yet: adamw" in see(f"/studies/{study_id}")


def test_a_cancelled_study_promises_nothing_more(api, see, ledger):  # noqa: F811
    study_id = submit(api)
    register(ledger)
    run(ledger, study_id, most=5)
    assert api.post(f"/api/v1/studies/{study_id}/cancel").status_code == 200
    overview = see(f"/studies/{study_id}")
    assert "No verdict: the study was cancelled before its arms could be compared." in overview
    assert "No winner was chosen." in overview
    assert "there are no budget curves" in see(f"/studies/{study_id}/parts/budget")
    listed = see("/studies")
    assert "failed or cancelled" in listed
    assert "none yet" not in listed


def test_a_finished_study_says_which_how_much_how_sure_and_what_to_paste(api, see, ledger):  # noqa: F811
    study_id = submit(api)
    register(ledger)
    run(ledger, study_id)
    with ledger.transaction() as connection:
        end_study(connection, study_id, "FINISHED")
    store_report(ledger, study_id)
    page = see(f"/studies/{study_id}")
    for expected in (
        "adamp against adamw",
        "95 % interval",
        "R = 3",
        "S = 2",
        "T = 3",
        "from adamp import AdamP",
        "Delete",
    ):
        assert expected in page, expected


def test_failures_are_counted_by_class_with_a_reason(api, see, ledger):  # noqa: F811
    study_id = submit(api)
    register(ledger)
    run(ledger, study_id, most=2)
    with ledger.transaction() as connection:
        connection.execute(text("UPDATE trials SET reason = 'the disk is full' WHERE state = 'COMPLETE'"))
        end_study(connection, study_id, "CANCELLED", "by a user")
    page = see(f"/studies/{study_id}")
    assert "cancelled" in page


def test_waiting_trials_without_a_worker_are_a_banner_with_a_remedy(api, see, ledger):  # noqa: F811
    study_id = submit(api)
    register(ledger)
    run(ledger, study_id, most=1)
    assert "which no worker serves" not in see("/queue")
    with ledger.transaction() as connection:
        connection.execute(text("UPDATE workers SET state = 'offline'"))
    assert "which no worker serves; start a worker there" in see("/queue")


def test_a_study_that_is_not_there_is_a_page_that_says_so(see):
    assert "There is no such page" in see("/studies/77", 404)


def test_checks_show_their_history_and_what_a_failure_explains(api, see):  # noqa: F811
    assert "tangent check --baseline main" in see("/checks")
    for seed in range(3):
        passed = check(layered(CheckVerdict.PASS), seed=seed)
        assert api.post("/api/v1/checks", json=json.loads(json.dumps(passed.to_dict()))).status_code == 201
    failed = json.loads(json.dumps(full_check().to_dict()))
    check_id = api.post("/api/v1/checks", json=failed).json()["id"]
    history = see("/checks")
    assert f"fail, check {check_id}" in history
    again = json.loads(json.dumps(replace(full_check(), seed=4).to_dict()))
    assert api.post("/api/v1/checks", json=again).status_code == 201
    chart = re.search(r'data-chart="(/checks/charts/trend[^"]+)"', api.get("/checks").text).group(1)
    trend = api.get(chart.replace("&amp;", "&")).json()
    assert len(trend["series"][0]["points"]) == len(trend["table"]["rows"]) >= 2
    assert api.get("/checks/charts/trend?check=none&finding=none").status_code == 404
    shown = see(f"/checks/{check_id}")
    findings = [finding for layer in failed["layers"] for finding in layer["findings"]]
    assert findings
    for finding in findings:
        assert finding["name"] in shown
    assert "There is no such page" in see("/checks/999", 404)


def test_studies_beside_one_another_are_pooled_where_they_can_be(api, see, ledger):  # noqa: F811
    assert "Choose studies" in see("/compare")
    with ledger.transaction() as connection:
        ids = [fill(connection, 200, name=name, seed=seed) for seed, name in enumerate(("one", "two"))]
    assert "has no report yet" in see(f"/compare?ids={ids[0]}")
    for study_id in ids:
        store_report(ledger, study_id)
    page = see(f"/compare?ids={ids[0]},{ids[1]}")
    assert page.count("sgdp against sgdw, test NLL") == 2
    assert "Not pooled" in page or "sgdp against sgdw over 2 studies of 1 workload" in page
    assert "two: sgdw against one: sgdw" in page
    assert see(f"/compare?id={ids[0]}&id={ids[1]}") == page
    assert "There is no such page" in see("/compare?ids=999", 404)


def test_the_form_for_a_new_study_offers_the_catalog(api, see, ledger):  # noqa: F811
    form = see("/studies/new")
    for word in ("digits-cnn", "AdamP", "cmaes", "hyperband", "Submit the study"):
        assert word in form
    with ledger.transaction() as connection:
        study_id = fill(connection, 200)
    assert "New study from filled" in see(f"/studies/new?from={study_id}")
    assert "There is no such page" in see("/studies/new?from=99", 404)
