"""A suite as JSON, Markdown, one HTML page and a forest plot."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from service.domain.plain import to_plain
from service.domain.suite import PROFILE_END, PooledEffect, Profile, Suite, build_suite, suite_sentence
from service.domain.wording import percent, percent_range, probability
from service.output.forest import Row, forest_svg
from service.output.markdown import plain, table_parts
from service.output.marks import Frame, dash, line, picture, series, short, stroke, text, ticks
from service.output.numbers import NONE, number
from service.output.page import document, table_html
from service.output.tables import Table

FORMS = ("json", "md", "html", "svg")
LEVEL = 0.05
_WIDTH, _HEIGHT, _LEGEND = 440, 300, 18


def render_suite(suite: Suite, margin: float, form: str) -> str:
    """The text of a file.

    Args:
        suite: The pooled studies.
        margin: Of practical equivalence, log scale; shaded in the plot.
        form: One of `FORMS`.

    Raises:
        ValueError: An unknown form.
    """
    makers: dict[str, Callable[[], str]] = {
        "json": lambda: json.dumps(to_plain(suite), indent=2, allow_nan=False) + "\n",
        "md": lambda: suite_markdown(suite),
        "html": lambda: _page(suite, margin),
        "svg": lambda: forest_svg(forest_rows(suite), margin, is_file=True),
    }
    if form not in makers:
        raise ValueError(f"a suite has the forms {', '.join(FORMS)}, not '{form}'")
    return makers[form]()


def forest_rows(suite: Suite) -> list[Row]:
    """For each pair its workloads, then the pooled effect as a diamond."""
    rows = []
    for pair in suite.pairs:
        name = f"{pair.challenger} against {pair.baseline}"
        rows += [Row(f"{name} · {p.workload}", f"R = {p.n}", "open", p.mean, p.interval_95) for p in pair.parts]
        words = "pooled" if pair.problem is None else "not pooled"
        rows.append(Row(f"{name} · all", words, _colour(pair), pair.mean, pair.interval_95, is_pooled=True))
    return rows


def _colour(pair: PooledEffect) -> str:
    if pair.holm_p is None or pair.mean is None or pair.holm_p >= LEVEL:
        return "open"
    return "better" if pair.mean < 0 else "worse"


def suite_markdown(suite: Suite) -> str:
    """Sentences, problems, the table."""
    parts = [f"# Suite: {plain(', '.join(suite.studies))}", *(plain(suite_sentence(pair)) for pair in suite.pairs)]
    parts += [f"- {plain(problem)}" for problem in suite.problems]
    return "\n\n".join([*parts, *table_parts(_table(suite))]) + "\n"


def suite_section(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """The part of the page of results: the first two studies on different workloads that share their arms."""
    for first, second in itertools.combinations(reports, 2):
        arms = [[arm["name"] for arm in report["arms"]] for report in (first, second)]
        if arms[0] == arms[1] and first["workload"] != second["workload"]:
            suite = build_suite([first, second])
            said = [f"- {plain(suite_sentence(pair))}" for pair in suite.pairs]
            said += [f"- {plain(problem)}" for problem in suite.problems]
            _, *table = table_parts(_table(suite))
            return [f"## Both together: {plain(' and '.join(suite.studies))}", *said, *table]
    return []


def _table(suite: Suite) -> Table:
    rows: list[tuple[str, ...]] = []
    for pair in suite.pairs:
        name = f"{pair.challenger} against {pair.baseline}"
        for part in pair.parts:
            interval = NONE if part.interval_95 is None else percent_range(part.interval_95)
            size = NONE if part.mean is None else percent(part.mean)
            rows.append((f"{name}, {part.workload}", size, interval, NONE, NONE, str(part.n)))
        rows.append(_pooled(name, pair))
    header = ("pair, workload", "change", "95 % interval", "Holm p", "interquartile mean", "replicates")
    method = (
        "Pooled: mean of the workloads' effects with SE = sqrt(sum SE^2) / W, t with Welch-Satterthwaite degrees of "
        "freedom; interquartile mean: of all replicates, a description. Sources: Welch 1947, Agarwal et al. 2021."
    )
    return Table("suite", "Effects by workload, and pooled", header, tuple(rows), None, method)


def _pooled(name: str, pair: PooledEffect) -> tuple[str, ...]:
    middle = NONE if pair.interquartile_mean is None else percent(pair.interquartile_mean)
    n = str(sum(part.n for part in pair.parts))
    if pair.mean is None or pair.interval_95 is None:
        return (f"{name}, pooled", NONE, NONE, NONE, middle, n)
    holm_p = NONE if pair.holm_p is None else probability(pair.holm_p)
    return (f"{name}, pooled", percent(pair.mean), percent_range(pair.interval_95), holm_p, middle, n)


def _page(suite: Suite, margin: float) -> str:
    title = f"Suite: {', '.join(suite.studies)}"
    caption = (
        "Dot: one workload; diamond: all of them, each with the same weight; grey: margin of practical equivalence."
    )
    profile = profile_svg(suite.profiles)
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(suite_sentence(pair))}</p>" for pair in suite.pairs),
        *(f'<p class="remark"><strong>{escape(problem)}</strong></p>' for problem in suite.problems),
        '<div class="figures">',
        f"<figure>{forest_svg(forest_rows(suite), margin)}<figcaption>{escape(caption)}</figcaption></figure>",
        *([f"<figure>{profile}<figcaption>{escape(_PROFILE)}</figcaption></figure>"] if profile else []),
        "</div>",
        *table_html(_table(suite)),
    ]
    return document(title, body)


_PROFILE = (
    "Performance profile (Dolan and Moré 2002): in what share of places an arm is within that factor of the best."
)


def profile_svg(profiles: Sequence[Profile], *, is_file: bool = False) -> str | None:
    """Performance profiles of the arms; None without one."""
    if not profiles:
        return None
    top = 14 + _LEGEND * -(-len(profiles) // 3)
    frame = Frame(52, top, _WIDTH - 12, _HEIGHT - 40, (1.0, PROFILE_END), (0.0, 1.0), is_x_log=True)
    parts = list(_grid(frame))
    for index, profile in enumerate(profiles):
        style = f'{stroke(series(index))} stroke-width="2.5"{dash(index)}'
        parts.append(f'<polyline points="{frame.curve(profile.ratios, profile.shares)}" {style}/>')
        x, y = 52 + 128 * (index % 3), 12 + _LEGEND * (index // 3)
        parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}" {style}/>')
        parts.append(text(x + 27, y, short(profile.arm, 13)))
    said = "; ".join(f"{profile.arm} is best in {100 * profile.shares[0]:.0f} %" for profile in profiles)
    return picture(_WIDTH, _HEIGHT, parts, f"Performance profiles: {said}", is_file=is_file)


def _grid(frame: Frame) -> Iterable[str]:
    for value in ticks(0.0, 1.0, is_log=False):
        yield line(frame.left, frame.y(value), frame.right, frame.y(value), "grid")
        yield text(frame.left - 6, frame.y(value) + 4, f"{value:.0%}", colour="muted", size=11, anchor="end")
    for value in (1.0, 1.1, 1.2, 1.5, 2.0):
        label = f"× {number(value)}"
        yield text(frame.x(value), frame.bottom + 16, label, colour="muted", size=11, anchor="middle")
    middle = (frame.left + frame.right) / 2
    yield text(middle, _HEIGHT - 6, "endpoint, relative to the best arm", colour="muted", size=11, anchor="middle")
