"""One side of a check: reads commands as JSON lines, and writes replies to what was standard output.

Started as `PYTHON probe/main.py` in the side's interpreter, which needs torch and nothing else. A request is
{"id", "command", "arguments"}; the first one is "open". A reply is {"id", "result"} or {"id", "error": {"kind",
"sentence", "traceback"}}. Whatever the side prints goes to standard error, the log.
"""

import sys

_HERE = __file__.rpartition("/")[0] or "."
sys.path[:] = [entry for entry in sys.path if entry not in ("", _HERE)]  # nothing of ours may shadow the side's modules

import faulthandler  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import traceback  # noqa: E402
from typing import Any, TextIO  # noqa: E402

_PACKAGE = "_tangent_probe"


def load_package() -> Any:
    """The folder of this file as a package of a name that no optimizer has; returns its module `session`."""
    start = f"{_HERE}/__init__.py"
    spec = importlib.util.spec_from_file_location(_PACKAGE, start, submodule_search_locations=[_HERE])
    if spec is None or spec.loader is None:
        raise ImportError(f"the probe's files are not in {_HERE}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = module
    spec.loader.exec_module(module)
    return importlib.import_module(f"{_PACKAGE}.session")


def private_stdout() -> TextIO:
    """A copy of standard output for replies; the real one becomes standard error, in C too."""
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def main() -> None:
    """Answer until standard input ends."""
    faulthandler.enable()
    replies = private_stdout()
    session: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {"id": request["id"]}
        try:
            session = session or load_package().Session()
            reply["result"] = session.answer(request["command"], request["arguments"])
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 — the side's code may raise anything
            reply["error"] = {
                "kind": getattr(error, "kind", "failed"),
                "sentence": getattr(error, "sentence", f"{type(error).__name__}: {error}"),
                "traceback": traceback.format_exc(),
            }
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
