"""`tangent check`: have `python -m workers.check` compare two codes, and keep its reports in the service if asked to.

The command line has no torch. The child takes the same words, and its exit code is the command's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from service import interrupts
from service.client import Client
from service.domain.checks import ExitCode
from service.errors import TangentError
from service.terminal import connected, console, errors

_MODULE = "workers.check"
_UPLOAD, _DOCUMENT = "--upload", "--document"
_STOP_S = 60.0


def run_check(words: Sequence[str]) -> int:
    """Run a check with the words of its command line; returns the exit code.

    With --upload the reports are sent to the service. Where that fails, a PASS becomes 4.
    """
    if _UPLOAD not in words:
        return _run(words)
    words = [word for word in words if word != _UPLOAD]
    code = 0
    try:
        with connected() as client, tempfile.TemporaryDirectory(prefix="tangent-upload-") as folder:
            client.checks(limit=1)  # a service that does not answer is better known now than in two minutes
            document = Path(folder) / "check.json"
            code = _run([*words, _DOCUMENT, str(document)])
            if document.exists():
                _upload(client, document)
            return code
    except TangentError as error:
        errors.print(f"tangent check: {error}", markup=False)
        return code or ExitCode.INFRASTRUCTURE


def _run(words: Sequence[str]) -> int:
    """The child's exit code; an interruption is passed on, and waits until the child has removed what it made."""
    child = subprocess.Popen([sys.executable, "-m", _MODULE, *words])
    try:
        code = child.wait()
    except BaseException:
        with interrupts.deferred():
            _stop(child)
        raise
    if code < 0:
        errors.print(f"tangent check: {_MODULE} was killed by signal {-code}", markup=False)
        return ExitCode.INFRASTRUCTURE
    return code


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _upload(client: Client, document: Path) -> None:
    for check in json.loads(document.read_text(encoding="utf-8"))["checks"]:
        kept = client.upload_check(check)
        console.print(f"uploaded {check['name']} as check {kept['id']}", markup=False)
