"""A child that answers lines: it may print, die, hang, flood; and tensors that go through JSON to the bit."""

import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from workers.check.probe.tensors import decode, encode
from workers.check.process import DiedError, LineProcess, SilentError

ECHO = """
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    {before}
    print(json.dumps({{"id": request["id"], "n": len(line)}}), flush=True)
"""


def child(before: str = "pass") -> LineProcess:
    return LineProcess([sys.executable, "-c", ECHO.format(before=before)], {})


def test_requests_and_answers_larger_than_any_pipe_go_through() -> None:
    process = child()
    try:
        for n in (1, 5_000_000):
            assert process.ask({"id": n, "text": "x" * n}, 60)["n"] > n
    finally:
        process.close()


def test_late_answers_to_earlier_questions_are_not_taken_for_this_one() -> None:
    process = child("print(json.dumps({'id': -1}))")
    try:
        assert process.ask({"id": 7}, 60)["id"] == 7
    finally:
        process.close()


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("os.abort()", "died of SIGABRT"),
        ("os.kill(os.getpid(), 9)", "died of SIGKILL"),
        ("sys.exit(5)", "ended with code 5"),
        ("sys.stderr.write('last words'); sys.exit(5)", "ended with code 5"),
    ],
)
def test_a_death_is_said_with_its_cause(before: str, words: str) -> None:
    process = child(before)
    try:
        with pytest.raises(DiedError, match=words):
            process.ask({"id": 1}, 60)
        assert process.log_tail() == ("last words" if "last" in before else process.log_tail())
    finally:
        process.close()


def test_a_silent_child_is_killed_with_its_children(tmp_path: Path) -> None:
    sign = tmp_path / "pid"
    start = f"import subprocess; p = subprocess.Popen(['sleep', '600']); open({str(sign)!r}, 'w').write(str(p.pid))"
    process = child(f"{start}; time.sleep(600)")
    with pytest.raises(SilentError):
        process.ask({"id": 1}, 8)
    pid = int(sign.read_text())
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} lives")


def test_closing_twice_is_harmless() -> None:
    process = child()
    process.close()
    process.close()


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
def test_tensors_go_through_json_to_the_bit(dtype: torch.dtype) -> None:
    tensor = (torch.arange(12).reshape(3, 4).t() / 7).to(dtype)
    again = decode(encode({"a": [tensor, torch.empty(0, 3), torch.tensor(float("nan"))], "b": "text"}))
    assert torch.equal(again["a"][0], tensor)
    assert again["a"][0].dtype == dtype
    assert again["a"][1].shape == (0, 3)
    assert again["a"][2].isnan()
    again["a"][0][0] = 0  # memory of its own
    assert again["b"] == "text"
