"""A check as Markdown, for a job's summary or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.domain.checks import Check, Finding, LayerResult
from service.render import human_time
from workers.check.output.document import Outcome
from workers.check.output.words import heading, layer_sentence, noteworthy, verdict_sentence

_MARKS = {"PASS": "✅", "FAIL": "❌", "CHANGED": "⚠️", "INCONCLUSIVE": "❔", "SKIPPED": "➖"}


def to_markdown(outcome: Outcome) -> str:
    """All checks of one call."""
    blocks = [block for check in outcome.checks for block in _check(check)]
    if outcome.error:
        blocks.append(f"## ❌ tangent check: no verdict\n\n{_text(outcome.error)}")
    blocks.append(f"Exit code {outcome.exit_code}.")
    return "\n\n".join(blocks) + "\n"


def _check(check: Check) -> Iterator[str]:
    verdict = check.verdict.value
    yield f"## {_MARKS[verdict]} tangent check {check.name}: {verdict}"
    yield f"{_text(heading(check))}, {human_time(check.duration_s)}. {_text(_sentence(verdict_sentence(check)))}"
    yield _table(check)
    for finding in noteworthy(check):
        yield from _finding(finding)
    if any(layer.findings for layer in check.layers):
        yield _everything(check)


def _table(check: Check) -> str:
    rows = [_layer_row(layer) for layer in check.layers]
    return "\n".join(["| layer | verdict | time | |", "|---|---|---|---|", *rows])


def _layer_row(layer: LayerResult) -> str:
    verdict = layer.verdict.value
    time = human_time(layer.duration_s) if layer.findings else "–"
    return f"| {layer.layer.value} | {_MARKS[verdict]} {verdict} | {time} | {_cell(layer_sentence(layer))} |"


def _finding(finding: Finding) -> Iterator[str]:
    yield f"### {finding.verdict.value} · {finding.layer.value}: {finding.name}"
    yield _text(_sentence(finding.sentence))
    if finding.explanation:
        yield _explanation(finding.explanation)
    if finding.script:
        yield "A script that shows it:"
        yield _fenced(finding.script, "python")
    if finding.command:
        yield "Again:"
        yield _fenced(finding.command, "shell")


def _everything(check: Check) -> str:
    found = [finding for layer in check.layers for finding in layer.findings]
    rows = [
        f"| {finding.layer.value} | {finding.name} | {finding.verdict.value} | {_cell(finding.sentence)} |"
        for finding in found
    ]
    table = "\n".join(["| layer | finding | verdict | |", "|---|---|---|---|", *rows])
    return f"<details><summary>All {len(found)} findings</summary>\n\n{table}\n\n</details>"


def _explanation(text: str) -> str:
    return _fenced(text, "") if "\n" in text else _text(_sentence(text))


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _cell(text: str) -> str:
    return _text(" ".join(text.split())).replace("|", "\\|")


def _text(text: str) -> str:
    """Text that may hold code's characters: none of it becomes markup."""
    return re.sub(r"([\\`*_<>\[\]#~])", r"\\\1", text)
