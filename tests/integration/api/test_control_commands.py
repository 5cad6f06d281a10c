"""`tangent pause, resume, retry …` against a real API process: what they do, and the very words that a person reads."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from service import cli
from service.domain.trial import Outcome, StudyId
from service.store.database import Database
from service.store.leases import Finish
from service.store.workers import sign_off
from tests.asgi import Caller
from tests.integration.api.support import (
    REPOSITORY,
    SMALL,
    STUDIES,
    WORKER,
    ApiProcess,
    claim,
    finish,
    plan,
    register,
    run,
    submit,
)
from tests.unit.api.support import TOKEN

COLUMNS = ("id", "name", "workload", "state", "finished", "running", "waiting", "failed", "cancelled")
ONE = {**SMALL, "arms": SMALL["arms"][:1], "compare": [], "replicates": 1, "limits": {"failures": 0}}


class Tangent:
    """The command in this process, but for its signals; it is told where the service is by variables alone."""

    def __init__(
        self, address: str, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self._patch, self._capture = patch, capture
        for name in [name for name in os.environ if name.startswith("TANGENT_")]:
            patch.delenv(name)
        patch.setenv("TANGENT_API_URL", address)
        patch.setenv("TANGENT_API_TOKEN", TOKEN)
        patch.chdir(folder)

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._patch.setattr(sys, "argv", ["tangent", *map(str, arguments)])
        self._capture.readouterr()
        code = cli._run()
        return code, *self._capture.readouterr()

    def __call__(self, *arguments: object) -> str:
        code, out, err = self.run(*arguments)
        assert (code, err) == (0, "")
        return out

    def refused(self, *arguments: object) -> str:
        code, out, err = self.run(*arguments)
        assert (code, out) == (1, "")
        return err

    def answered(self, answer: str, *arguments: object) -> tuple[int, str]:
        """Run in a terminal, where `answer` is typed: exit code and what the screen showed."""
        leader, follower = pty.openpty()
        argv = [sys.executable, "-c", "from service.cli import main; main()", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with subprocess.Popen(argv, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
            os.close(follower)
            os.write(leader, answer.encode() + b"\n")
            screen = b""
            while part := _read(leader):
                screen += part
            code = process.wait(30)
        os.close(leader)
        return code, screen.decode().replace("\r\n", "\n")


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 4096)
    except OSError:  # the other end is closed
        return b""


@pytest.fixture(scope="module")
def database_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """One ledger for all tests of this file, each with studies of its own: an API takes seconds to start."""
    with fresh_database() as url:
        yield url


@pytest.fixture(scope="module")
def address(database_url: str) -> Iterator[str]:
    process = ApiProcess(database_url)
    yield process.address
    process.stop()


@pytest.fixture
def tangent(
    address: str, ledger: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Tangent:
    """The command, while no worker is online."""
    with ledger.transaction() as connection:
        sign_off(connection, WORKER)
    return Tangent(address, tmp_path, monkeypatch, capsys)


def state(api: Caller, study_id: int) -> str:
    return str(api.get(f"{STUDIES}/{study_id}").json()["state"])


def failed_study(api: Caller, ledger: Database) -> StudyId:
    """Trial 0 failed; trials 1 and 2 were cancelled with the study."""
    study_id = submit(api, ONE)
    run(ledger, study_id, result=lambda _: Finish(Outcome.WORKLOAD_ERROR), most=1)
    plan(ledger, study_id)
    return study_id


def test_pausing_and_resuming(api: Caller, ledger: Database, tangent: Tangent) -> None:
    study = submit(api)
    assert tangent("pause", study) == f"study {study} is paused\n"
    assert tangent("resume", study) == f"study {study} goes on\n"
    plan(ledger, study)
    running = [claim(ledger), claim(ledger)]
    assert tangent("pause", study) == (
        f"study {study} is paused; 2 running trials will go on to the end (or use --now)\n"
    )
    assert tangent("pause", study, "--now") == (f"study {study} is paused; 2 running trials will checkpoint and wait\n")
    assert tangent.refused("pause", study) == f"tangent: study {study} is paused already\n"
    assert tangent.refused("pause", 9999) == "tangent: there is no study 9999\n"
    for claimed in running:
        assert claimed is not None
        finish(ledger, claimed, Finish(Outcome.CANCELLED))


def test_retrying(api: Caller, ledger: Database, tangent: Tangent) -> None:
    study = failed_study(api, ledger)
    listed = tangent("list").splitlines()
    assert listed[1].split() == [*COLUMNS]
    assert listed[3].split() == [str(study), "small", "digits-mlp", "failed", "0", "0", "0", "1", "2"]
    assert "1 failed, 2 cancelled" in tangent.run("watch", study)[1]
    assert tangent("retry", study, 0) == (
        f"3 trials of study {study} will run again: 0, 1, 2\n"
        f"  study {study} was failed and goes on; follow it with: tangent watch {study}\n"
    )
    assert tangent.refused("retry", study, 0) == "tangent: trial 0 has not failed: it is WAITING\n"
    assert "name one trial, such as: tangent retry 3 12" in tangent.refused("retry", study)
    assert "name one trial" in tangent.refused("retry", study, 0, "--failed")


def test_growing(api: Caller, ledger: Database, tangent: Tangent) -> None:
    study = submit(api, ONE)
    assert tangent("replicates", study, "+2") == f"study {study} has 3 replicates now, 2 of them new\n"
    run(ledger, study)
    assert tangent("replicates", study, 1) == (
        f"study {study} has 4 replicates now, 1 of them new\n"
        "  they are marked as added after results could be read: the data may have suggested them\n"
        f"  study {study} was finished and goes on; follow it with: tangent watch {study}\n"
    )
    assert "4,999 replicates in all" not in tangent.refused("replicates", study, 4092)


def test_cloning_and_the_file(api: Caller, tangent: Tangent, tmp_path: Path) -> None:
    study = submit(api, ONE)
    assert "9 search + 4 select" in tangent("clone", study, "--set", "search.trials=9", "--dry-run")
    _, out, err = tangent.run("clone", study, "--set", "search.trials=9", "--set", "name=other one")
    assert out == (
        f"study {study + 1} submitted, made from study {study} with seed 1; follow it with: tangent watch {study + 1}\n"
    )
    assert "note: no worker for device cpu is online" in err
    clone = api.get(f"{STUDIES}/{study + 1}").json()
    assert (clone["name"], clone["spec"]["search"]["trials"], clone["parent_id"]) == ("other one", 9, study)
    assert json.loads(tangent("clone", study, "--json", "--set", "seed=5"))["spec"]["seed"] == 5
    text = tangent("file", study)
    assert text.startswith("schema: 1\nname: small\nworkload:")
    assert tangent("file", study, "-o", "s.yaml") == "wrote s.yaml\n"
    assert (tmp_path / "s.yaml").read_text() == text
    assert "--set takes KEY=VALUE, such as search.trials=20; got 'search'" in tangent.refused(
        "clone", study, "--set", "search"
    )
    assert "search.trials: must be in [1, 100000], got 0" in tangent.refused("clone", study, "--set", "search.trials=0")


def test_deleting_asks_for_the_name(api: Caller, ledger: Database, tangent: Tangent) -> None:
    study = failed_study(api, ledger)
    assert tangent.refused("delete", study) == "tangent: nothing was deleted: nobody can be asked here; use --yes\n"
    code, screen = tangent.answered("no", "delete", study)
    assert (code, screen.count("tangent: nothing was deleted: that is not its name")) == (1, 1)
    assert f"This deletes study {study}, failed, with 3 trials. It is for ever." in screen
    assert "Type its name (small) to go on:" in screen
    code, screen = tangent.answered("small", "delete", study)
    assert (code, screen.endswith(f"study {study} (small) is deleted\n")) == (0, True)
    other = submit(api)
    assert tangent.refused("delete", other, "--yes") == (
        f"tangent: study {other} is RUNNING; cancel it before deleting it\n"
    )
    assert tangent("cancel", other) == f"study {other} is cancelled\n"
    assert tangent("delete", other, "--yes") == f"study {other} (small) is deleted\n"
    assert {api.get(f"{STUDIES}/{gone}").status_code for gone in (study, other)} == {404}


def test_settings(api: Caller, tangent: Tangent) -> None:
    study = submit(api)
    changed = tangent("set", study, "--priority", -3, "--weight", 2.5, "--max-running", 4)
    assert changed == f"study {study}: priority -3, weight 2.5, at most 4 trials at once\n"
    assert tangent("set", study, "--max-running", "none") == (
        f"study {study}: priority -3, weight 2.5, any number of trials at once\n"
    )
    assert "weight: must be in (0, 1e6], got 0.0" in tangent.refused("set", study, "--weight", 0)
    assert "takes a whole number, or none" in tangent.refused("set", study, "--max-running", "many")
    assert tangent.refused("set", study).startswith("tangent: nothing to change; what can be changed: priority")


def test_requeueing_and_draining(api: Caller, ledger: Database, tangent: Tangent) -> None:
    register(ledger)
    study = submit(api)
    plan(ledger, study)
    claim(ledger)
    assert tangent("drain", "here:1") == "worker here:1 finishes 1 trial and takes no more\n"
    assert "draining" in tangent("status")
    assert tangent("requeue", study, 0) == (
        f"trial 0 of study {study} waits for another slot; it runs on from its last checkpoint, if it has one\n"
    )
    assert tangent("drain", str(WORKER)) == "worker here:1 takes no more trials\n"
    assert claim(ledger) is None
    assert tangent("undrain", "here") == "worker here:1 takes trials again\n"
    again = claim(ledger)
    assert again is not None
    assert (again.number, again.attempt) == (0, 2)
    finish(ledger, again, Finish(Outcome.CANCELLED))
    assert tangent.refused("drain", "there") == "tangent: no worker 'there' is online; there are: here:1\n"


def test_catalog(ledger: Database, tangent: Tangent) -> None:
    before = tangent("catalog")
    for word in ("AdamP", "delta 0.1", "lr 0.0001 to 0.1 (log)", "digits-cnn", "epochs 10", "tpe", "hyperband"):
        assert word in before
    assert "no worker online has it" in before
    register(ledger)
    assert "no worker online has it" not in tangent("catalog")
    assert {"optimizers", "workloads", "samplers", "pruners"} == set(json.loads(tangent("catalog", "--json")))
