"""Following studies in a terminal: bars while they run, plain lines where nobody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.live import Live

from service import bars
from service.client import Client
from service.errors import ServiceError, TangentError

_PERIOD_S = 1.0
_LINE_PERIOD_S = 15.0
_PATIENCE_S = 60.0
"""How long a service may be away, such as an API that is started again."""
_PASSING = (None, 502, 503, 504)
ENDED = ("FINISHED", "FAILED", "CANCELLED")

T = TypeVar("T")
Views = list[Mapping[str, Any]]


def _nothing() -> None:
    pass


def ask(question: Callable[[], T], check: Callable[[], None] = _nothing) -> T:
    """The service's answer to something harmless to repeat; waits a minute for a service that is away.

    Args:
        question: Called again and again until it raises no ServiceError.
        check: Called before each; raises to give up.
    """
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        check()
        try:
            return question()
        except ServiceError as error:
            if error.status not in _PASSING or time.monotonic() > give_up_at:
                raise
        time.sleep(_PERIOD_S / 2)


def watch(client: Client, study_ids: Sequence[int], console: Console, *, check: Callable[[], None] = _nothing) -> Views:
    """Show the progress of studies until all have ended.

    Args:
        client: The service.
        study_ids: The studies, shown in this order.
        console: Gets bars where it is a terminal, else a line every 15 seconds.
        check: Called at each look; raises to give up.

    Returns:
        The studies' last views, in the same order.
    """

    def look() -> Views:
        return ask(lambda: [client.show(study_id) for study_id in study_ids], check)

    return _watch_live(look, console) if console.is_terminal else _watch_in_lines(look, console)


def _watch_live(look: Callable[[], Views], console: Console) -> Views:
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            views = look()
            live.update(bars.progress_table(views, console.width))
            if _are_ended(views):
                return views
            time.sleep(_PERIOD_S)


def _watch_in_lines(look: Callable[[], Views], console: Console) -> Views:
    next_line = time.monotonic()
    while True:
        views = look()
        is_ended = _are_ended(views)
        if is_ended or time.monotonic() >= next_line:
            next_line = time.monotonic() + _LINE_PERIOD_S
            for view in views:
                console.print(bars.progress_line(view), markup=False)
        if is_ended:
            return views
        time.sleep(_PERIOD_S)


def refuse_unfinished(views: Views) -> None:
    """Raise TangentError for a study that ended otherwise than finished."""
    for view in views:
        if view["state"] != "FINISHED":
            reason = f": {view['reason']}" if view["reason"] else ""
            raise TangentError(f"study {view['id']} ended as {view['state'].lower()}{reason}")


def _are_ended(views: Views) -> bool:
    return all(view["state"] in ENDED for view in views)
