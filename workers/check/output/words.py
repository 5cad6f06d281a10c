"""The sentences and blocks that all forms of a check's report share."""

from __future__ import annotations

from collections.abc import Iterator

from service.domain.checks import Check, CheckVerdict, Finding, LayerResult


def heading(check: Check) -> str:
    """What was compared with what."""
    return f"{check.candidate.optimizer}: {check.candidate.words} against {check.baseline.words}, seed {check.seed}"


def verdict_sentence(check: Check) -> str:
    """What the whole check came to, and what that asks of the reader."""
    changed = [layer.layer.value for layer in check.layers if layer.verdict is CheckVerdict.CHANGED]
    if check.verdict is CheckVerdict.CHANGED:
        return (
            f"it behaves otherwise than the baseline ({', '.join(changed)}); if that is meant, acknowledge it: "
            "--behaviour-change-expected, the commit trailer `Tangent-Check: behaviour-change`, or the pull request's "
            "label `behaviour-change`"
        )
    if check.verdict is CheckVerdict.INCONCLUSIVE:
        return "not decided: neither harm nor the absence of harm was shown; it blocks with --strict only"
    if check.verdict is CheckVerdict.PASS and changed:
        return f"it behaves otherwise than the baseline ({', '.join(changed)}); acknowledged by {check.acknowledged}"
    if check.verdict is CheckVerdict.SKIPPED:
        return "nothing was compared"
    failed = [finding for finding in noteworthy(check) if finding.verdict is CheckVerdict.FAIL]
    return ", ".join(f"{finding.layer.value}: {finding.name}" for finding in failed) or "no harm found"


def noteworthy(check: Check) -> list[Finding]:
    """The findings that did not pass."""
    found = (finding for layer in check.layers for finding in layer.findings)
    return [finding for finding in found if finding.verdict not in (CheckVerdict.PASS, CheckVerdict.SKIPPED)]


def layer_sentence(layer: LayerResult) -> str:
    """A layer in one line: how many findings came to what, and why it ended early."""
    counts: dict[CheckVerdict, int] = {}
    for finding in layer.findings:
        counts[finding.verdict] = counts.get(finding.verdict, 0) + 1
    words = ", ".join(f"{n} {verdict.value}" for verdict, n in sorted(counts.items(), key=lambda entry: entry[0].value))
    return "; ".join(part for part in (words, layer.reason) if part)


def details(finding: Finding) -> Iterator[str]:
    """Blocks of text below a finding's sentence: explanation, script, command."""
    if finding.explanation:
        yield finding.explanation
    if finding.script:
        yield f"a script that shows it:\n{finding.script}"
    if finding.command:
        yield f"again: {finding.command}"
