"""A person who knows Optuna: brings a study of theirs, and looks at a study of Tangent's with Optuna's dashboard."""

import json
import re
from pathlib import Path

import httpx
import optuna
import pytest

from tests.e2e.support import SMALL, in_foreground, left_running, refusal, succeed, tangent, write_study

pytestmark = pytest.mark.xdist_group("optuna")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal file with a maximised score."""
    path = tmp_path_factory.mktemp("optuna") / "old.journal"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.create_study(
        study_name="accuracy", direction="maximize", storage=optuna.storages.JournalStorage(backend)
    )
    study.optimize(lambda trial: 1 - trial.suggest_float("lr", 1e-3, 1e-1, log=True), n_trials=5)
    return path


def test_an_optuna_study_is_brought_along_listed_and_reported(instance: Path, old: Path) -> None:
    said = refusal(tangent(instance, "import-optuna", old, "accuracy"))
    assert said.startswith("'accuracy' is maximised, and an endpoint is positive and lower is better; say which it is")
    done = succeed(tangent(instance, "import-optuna", old, "accuracy", "--endpoint", "1 - value", "--name", "brought"))
    found = re.match(r"study (\d+): 5 trials, imported, not preregistered\n", done)
    assert found
    assert "the seeds of the runs are unknown" in done
    mark = "brought (imported, not preregistered)"
    assert mark in succeed(tangent(instance, "list"))
    assert mark in succeed(tangent(instance, "report", found[1]))
    exported = json.loads(succeed(tangent(instance, "export", found[1])))
    assert [trial["state"] for trial in exported["trials"]] == ["COMPLETE"] * 5


def test_the_real_dashboard_shows_a_study_until_ctrl_c(instance: Path, tmp_path: Path) -> None:
    report = json.loads(succeed(tangent(instance, "submit", write_study(tmp_path, SMALL), "--wait", "--json")))
    assert report["study"] == "small"
    study = json.loads(succeed(tangent(instance, "list", "--json")))[0]["id"]
    with in_foreground(instance, "optuna-dashboard", str(study), "--port", "0") as command:
        command.read_until("stop with Ctrl-C")
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", command.screen)
        assert found
        with httpx.Client(follow_redirects=True) as browser:
            assert browser.get(found[0]).status_code == 200
            base = found[0].partition("/?")[0]
            names = {entry["study_name"] for entry in browser.get(f"{base}/api/studies").json()["study_summaries"]}
            assert f"study-{study}/adamp/r2" in names
            first = browser.get(f"{base}/api/studies").json()["study_summaries"][0]["study_id"]
            assert browser.delete(f"{base}/api/studies/{first}").status_code == 403
        command.press_ctrl_c()
        assert command.wait() == 130
    assert not [line for line in left_running(instance) if "optuna_dashboard" in line]


def test_without_a_ledger_the_way_to_one_is_named(tmp_path: Path, old: Path) -> None:
    for words in (("optuna-dashboard", "1"), ("import-optuna", str(old), "accuracy", "--endpoint", "1 - value")):
        said = refusal(tangent(tmp_path / "none", *words))
        assert said.startswith(f"no ledger runs in {tmp_path / 'none'}; start one with `tangent up`")
