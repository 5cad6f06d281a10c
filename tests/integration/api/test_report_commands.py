"""`tangent report, plan, suite, compare` against a real API process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.domain.trial import StudyId
from service.store.database import Database
from tests.asgi import Caller
from tests.integration.api.conftest import StartApi
from tests.integration.api.support import REPOSITORY, SMALL, run, submit
from tests.unit.api.support import TOKEN

OTHER = {**SMALL, "name": "other", "workload": {"name": "digits-cnn", "options": {"epochs": 3}}, "seed": 1}


class Tangent:
    """The command, told where the service is by variables alone."""

    def __init__(self, address: str, folder: Path, studies: list[StudyId]) -> None:
        self.folder, self.studies = folder, studies
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TANGENT_")}
        self._environment = {
            **kept,
            "TANGENT_API_URL": address,
            "TANGENT_API_TOKEN": TOKEN,
            "PYTHONPATH": str(REPOSITORY),
        }

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        program = "from service.cli import main; main()"
        argv = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.run(
            argv, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture
def tangent(api: Caller, ledger: Database, start_api: StartApi, tmp_path: Path) -> Tangent:
    studies = [submit(api), submit(api, OTHER)]
    for study_id in studies:
        run(ledger, study_id)
    return Tangent(start_api().address, tmp_path, studies)


def test_reports_go_to_the_screen_and_to_files_by_their_ending(tangent: Tangent) -> None:
    first = tangent.studies[0]
    assert "adamp" in tangent("report", first).stdout
    assert json.loads(tangent("report", first, "--json").stdout)["study"] == "small"
    for name in ("r.md", "r.html", "r.csv", "r.svg", "r.json"):
        done = tangent("report", first, "-o", name)
        assert (done.returncode, done.stdout.strip()) == (0, f"wrote {name}"), done.stderr
        assert (tangent.folder / name).stat().st_size > 500
    refused = tangent("report", first, "-o", "r.pdf")
    assert (refused.returncode, refused.stderr.startswith("tangent: a report has the forms")) == (1, True)
    assert not (tangent.folder / "r.pdf").exists()


def test_suites_and_comparisons(tangent: Tangent) -> None:
    first, second = tangent.studies
    pooled = tangent("suite", first, second)
    assert "adamp against adamw over 2 workloads" in pooled.stdout, pooled.stderr
    assert tangent("suite", first, second, "-o", "suite.svg").returncode == 0
    assert "a suite takes 2 studies" in tangent("suite", first).stderr
    found = tangent("compare", f"{first}:adamw", f"{first}:adamp")
    assert "Welch, R = 3 and 3" in found.stdout, found.stderr
    assert "Both arms belong to one study" in found.stdout
    assert "workload digits-mlp against digits-cnn" in tangent("compare", first, second).stderr
    assert "stands on both sides; name two arms" in tangent("compare", first, first).stderr
    assert "such as 3 or 3:adamp; got 'x'" in tangent("compare", "x", first).stderr


def test_plans_before_a_study_and_for_a_budget(tangent: Tangent) -> None:
    (tangent.folder / "study.json").write_text(json.dumps(SMALL))
    printed = tangent("plan", "study.json").stdout
    assert "= 54 trainings" in printed
    assert "time from 54 earlier trainings" in printed
    plan = tangent("plan", "study.json", "--hours", "0.5")
    assert "Best plan: R = " in plan.stdout, plan.stderr
    assert "time from 54 earlier trainings" in plan.stdout
    assert json.loads(tangent("plan", "study.json", "--hours", "0.5", "--json").stdout)["trials"] == 3
    short = tangent("plan", "study.json", "--hours", "0.0001")
    assert (short.returncode, "too short for 3 replicates" in short.stderr) == (1, True)


def test_a_plan_from_trainings_that_were_timed_here(tangent: Tangent) -> None:
    small = {**SMALL, "name": "timed", "workload": {"name": "digits-mlp", "options": {"epochs": 2, "width": 8}}}
    (tangent.folder / "study.json").write_text(json.dumps(small))
    done = tangent("plan", "study.json", "--calibrate")
    assert "time from one training of each arm on this machine, nothing beside it (adamw " in done.stdout, done.stderr
    cost = json.loads(tangent("plan", "study.json", "--calibrate", "--json").stdout)["cost"]
    assert set(cost["calibration"]) == {"adamw", "adamp"}
    assert cost["device_s"] == pytest.approx(54 * sum(cost["calibration"].values()) / 2)
    plan = tangent("plan", "study.json", "--calibrate", "--hours", "0.5")
    assert "Best plan: R = " in plan.stdout, plan.stderr
    assert "one training of each arm on this machine" in plan.stdout


def test_a_trial_whose_numbers_were_invented_is_not_reproduced(tangent: Tangent) -> None:
    done = tangent("reproduce", tangent.studies[0], 0, "--tolerance", "0.001")
    assert done.returncode == 1, done.stderr
    assert "Not reproduced" in done.stdout
