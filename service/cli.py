"""Entry point of the `tangent` command: signals first, then the commands, errors as one sentence and an exit code."""

from __future__ import annotations

import sys

from service import interrupts
from service.errors import TangentError


def main() -> None:
    """Run the command that the arguments name, and exit: 0, 1 with one sentence, 2 for a wrong call, 130 for Ctrl-C."""
    interrupts.install()
    try:
        code = _run()
    except KeyboardInterrupt:
        code = interrupts.exit_code()
    raise SystemExit(code)


def _run() -> int:
    try:
        from service.commands import app  # slow; a Ctrl-C during it must be met too

        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return interrupts.exit_code() if code == interrupts.INTERRUPTED else code
    except TangentError as error:
        sys.stderr.write(f"tangent: {error}\n")
    except OSError as error:
        sys.stderr.write(f"tangent: {error.filename or 'the operating system'}: {error.strerror or error}\n")
    return 1
