"""The trials table on a real ledger: filtered, sorted, paged without gaps or repeats; and one trial in full."""

import csv
import io
import re

import pytest

from service.dashboard.routes.trial import differences
from service.domain.trial_filter import parse_filter
from service.store.dashboard_trials import SORTS, count_trials, page_of_trials
from service.store.trials import records
from tests.browser.filling import fill
from tests.integration.api.conftest import api  # noqa: F401
from tests.integration.api.support import register, run, submit

PARAMS = ("lr", "weight_decay", "delta", "wd_ratio")


@pytest.fixture
def filled(ledger):
    with ledger.transaction() as connection:
        return fill(connection, 200)


def all_pages(connection, study_id, conditions, sort, is_descending):
    found, after = [], None
    while True:
        page = page_of_trials(
            connection, study_id, conditions, sort=sort, is_descending=is_descending, after=after, limit=37
        )
        found += page
        if len(page) < 37:
            return found
        last = page[-1]
        after = (None if last[sort] is None else float(last[sort]), last["number"])


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("sort", SORTS)
def test_pages_follow_one_another_without_gap_or_repeat(ledger, filled, sort, is_descending):
    with ledger.transaction() as connection:
        found = all_pages(connection, filled, (), sort, is_descending)
        everything = records(connection, filled)
    assert len(found) == len({trial["number"] for trial in found}) == len(everything) == 800
    values = [trial[sort] for trial in found if trial[sort] is not None]
    assert values == sorted(values, reverse=is_descending)
    assert all(trial[sort] is None for trial in found[len(values) :])


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("arm=adamp", lambda t: t.arm == "adamp"),
        ("arm!=adamp phase=confirm", lambda t: t.arm != "adamp" and t.phase == "confirm"),
        ("delta<0.1", lambda t: t.params.get("delta", 9) < 0.1),
        ("state=pruned lr>=0.001", lambda t: t.state == "PRUNED" and t.params["lr"] >= 0.001),
        ("outcome=diverged", lambda t: t.outcome == "diverged"),
        ("value<0.1 replicate=2", lambda t: t.value is not None and t.value < 0.1 and t.replicate == 2),
    ],
)
def test_a_filter_lets_through_what_it_says(ledger, filled, text, holds):
    conditions = parse_filter(text, PARAMS)
    with ledger.transaction() as connection:
        found = {trial["number"] for trial in page_of_trials(connection, filled, conditions, limit=1000)}
        expected = {trial.number for trial in records(connection, filled) if holds(trial)}
        assert count_trials(connection, filled, conditions) == len(expected)
    assert found == expected
    assert expected


def test_the_table_says_a_mistake_and_links_keep_the_view(api, filled):  # noqa: F811
    base = f"/studies/{filled}/parts/trials"
    wrong = api.get(base, params={"filter": "armm=x"}).text
    assert "there is no field &#39;armm&#39;" in wrong
    html = api.get(base, params={"filter": "arm=adamp", "sort": "-value", "cols": ["value", "seed"]}).text
    following = re.search(r'href="([^"]+)" rel="next"', html).group(1).replace("&amp;", "&")
    assert following.startswith(f"/studies/{filled}?filter=arm%3Dadamp&sort=-value&cols=value&cols=seed&after=")
    assert following.endswith("#trials")
    assert 'aria-sort="descending"' in html
    assert "<caption" in html


def test_the_csv_is_the_filtered_set(api, filled):  # noqa: F811
    response = api.get(f"/studies/{filled}/trials.csv", params={"filter": "arm=sgdp phase=confirm", "sort": "value"})
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert len(rows) == 25
    assert {row["arm"] for row in rows} == {"sgdp"}
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values)
    assert api.get(f"/studies/{filled}/trials.csv", params={"filter": "x"}).status_code == 422


def test_a_trial_shows_its_result_its_distance_from_the_best_and_how_to_reproduce_it(api, ledger):  # noqa: F811
    study_id = submit(api)
    register(ledger)
    run(ledger, study_id, most=4)
    html = api.get(f"/studies/{study_id}/trials/1").text
    for expected in ("Validation value", f"tangent reproduce {study_id} 1", "Attempts", "weight_decay", "arm's best"):
        assert expected in html, expected
    assert api.get(f"/studies/{study_id}/trials/99").status_code == 404
    curve = api.get(f"/studies/{study_id}/trials/1/charts/curve").json()
    assert len(curve["series"][0]["points"]) == len(curve["table"]["rows"]) > 1
    assert api.get(f"/studies/{study_id}/trials/1/charts/curve?metric=none").json()["series"] == []


def test_parameters_are_told_by_their_distance_from_the_best():
    best = {"lr": 0.1, "nesterov": True, "momentum": 0.9, "shift": -1.0}
    mine = {"lr": 0.05, "nesterov": True, "momentum": 0.9, "shift": 0.5, "delta": 0.1}
    assert differences(mine, best) == [
        ("delta", 0.1, None, ""),
        ("lr", 0.05, 0.1, "× 0.5"),
        ("momentum", 0.9, 0.9, "same"),
        ("nesterov", True, True, "same"),
        ("shift", 0.5, -1.0, "+1.5"),
    ]


def test_a_parameter_can_be_a_column_and_an_example_is_a_link(api, filled):  # noqa: F811
    html = api.get(f"/studies/{filled}/parts/trials", params={"cols": ["value", "p.delta"], "filter": "arm=sgdp"}).text
    assert '<th scope="col" class="number">delta</th>' in html
    assert f'href="/studies/{filled}?filter=outcome%3Ddiverged' in html
