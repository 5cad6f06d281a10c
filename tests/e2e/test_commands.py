"""The commands against a running service: what they print, in pipes and in terminals, and how they refuse."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from ruamel.yaml import YAML

from service.client import Client
from tests.e2e.support import (
    SMALL,
    client_of,
    in_foreground,
    left_running,
    recorded,
    refusal,
    succeed,
    tangent,
    wait_for,
    write_study,
)
from tests.reference import report_oracle

pytestmark = pytest.mark.xdist_group("commands")


@pytest.fixture(scope="module")
def finished(instance: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """A finished study, submitted with `--wait --json`, which prints the report and nothing else."""
    file = write_study(tmp_path_factory.mktemp("study"), SMALL)
    report = json.loads(succeed(tangent(instance, "submit", file, "--wait", "--json")))
    assert report["study"] == "small"
    return int(json.loads(succeed(tangent(instance, "list", "--json")))[0]["id"])


def test_init_writes_a_file_that_dry_run_accepts(instance: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    succeed(tangent(instance, "init", file, "--workload", "digits-mlp"))
    before = succeed(tangent(instance, "list", "--json"))
    said = succeed(tangent(instance, "submit", file, "--dry-run"))
    assert "mine can run; nothing was submitted" in said
    assert re.search(r"= [\d,]+ trainings", said)
    assert succeed(tangent(instance, "list", "--json")) == before
    assert "exists; use --force" in refusal(tangent(instance, "init", file))


def test_study_is_listed_shown_watched_and_reported(instance: Path, finished: int) -> None:
    assert "small" in succeed(tangent(instance, "list"))
    shown = succeed(tangent(instance, "show", finished))
    assert shown.count("9/9") == 2
    assert shown.count("6/6") == 4
    assert "42 of 42 trainings" in succeed(tangent(instance, "watch", finished))
    report = succeed(tangent(instance, "report", finished))
    assert "adamp ← adamw" in report
    assert "\x1b" not in report


def test_exported_verdicts_equal_an_independent_computation(instance: Path, finished: int, tmp_path: Path) -> None:
    succeed(tangent(instance, "export", finished, "--output", tmp_path / "study.json"))
    export = json.loads((tmp_path / "study.json").read_text())
    report = json.loads(succeed(tangent(instance, "report", finished, "--json")))
    expected = report_oracle.recompute(export)
    assert len(expected) == len(report["comparisons"]) == 1
    for ours, theirs in zip(report["comparisons"], expected, strict=True):
        expect_same(ours, theirs)


def expect_same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    assert ours["verdict"]["kind"] == theirs["kind"]
    interval = ours["effect"]["interval_95"]
    numbers = [
        (ours["effect"]["mean"], theirs["mean"]),
        (interval["lower"], theirs["interval_95"][0]),
        (interval["upper"], theirs["interval_95"][1]),
        (ours["holm_p"], theirs["holm_p"]),
    ]
    for our, their in numbers:
        assert math.isclose(our, their, rel_tol=1e-9, abs_tol=1e-12)


def test_csv_has_a_line_for_each_trial(instance: Path, finished: int) -> None:
    rows = list(csv.DictReader(io.StringIO(succeed(tangent(instance, "export", finished, "--format", "csv")))))
    assert len(rows) == 42
    assert {row["state"] for row in rows} == {"COMPLETE"}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_opens_the_exported_storage(instance: Path, finished: int, tmp_path: Path, client: Client) -> None:
    file = tmp_path / "study.db"
    said = succeed(tangent(instance, "export", finished, "--format", "optuna", "--output", file))
    assert "6 Optuna studies" in said
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    study = optuna.load_study(study_name="small/adamp/r2", storage=storage)
    wanted = [t for t in client.trials(finished, arm="adamp", phase="search") if t["replicate"] == 2]
    assert [trial.value for trial in study.trials] == [t["value"] for t in wanted]
    assert [trial.params for trial in study.trials] == [
        {name: t["params"][name] for name in study.trials[0].params} for t in wanted
    ]
    storage.remove_session()
    storage.engine.dispose()
    assert "exists" in refusal(tangent(instance, "export", finished, "--format", "optuna", "--output", file))


def test_cancelled_study_is_said_and_not_a_success(instance: Path, tmp_path: Path) -> None:
    long = {**SMALL, "name": "long", "search": {"sampler": "random", "trials": 3000}}
    said = succeed(tangent(instance, "submit", write_study(tmp_path, long)))
    number = re.search(r"study (\d+) submitted", said)
    assert number is not None
    assert "is cancelled" in succeed(tangent(instance, "cancel", number[1]))
    assert "cancelled" in refusal(tangent(instance, "watch", number[1]))
    assert refusal(tangent(instance, "cancel", number[1]))


@pytest.mark.parametrize("columns", [100, 120])
def test_terminal_gets_bars_and_tables_that_fit(instance: Path, finished: int, columns: int) -> None:
    for command in ("watch", "report", "show"):
        with in_foreground(instance, command, str(finished), columns=columns) as terminal:
            assert terminal.wait() == 0
        lines = terminal.screen.splitlines()
        assert max(map(len, lines)) <= columns
        assert "…" not in terminal.screen
        assert not any(line.strip() in ("%", "5 %") for line in lines), "a verdict is broken over two lines"
        if command != "report":
            assert "██████████ 9/9" in terminal.screen
        else:
            assert "━" in terminal.screen
            assert re.search(r"(inconclusive|better|worse|equivalent|no verdict)", terminal.screen)


def test_status_names_processes_and_workers(instance: Path) -> None:
    document = json.loads(succeed(tangent(instance, "status", "--json")))
    pids = recorded(instance)
    assert document["processes"] == {name: pids[name] for name in document["processes"]}
    assert {"supervisor", "api", "coordinator", "worker-cpu", "worker-reports"} == set(document["processes"])
    assert [worker["n_slots"] for worker in document["workers"] if worker["devices"]] == [2]


def test_logs_are_listed_and_shown(instance: Path) -> None:
    assert "supervisor" in succeed(tangent(instance, "logs"))
    assert succeed(tangent(instance, "logs", "supervisor", "-n", 1)).count("\n") == 1
    assert "there is no log 'nothing'" in refusal(tangent(instance, "logs", "nothing"))


def test_doctor_finds_the_service(instance: Path) -> None:
    said = succeed(tangent(instance, "doctor"))
    assert "the service answers at" in said
    assert "missing" not in said


@pytest.mark.parametrize("command", ["show", "watch", "report", "cancel", "export"])
def test_unknown_study_is_one_sentence(instance: Path, command: str) -> None:
    assert "424242" in refusal(tangent(instance, command, 424242))


def test_wrong_token_and_absent_service_are_one_sentence(instance: Path, tmp_path: Path) -> None:
    address = json.loads((instance / "instance.json").read_text())["address"]
    for token in ("x" * 32, "short"):
        said = refusal(tangent(tmp_path, "list", TANGENT_API_URL=address, TANGENT_API_TOKEN=token))
        assert "token" in said.lower()
    assert "no Tangent runs in" in refusal(tangent(tmp_path / "empty", "list"))
    gone = tangent(tmp_path, "list", TANGENT_API_URL="http://127.0.0.1:9", TANGENT_API_TOKEN="x" * 32)
    assert "no Tangent answers" in refusal(gone)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit", "/nowhere/study.yaml"], "cannot read /nowhere/study.yaml"),
        (["init", "/nowhere/study.yaml"], "/nowhere/study.yaml"),
        (["export", "1", "--output", "/nowhere/x.json"], "/nowhere/x.json"),
        (["export", "1", "--format", "xml"], "'json' or 'csv'"),
        (["export", "1", "--format", "optuna"], "--output"),
    ],
)
def test_impossible_request_is_one_sentence(instance: Path, finished: int, arguments: list[str], words: str) -> None:
    assert words in refusal(tangent(instance, *arguments))


@pytest.mark.parametrize("arguments", [["show", "abc"], ["nonsense"], ["demo", "--nonsense"]])
def test_wrong_call_shows_the_usage(instance: Path, arguments: list[str]) -> None:
    done = tangent(instance, *arguments)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert "Traceback" not in done.stderr


def test_api_and_coordinator_have_not_loaded_torch(instance: Path, finished: int) -> None:
    pids = recorded(instance)
    for name in ("api", "coordinator", "worker-cpu", "worker-reports"):
        libraries = {mapped.path for mapped in psutil.Process(pids[name]).memory_maps()}
        assert not any("libtorch" in path for path in libraries), name
        assert any("libpython" in path or "python" in path for path in libraries)


def test_template_is_yaml_whatever_its_file_is_called(instance: Path, tmp_path: Path) -> None:
    file = tmp_path / "my study: 1.yaml"
    succeed(tangent(instance, "init", file))
    assert YAML(typ="safe", pure=True).load(file.read_text())["name"]


def test_down_and_up_keep_the_ledger_and_down_twice_is_harmless(instance: Path, finished: int) -> None:
    assert "stopped" in succeed(tangent(instance, "down"))
    assert not left_running(instance)
    assert "nothing runs" in succeed(tangent(instance, "down"))
    succeed(tangent(instance, "up", "--port", "0", "--slots", "2"))
    with client_of(instance) as client:
        assert client.show(finished)["state"] == "FINISHED"
        wait_for(lambda: any(w["state"] == "online" for w in client.workers()), "a worker online")
