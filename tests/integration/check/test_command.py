"""`tangent check` as a person and as `git bisect` run it: exit codes, files, interruptions; what is left on disk."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from typer.testing import CliRunner

from tests.integration.check.support import MISTAKE, TANGENT, Toybox
from workers.check.__main__ import app

ROOT = Path(__file__).parents[3]


def test_a_failure_is_told_in_every_form_with_one_command_to_repeat_it(toybox: Toybox) -> None:
    toybox.replace(*MISTAKE)
    files = {name: toybox.temporary / f"report.{name}" for name in ("json", "markdown", "junit")}
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    done = toybox.run("--baseline", "HEAD", "--seed", "5", *words)
    assert done.returncode == 1, done.stderr
    document = json.loads(files["json"].read_text())
    jsonschema.validate(document, json.loads((ROOT / "docs" / "check.schema.json").read_text()))
    (check,) = document["checks"]
    (finding,) = [entry for entry in check["layers"][0]["findings"] if entry["name"] == "float64-trajectories"]
    again = "tangent check --baseline HEAD --candidate . --config toy --seed 5 --layers numerics"
    assert finding["command"].endswith("--candidate . --config toy --seed 5 --layers numerics")
    assert finding["script"].count("\n") <= 15
    junit = ET.fromstring(files["junit"].read_text())
    (failure,) = junit.findall(".//testcase[@name='numerics: float64-trajectories']/failure")
    texts = [done.stdout, files["markdown"].read_text(), failure.text or ""]
    for text in texts:
        assert finding["command"] in text, again
        assert finding["explanation"].splitlines()[0] in text.replace("\\", "")
        assert finding["script"].splitlines()[0] in text
    assert "numerics: " in done.stderr


def test_a_script_of_a_failure_fails_by_itself_on_the_candidate_only(toybox: Toybox) -> None:
    toybox.replace(*MISTAKE)
    found = toybox.checked(baseline="HEAD")
    script = next(entry.script for entry in found.layers[0].findings if entry.script)
    environment = {**os.environ, "PYTHONPATH": str(toybox.folder)}
    python = str(TANGENT.with_name("python"))
    broken = subprocess.run([python, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert broken.returncode == 1
    assert "AssertionError" in broken.stderr
    toybox.git("checkout", "--quiet", "toy")
    whole = subprocess.run([python, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr


def test_errors_are_one_sentence_and_a_traceback_only_where_it_is_asked_for(toybox: Toybox) -> None:
    toybox.replace("import torch", "import torhc")
    report = toybox.temporary / "summary.md"
    plain = toybox.run("--baseline", "torch.optim:SGD", "--markdown", str(report))
    assert plain.returncode == 4
    assert plain.stdout == ""
    progress, sentence = plain.stderr.splitlines()[:-1], plain.stderr.splitlines()[-1]
    assert progress == ["  toy: starting the baseline", "  toy: starting the candidate"]
    assert "No module named 'torhc'" in sentence
    assert "torhc" in report.read_text()
    told = toybox.run("--baseline", "torch.optim:SGD", "--traceback")
    assert "Traceback (most recent call last)" in told.stderr


def test_bisection_finds_a_planted_bug_among_ten_commits(toybox: Toybox) -> None:
    good = toybox.git("rev-parse", "HEAD")
    commits = []
    for i in range(10):
        if i == 2:
            toybox.replace("import torch\n", "import torhc as torch\n")  # cannot be judged: to be skipped
        if i == 3:
            toybox.replace("import torhc as torch\n", "import torch\n")
        if i == 6:
            toybox.replace(*MISTAKE)
        toybox.write("toy/notes.txt", f"{i}\n")
        commits.append(toybox.commit(f"change {i}"))
    toybox.git("bisect", "start", "HEAD", good)
    environment = {**toybox.environment(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["git", "bisect", "run", TANGENT, "check", "--bisect", "--baseline", good],
        cwd=toybox.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{commits[6]} is the first bad commit" in done.stdout
    toybox.git("bisect", "reset")
    toybox.expect_nothing_left()


def test_a_wrong_call_ends_a_bisection_instead_of_blaming_a_commit(toybox: Toybox) -> None:
    assert toybox.run("--bisect", "--baseline", "v9").returncode == 128
    assert toybox.run("--bisect", "--colour").returncode == 128


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--colour"], "No such option"),
        (["--layers", "numerics,colour"], "there is no layer 'colour'; there are numerics, speed, training"),
        (["--json", "absent/report.json"], "there is no folder absent"),
        (["--seed=-1"], "Input should be greater than or equal to 0"),
        (["--upload"], "tangent check --upload"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(words: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert sentence in done.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_check_removes_what_it_made(toybox: Toybox, number: signal.Signals) -> None:
    process = hanging(toybox)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    toybox.expect_nothing_left()


def test_what_a_killed_check_left_is_removed_by_the_next_one(toybox: Toybox) -> None:
    process = hanging(toybox)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    for pid in map(int, children.stdout.split()):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 4
    assert len(list(toybox.temporary.glob("tangent-check-*"))) == 1
    assert toybox.git("worktree", "list").count("\n") == 1
    toybox.git("checkout", "--quiet", "toy")
    assert toybox.run("--baseline", "HEAD", "--layers", "training").returncode == 0


def hanging(toybox: Toybox) -> "subprocess.Popen[str]":
    """A check whose candidate hangs in its import."""
    signs = toybox.folder.parent / "hangs"
    toybox.replace(
        "import torch\n", f"import pathlib, time, torch\npathlib.Path({str(signs)!r}).touch()\ntime.sleep(600)\n"
    )
    process = toybox.start("--baseline", "HEAD")
    for _ in range(1200):
        if signs.exists():
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the candidate was not started within a minute")
