"""A check on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import indent

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.domain.checks import Check, Finding, LayerResult
from service.render import human_time
from workers.check.output.words import heading, noteworthy, verdict_sentence

_NARROW = 100
"""Columns below which a finding's name gives way to its sentence."""
_STYLES = {
    "PASS": "green",
    "FAIL": "bold red",
    "CHANGED": "bold yellow",
    "INCONCLUSIVE": "bold yellow",
    "SKIPPED": "dim",
}


def print_check(check: Check, console: Console) -> None:
    """What was compared, every finding in a line, those that did not pass in full, and the verdict last.

    Only the table is wrapped: commands and scripts must be whole lines to be copied.
    """
    console.print(Text(f"\n{check.name}  {heading(check)}", style="bold"), soft_wrap=True)
    for layer in check.layers:
        console.print(_layer(layer), soft_wrap=True)
        if layer.findings:
            console.print(_table(layer.findings, console.width), soft_wrap=False)
    console.print()
    for finding in noteworthy(check):
        for line in _finding(finding):
            console.print(line, soft_wrap=True)
    verdict = check.verdict.value
    last = Text.assemble((verdict, _STYLES[verdict]), f"  {check.name}: {verdict_sentence(check)}")
    console.print(last.append(f" ({human_time(check.duration_s)})", style="dim"), soft_wrap=True)


def _layer(layer: LayerResult) -> Text:
    time = f"  {human_time(layer.duration_s)}" if layer.findings else ""
    verdict = layer.verdict.value
    line = Text.assemble((f"{layer.layer.value:10}", "bold"), (verdict, _STYLES[verdict]), (time, "dim"))
    return line.append(f"  {layer.reason}", style="dim") if layer.reason else line


def _table(findings: Sequence[Finding], width: int) -> Table:
    """A line for each finding; without its name where there is little room, because the sentence says most of it."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    if width >= _NARROW:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        verdict = finding.verdict.value
        names = [finding.name] if width >= _NARROW else []
        table.add_row(Text(f"  {verdict}", style=_STYLES[verdict]), *names, finding.sentence)
    return table


def _finding(finding: Finding) -> Iterator[Text]:
    verdict = finding.verdict.value
    yield Text.assemble((verdict, _STYLES[verdict]), f"  {finding.layer.value}: {finding.name}")
    yield Text(f"  {finding.sentence}")
    if finding.explanation:
        yield Text(indent(finding.explanation, "  "))
    if finding.script:
        yield Text("  a script that shows it:", style="dim")
        yield Text(finding.script.rstrip())  # not indented: it is there to be copied
    if finding.command:
        yield Text(f"  again: {finding.command}", style="dim")
    yield Text("")
