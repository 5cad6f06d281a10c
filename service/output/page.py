"""A report as one HTML page that needs nothing else: styles and pictures inside, no script, no request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from service.output.budget_table import steps_of_each_trial
from service.output.charts import difference_svg, expected_best_svg
from service.output.forest import colour_of, forest_svg, rows_of
from service.output.heading import caveats, design, history
from service.output.heat import surface_svg
from service.output.marks import theme_css
from service.output.paste import lines_to_paste
from service.output.reading import all_tables
from service.output.tables import Table, runs, winners
from service.output.terms import TITLE, terms_for

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Mapping[str, Any]) -> str:
    """The page, for light and dark, wide and narrow screens."""
    tables = {table.name: table for table in all_tables(report)}
    body = [
        *_head(report),
        *_verdicts(report),
        *_notes(report),
        *_history(report),
        *_section("Effects on one axis", [_figure(forest_svg(rows_of(report), report["margin"]), _FOREST)])
        * bool(report["comparisons"]),
        *_tables(tables, "arms", "effects", "improvement"),
        *_budget(report, tables),
        *_tables(tables, "tunability", "times", "sensitivity"),
        *_surfaces(report),
        *_tables(tables, "mechanism"),
        *_paste(report),
        *_raw(report),
        *_terms(report),
        _foot(report),
    ]
    return document(str(report["study"]), body)


_FOREST = "Dot: effect; bar: 95 % interval; grey: margin of practical equivalence. Left of 0 the challenger is better."


def document(title: str, body: Iterable[str]) -> str:
    """A page around its body."""
    css = theme_css() + (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{css}</style>\n</head>\n<body>\n<main>\n"
    )
    return head + "\n".join(body) + "\n</main>\n</body>\n</html>\n"


def _head(report: Mapping[str, Any]) -> Iterable[str]:
    yield f"<h1>{escape(str(report['study']))}</h1>"
    yield f'<p class="lead">{escape(" · ".join(design(report)))}</p>'
    yield from (f'<p class="remark"><strong>{escape(text)}</strong></p>' for text in caveats(report))


def _verdicts(report: Mapping[str, Any]) -> Iterable[str]:
    yield '<section class="verdicts">'
    for pair in report["comparisons"]:
        verdict = pair["verdict"]
        name = f"{pair['challenger']} against {pair['baseline']}"
        yield (
            f'<article class="card {colour_of(verdict["kind"])}"><div class="pair">{escape(name)}</div>'
            f'<div class="words">{escape(_capital(verdict["words"]))}</div>'
            f'<p class="sentence">{escape(verdict["sentence"])}</p></article>'
        )
    yield "</section>"
    if not report["comparisons"]:
        yield "<p>No pair was declared: the report describes its arms and compares nothing.</p>"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _notes(report: Mapping[str, Any]) -> Iterable[str]:
    if report["notes"]:
        yield from _section("Read with care", _list(report["notes"]))


def _history(report: Mapping[str, Any]) -> Iterable[str]:
    if said := history(report):
        yield from _section("How it came about", _list(said))


def _list(sentences: Iterable[str]) -> list[str]:
    return ["<ul>", *(f"<li>{escape(sentence)}</li>" for sentence in sentences), "</ul>"]


def _section(title: str, parts: Iterable[str]) -> list[str]:
    return [f"<h2>{escape(title)}</h2>", *parts]


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _tables(tables: Mapping[str, Table], *names: str) -> Iterable[str]:
    for name in names:
        if name in tables:
            yield from _section(tables[name].title, table_html(tables[name]))


def table_html(table: Table) -> Iterable[str]:
    """A table in a box that scrolls sideways, its remark and its method."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    yield f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>'
    for row in table.rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div>"
    if table.remark:
        yield f'<p class="remark">{escape(table.remark)}</p>'
    if table.method:
        yield f'<p class="method">{escape(table.method)}</p>'


def _budget(report: Mapping[str, Any], tables: Mapping[str, Table]) -> Iterable[str]:
    axes = ("trials", "steps", "device_s") if steps_of_each_trial(report) is None else ("trials", "device_s")
    figures = [
        *(expected_best_svg(report, axis) for axis in axes),
        *(difference_svg(report, pair, axis) for pair in report["estimates"]["difference"]["pairs"] for axis in axes),
    ]
    drawn = [f"<figure>{svg}</figure>" for svg in figures if svg]
    found = [report["estimates"][name] for name in ("expected_best", "difference")]
    remarks = dict.fromkeys(entry["remark"] for entry in found if entry["remark"])
    said = [f'<p class="remark">{escape(remark)}</p>' for remark in remarks]
    said += [
        f'<p class="method">{escape(_capital(entry["estimator"]))}. Source: {escape(entry["source"])}.</p>'
        for entry in found
    ]
    if drawn or remarks:
        parts = ['<div class="figures">', *drawn, "</div>", *said]
        yield from _section("What tuning buys", parts)
    if "budget" in tables:
        yield from _folded(tables["budget"])


def _surfaces(report: Mapping[str, Any]) -> Iterable[str]:
    found = report["estimates"]["surface"]
    if found["arms"]:
        drawn = [_figure(surface_svg(entry), _capital(found["estimator"]) + ".") for entry in found["arms"]]
        yield from _section("delta and wd_ratio", ['<div class="figures">', *drawn, "</div>"])


def _paste(report: Mapping[str, Any]) -> Iterable[str]:
    blocks = [lines for arm in report["arms"] if (lines := lines_to_paste(arm))]
    if blocks:
        yield from _section("To paste", [f"<pre>{escape(chr(10).join(lines))}</pre>" for lines in blocks])


def _raw(report: Mapping[str, Any]) -> Iterable[str]:
    tables = [winners(report), *(runs(report, pair) for pair in report["comparisons"])]
    shown = [table for table in tables if table.rows]
    if not shown:
        return
    yield "<h2>Every number behind the verdicts</h2>"
    yield "<p class='method'>Each run is a trial: <code>tangent reproduce STUDY TRIAL</code> runs it again.</p>"
    for table in shown:
        yield from _folded(table)


def _folded(table: Table) -> Iterable[str]:
    yield f"<details><summary>{escape(table.title)}</summary>"
    yield from table_html(table)
    yield "</details>"


def _terms(report: Mapping[str, Any]) -> Iterable[str]:
    entries = (f"<dt>{escape(term)}</dt><dd>{escape(said)}</dd>" for term, said in terms_for(report["metric"]))
    yield from _section(TITLE, ["<dl>", *entries, "</dl>"])


def _foot(report: Mapping[str, Any]) -> str:
    code = f" · training code {escape(str(report['code_revision']))[:12]}" if report["code_revision"] else ""
    is_frozen = report.get("registration", {}).get("is_preregistered", True)
    frozen = "Spec, frozen before the first trial" if is_frozen else "Spec, written when the study was imported"
    seed = "" if report["seed"] is None else f" · seed {report['seed']}"
    return (
        f"<footer>{frozen}: <code>{escape(report['spec_hash'])}</code>{seed}{code}. "
        "Chosen on validation, reported on test; the unit of replication is the tuning replicate.</footer>"
    )
