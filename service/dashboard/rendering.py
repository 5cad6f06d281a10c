"""Pages from templates: one environment, filters for numbers and times, and the headers that every page carries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from service.dashboard.assets import asset_url, echarts_url
from service.dashboard.palette import series_style
from service.dashboard.sessions import Session

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@cache
def environment() -> Environment:
    """The templates; an undefined name is an error, everything is escaped."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "sig": significant,
        "age": age,
        "seconds": seconds,
        "moment": moment,
        "percent": share_percent,
        "thousands": thousands,
        "unbroken": unbroken,
    }
    templates.globals |= {"asset": asset_url, "echarts": echarts_url, "style_of": series_style}
    return templates


def page(
    request: Request, template: str, context: Mapping[str, Any], *, status: int = 200, as_of: int | None = None
) -> HTMLResponse:
    """A page or, with a template of `parts/`, a fragment of one.

    Args:
        context: Names for the template; `session` is added.
        as_of: The study's revision that is shown; sent as `X-Revision`, so that a live page knows what it has.
    """
    session: Session | None = getattr(request.state, "session", None)
    shown = {"request": request, "session": session, "path": request.url.path, **context}
    headers = {**HEADERS, **({"X-Revision": str(as_of)} if as_of is not None else {})}
    return HTMLResponse(environment().get_template(template).render(shown), status, headers)


def significant(value: float | None, digits: int = 4) -> str:
    """A number with 4 significant digits, without a useless tail: "0.05123", "1,234", "1.2e-07"; "–" for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    text = f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))) if value else 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def thousands(value: int) -> str:
    """A whole number with separators."""
    return f"{value:,}"


def unbroken(words: str) -> str:
    """The same words, with each % on the line of its number."""
    return words.replace(" %", "\u00a0%")


def share_percent(share: float | None) -> str:
    """A share such as "34 %"; never 0 % or 100 % for what is not."""
    if share is None:
        return "–"
    percent = 100 * share
    if 0 < percent < 1:
        return "<1 %"
    return ">99 %" if 99 < percent < 100 else f"{percent:.0f} %"


def seconds(value: float | None) -> str:
    """A duration such as "0.42 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.2g} s"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    left = round(value)
    parts: list[str] = []
    for name, size in units:
        n, left = divmod(left, size)
        if n or parts:
            parts.append(f"{n} {name}" if n else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def age(then: datetime | None, now: datetime | None = None) -> str:
    """How long ago, such as "12 s ago", "3 h ago"; "–" for never."""
    if then is None:
        return "–"
    passed = max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())
    for name, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if passed >= size:
            return f"{int(passed // size)} {name} ago"
    return f"{int(passed)} s ago"


def moment(then: datetime | None) -> str:
    """A time in UTC to the second, such as "2026-11-20 14:03:10 UTC"."""
    return "–" if then is None else then.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
