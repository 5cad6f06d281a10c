"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from service.output.heading import caveats, design, history
from service.output.paste import lines_to_paste
from service.output.reading import all_tables
from service.output.tables import Table
from service.output.terms import TITLE, terms_for


def markdown(report: Mapping[str, Any]) -> str:
    """The whole report as GitHub-flavoured Markdown: verdicts first, then notes, tables, lines to paste."""
    parts = [f"# {plain(report['study'])}", head_line(report), "## Verdicts", *_verdicts(report)]
    if said := history(report):
        parts += ["## How it came about", _bullets(said)]
    if report["notes"]:
        parts += ["## Notes", _bullets(report["notes"])]
    parts += [part for table in all_tables(report) for part in table_parts(table)]
    pasted = [line for arm in report["arms"] for line in [*lines_to_paste(arm), ""]]
    if any(pasted):
        parts += ["## To paste", "```python\n" + "\n".join(pasted).strip() + "\n```"]
    parts += terms_parts(report["metric"])
    return "\n\n".join(parts) + "\n"


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {plain(sentence)}" for sentence in sentences)


def head_line(report: Mapping[str, Any]) -> str:
    """What was compared on what, with the hash of the frozen spec."""
    parts = [*design(report), f"spec {report['spec_hash'][:12]}"]
    return " ".join([plain(" · ".join(parts)), *caveats(report)])


def _verdicts(report: Mapping[str, Any]) -> Iterable[str]:
    for pair in report["comparisons"]:
        yield f"**{pair['challenger']} against {pair['baseline']}: {plain(pair['verdict']['words'])}**"
        yield plain(pair["verdict"]["sentence"])


def terms_parts(metric: str) -> list[str]:
    """The words that the report uses, with what they mean."""
    return [f"## {TITLE}", "\n".join(f"- **{term}**: {plain(said)}." for term, said in terms_for(metric))]


def table_parts(table: Table) -> list[str]:
    """Title, rows, remark and method."""
    lines = [_line(table.header), "|" + " --- |" + " ---: |" * (len(table.header) - 1)]
    lines += [_line(row) for row in table.rows]
    parts = [f"## {table.title}", "\n".join(lines)]
    parts += [plain(table.remark)] if table.remark else []
    return parts + ([f"*{plain(table.method)}*"] if table.method else [])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(plain(cell).replace("|", "\\|") for cell in cells) + " |"


def plain(text: str) -> str:
    """Text in which Markdown sees nothing but text, on one line."""
    flat = " ".join(str(text).split())
    for mark in "\\`*_<[":
        flat = flat.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return flat
