"""A check on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.domain.checks import Check, Finding
from service.render import human_time
from workers.check.output.words import heading, noteworthy, verdict_sentence

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
    console.print(_table(check), soft_wrap=False)
    for finding in noteworthy(check):
        for line in _finding(finding):
            console.print(line, soft_wrap=True)
    verdict = check.verdict.value
    last = Text.assemble((verdict, _STYLES[verdict]), f"  {check.name}: {verdict_sentence(check)}")
    console.print(last.append(f" ({human_time(check.duration_s)})", style="dim"), soft_wrap=True)


def _table(check: Check) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1))
    table.add_column("layer", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("finding", overflow="fold")
    table.add_column("", overflow="fold")
    for layer in check.layers:
        time = f"  {human_time(layer.duration_s)}" if layer.findings else ""
        name = Text.assemble(layer.layer.value, (time, "dim"))
        for i, finding in enumerate(layer.findings):
            table.add_row(name if i == 0 else "", _verdict(finding.verdict.value), finding.name, finding.sentence)
        if layer.reason or not layer.findings:
            verdict = "" if layer.findings else _verdict(layer.verdict.value)
            table.add_row("" if layer.findings else name, verdict, "", Text(layer.reason, style="dim"))
    return table


def _verdict(verdict: str) -> Text:
    return Text(verdict, style=_STYLES[verdict])


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
