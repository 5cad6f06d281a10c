"""A check on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
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


def check_view(check: Check, console: Console) -> RenderableType:
    """What was compared, every finding in a line, those that did not pass in full, and the verdict last."""
    parts: list[RenderableType] = [Text(f"\n{check.name}  {heading(check)}", style="bold"), _table(check)]
    for finding in noteworthy(check):
        parts += _finding(finding, console)
    verdict = check.verdict.value
    last = Text.assemble((verdict, _STYLES[verdict]), f"  {check.name}: {verdict_sentence(check)}")
    last.append(f" ({human_time(check.duration_s)})", style="dim")
    return Group(*parts, last)


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


def _finding(finding: Finding, console: Console) -> Iterator[RenderableType]:
    verdict = finding.verdict.value
    yield Text.assemble((verdict, _STYLES[verdict]), f"  {finding.layer.value}: {finding.name}")
    yield _indented(Text(finding.sentence))
    if finding.explanation:
        yield _indented(Text(finding.explanation))
    if finding.script:
        yield _indented(Text("a script that shows it:", style="dim"))
        yield _indented(_code(finding.script, console), 4)
    if finding.command:
        yield _indented(Text(f"again: {finding.command}", style="dim"))
    yield Text("")


def _code(script: str, console: Console) -> RenderableType:
    """Coloured on a terminal; plain elsewhere, where padding and colours would hinder copying."""
    if console.is_terminal:
        return Syntax(script.rstrip(), "python", theme="ansi_dark", background_color="default")
    return Text(script.rstrip())


def _indented(what: RenderableType, by: int = 2) -> Padding:
    return Padding(what, (0, 0, 0, by), expand=False)
