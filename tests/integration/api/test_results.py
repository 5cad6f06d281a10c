"""Reports and exports: computed from the ledger, kept while they are current, recomputed by the oracle."""

import csv
import io
import math

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service import reports
from service.control import add_replicates
from service.domain.report import REPORT_VERSION, Report, build_report
from service.domain.report_input import ReportInput
from service.reports import build, report_of, store_report
from service.store.database import Database
from service.store.reports import current_report, freeze, save_report
from service.studies import get
from tests.asgi import Caller
from tests.integration.api.support import STUDIES, run, submit
from tests.reference.report_oracle import recompute

FIELDS = [
    "number", "arm", "replicate", "phase", "cell_number", "config", "seed_index", "seed", "state", "outcome", "params",
    "value", "test_value", "metrics", "duration_s", "cpu_s",
]  # fmt: skip


def test_report_of_a_new_study_is_there_and_says_nothing_yet(api: Caller) -> None:
    report = api.get(f"{STUDIES}/{submit(api)}/report").json()
    assert report["study"] == "small"
    assert report["comparisons"][0]["verdict"]["kind"] == "not_comparable"


def test_report_agrees_with_the_oracle_on_the_export(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    (ours,) = api.get(f"{STUDIES}/{study_id}/report").json()["comparisons"]
    (theirs,) = recompute(api.get(f"{STUDIES}/{study_id}/export").json())
    assert ours["verdict"]["kind"] == theirs["kind"]
    assert ours["effect"]["mean"] == pytest.approx(theirs["mean"], rel=1e-12)
    interval = ours["effect"]["interval_95"]
    assert (interval["lower"], interval["upper"]) == pytest.approx(theirs["interval_95"], rel=1e-9)
    assert ours["holm_p"] == pytest.approx(theirs["holm_p"], rel=1e-9)


def test_report_has_mechanism_and_cost(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    report = api.get(f"{STUDIES}/{study_id}/report").json()
    assert [line["norm_growth"] for line in report["mechanism"]["arms"]] == [2.0, 2.0]
    assert 0 < report["budget"]["cost_per_replicate_s"] <= 18 * 0.5
    assert report["is_finished"] is True


def test_kept_report_is_served_until_the_study_changes(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id, most=4)
    with ledger.transaction() as connection:
        assert current_report(connection, study_id, REPORT_VERSION) is None
    store_report(ledger, study_id)
    with ledger.transaction() as connection:
        kept = current_report(connection, study_id, REPORT_VERSION)
        assert kept is not None
        save_report(connection, study_id, 10**6, {"of": "the future"})
        assert current_report(connection, study_id, REPORT_VERSION) is None, (
            "a report of another revision is not current"
        )
        assert not save_report(connection, study_id, 1, {"of": "the past"})
        connection.rollback()
    assert report_of(ledger, study_id) == kept
    run(ledger, study_id)
    with ledger.transaction() as connection:
        assert current_report(connection, study_id, REPORT_VERSION) is None
        assert report_of(ledger, study_id) == build(connection, study_id) != kept


def test_a_report_that_an_earlier_version_kept_is_computed_anew_once(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    store_report(ledger, study_id)
    with ledger.transaction() as connection:
        connection.execute(text("UPDATE reports SET report = report - 'version' || '{\"notes\": [\"old\"]}'"))
        assert current_report(connection, study_id, REPORT_VERSION) is None
    assert report_of(ledger, study_id)["notes"] != ["old"]
    with ledger.transaction() as connection:
        kept = current_report(connection, study_id, REPORT_VERSION)
        assert current_report(connection, study_id, REPORT_VERSION + 1) is None
    assert kept == report_of(ledger, study_id)


def test_no_connection_is_held_while_a_report_is_computed(
    api: Caller, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real computation is watched, not replaced."""
    study_id = submit(api)
    run(ledger, study_id, most=8)
    held = []

    def watched(source: ReportInput) -> Report:
        held.append(ledger._engine.pool.checkedout())
        return build_report(source)

    monkeypatch.setattr(reports, "build_report", watched)
    report_of(ledger, study_id)
    store_report(ledger, study_id)
    assert held == [0, 0]


def test_what_a_report_reads_is_one_state_of_the_ledger(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id, most=4)
    with ledger.transaction() as reading:
        freeze(reading)
        before = reports.read(reading, get(reading, study_id))
        run(ledger, study_id)
        after = reports.read(reading, get(reading, study_id))
        assert after.trials == before.trials
        assert not after.is_finished
        with pytest.raises(DBAPIError, match="read-only transaction"):
            save_report(reading, study_id, 0, {})
        reading.rollback()
    assert report_of(ledger, study_id)["is_finished"]


def test_a_study_that_is_deleted_meanwhile_keeps_no_report(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    with ledger.transaction() as connection:
        connection.execute(text("DELETE FROM studies"))
        assert not save_report(connection, study_id, 1, {"of": "nothing"})


def test_a_replicate_that_was_added_is_marked(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    with ledger.transaction() as connection:
        add_replicates(connection, study_id, 1)
    run(ledger, study_id)
    report = report_of(ledger, study_id)
    (amendment,) = report["registration"]["amendments"]
    assert (amendment["first_replicate"], amendment["after_look"]) == (3, True)
    assert report["was_extended_after_look"]
    (comparison,) = report["comparisons"]
    assert comparison["effect"]["n"] == 4
    assert "valid at every look" in comparison["verdict"]["sentence"]
    assert "replicate 3 (added later)" in api.get(f"{STUDIES}/{study_id}/report?format=html").text


def test_served_report_is_the_kept_one_byte_for_byte(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    computed = api.get(f"{STUDIES}/{study_id}/report").json()
    store_report(ledger, study_id)
    assert api.get(f"{STUDIES}/{study_id}/report").json() == computed


def test_json_export_has_the_agreed_shape(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    response = api.get(f"{STUDIES}/{study_id}/export")
    assert response.headers["content-disposition"] == f'attachment; filename="study-{study_id}.json"'
    document = response.json()
    assert list(document) == ["schema", "study", "workload", "trials"]
    assert document["schema"] == 1
    keys = ["id", "name", "spec", "spec_hash", "state", "code_revision", "created_at", "finished_at"]
    assert list(document["study"]) == keys
    assert document["workload"] == {"name": "digits-mlp", "endpoint": "NLL", "chance_level": math.log(10)}
    assert len(document["trials"]) == 54
    assert all(list(trial) == FIELDS for trial in document["trials"])
    shown = api.get(f"{STUDIES}/{study_id}").json()
    assert document["study"]["spec"] == shown["spec"]


def test_csv_export_has_a_column_for_each_parameter_and_metric(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    response = api.get(f"{STUDIES}/{study_id}/export?format=csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert len(rows) == 54
    assert {"params.lr", "params.delta", "metrics.test_accuracy", "metrics.validation_accuracy"} <= set(rows[0])
    trials = api.get(f"{STUDIES}/{study_id}/export").json()["trials"]
    for row, trial in zip(rows, trials, strict=True):
        assert float(row["params.lr"]) == trial["params"]["lr"], "not rounded"
        assert float(row["value"]) == trial["value"]
        assert row["params.delta"] == ("" if trial["arm"] == "adamw" else "0.1")


def test_export_of_a_study_without_trials(api: Caller) -> None:
    study_id = submit(api)
    assert api.get(f"{STUDIES}/{study_id}/export").json()["trials"] == []
    assert api.get(f"{STUDIES}/{study_id}/export?format=csv").text.startswith("number,arm,")
