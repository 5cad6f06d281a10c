"""What a page costs: seconds until it shows what it is for, bytes on the wire, DOM nodes, heap, its server's memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import psutil
from playwright.sync_api import BrowserContext, CDPSession, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

_SETTLES_MS = 300
"""For so long after a page is ready its last bytes are still counted."""


@dataclass(frozen=True)
class Visit:
    """One opening of a page.

    Attributes:
        seconds: From the navigation's start until `is_ready` held, at a frame of the page's own.
        n_bytes: Of all finished responses as they came over the wire, heads included; nothing for what the cache had.
        library_bytes: Those of them that were the chart library's.
        part_bytes: Those of the last part of the page that came by itself, such as its table.
        n_elements: HTML and SVG elements in the document.
        n_nodes: DOM nodes that the page keeps alive, text and detached ones included.
        heap_bytes: JavaScript heap after a collection.
        n_requests: Finished responses.
    """

    seconds: float
    n_bytes: int
    library_bytes: int
    part_bytes: int
    n_elements: int
    n_nodes: int
    heap_bytes: int
    n_requests: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Wire:
    """Counts what a page's finished responses weighed on the wire, as Chromium's network stack saw them."""

    def __init__(self, session: CDPSession) -> None:
        self._urls: dict[str, str] = {}
        self.finished: list[tuple[str, int]] = []
        session.on("Network.requestWillBeSent", self._begin)
        session.on("Network.loadingFinished", self._end)
        session.send("Network.enable")

    def _begin(self, event: dict[str, Any]) -> None:
        self._urls[event["requestId"]] = event["request"]["url"]

    def _end(self, event: dict[str, Any]) -> None:
        self.finished.append((self._urls.get(event["requestId"], ""), int(event["encodedDataLength"])))

    def n_bytes(self, word: str = "") -> int:
        """Of the responses whose address holds the word."""
        return sum(size for url, size in self.finished if word in url)


def visit(context: BrowserContext, address: str, is_ready: str, *, cap_s: float = 60.0) -> Visit | None:
    """Open the address in a page of its own and close it again; None where it was not ready after `cap_s`.

    Args:
        context: A new one has an empty cache; in one that has visited the page before, the visit is warm.
        is_ready: A JavaScript expression that is true from the moment at which the page shows what it is for. It is
            looked at in each frame.
        cap_s: Seconds.
    """
    page = context.new_page()
    session = context.new_cdp_session(page)
    wire = Wire(session)
    try:
        page.goto(address, wait_until="commit", timeout=1e3 * cap_s)
        ready = page.wait_for_function(f"() => ({is_ready}) && performance.now() / 1e3", timeout=1e3 * cap_s)
        seconds = float(ready.json_value())
        page.wait_for_timeout(_SETTLES_MS)
    except PlaywrightTimeoutError:
        return None
    measured = _measured(page, session, wire, seconds)
    page.close()
    return measured


def _measured(page: Page, session: CDPSession, wire: Wire, seconds: float) -> Visit:
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    parts = [size for url, size in wire.finished if "/parts/" in url]
    return Visit(
        seconds=seconds,
        n_bytes=wire.n_bytes(),
        library_bytes=wire.n_bytes("echarts"),
        part_bytes=parts[-1] if parts else 0,
        n_elements=page.evaluate("document.querySelectorAll('*').length"),
        n_nodes=int(metrics["Nodes"]),
        heap_bytes=int(metrics["JSHeapUsedSize"]),
        n_requests=len(wire.finished),
    )


def resident_bytes(pid: int) -> int:
    """Memory of a process and its children that lies in RAM."""
    process = psutil.Process(pid)
    family: Iterable[psutil.Process] = (process, *process.children(recursive=True))
    return sum(int(member.memory_info().rss) for member in family)
