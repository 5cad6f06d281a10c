"""A check as JUnit XML: one test case for each layer and finding."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from service.domain.checks import Check, CheckVerdict, Finding, LayerResult
from workers.check.output.document import Outcome
from workers.check.output.words import details, layer_sentence

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""
_FAILURES = (CheckVerdict.FAIL, CheckVerdict.CHANGED)


def to_junit(outcome: Outcome) -> str:
    """The XML: failures are findings that failed or changed; what is inconclusive passes with a word in its output."""
    root = ET.Element("testsuites", name="tangent check")
    for check in outcome.checks:
        _add_suite(root, check)
    if outcome.error:
        suite = ET.SubElement(root, "testsuite", name="tangent check", tests="1", failures="0", errors="1")
        case = ET.SubElement(suite, "testcase", classname="tangent.check", name="start")
        ET.SubElement(case, "error", message=_clean(outcome.error))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_suite(root: ET.Element, check: Check) -> None:
    suite = ET.SubElement(root, "testsuite", name=f"tangent check {check.name}", timestamp=check.created_at)
    for layer in check.layers:
        _add_layer(suite, check, layer)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    suite.set("errors", "0")
    suite.set("time", f"{check.duration_s:.2f}")


def _add_layer(suite: ET.Element, check: Check, layer: LayerResult) -> None:
    """A case for the layer as a whole, with its time, and one for each finding."""
    case = _case(suite, check, layer.layer.value, layer.duration_s)
    if layer.verdict is CheckVerdict.SKIPPED:
        ET.SubElement(case, "skipped", message=_clean(layer.reason))
    elif layer.verdict in _FAILURES and not _is_acknowledged(check, layer.verdict):
        ET.SubElement(case, "failure", message=_clean(layer_sentence(layer)))
    else:
        ET.SubElement(case, "system-out").text = _clean(layer_sentence(layer))
    for finding in layer.findings:
        _add_finding(suite, check, finding)


def _add_finding(suite: ET.Element, check: Check, finding: Finding) -> None:
    case = _case(suite, check, f"{finding.layer.value}: {finding.name}", 0.0)
    if finding.verdict in _FAILURES and not _is_acknowledged(check, finding.verdict):
        failure = ET.SubElement(case, "failure", message=_clean(finding.sentence), type=finding.verdict.value)
        failure.text = _clean("\n\n".join(details(finding)))
    elif finding.verdict is CheckVerdict.SKIPPED:
        ET.SubElement(case, "skipped", message=_clean(finding.sentence))
    else:
        ET.SubElement(case, "system-out").text = _clean(f"{finding.verdict.value}: {finding.sentence}")


def _case(suite: ET.Element, check: Check, name: str, duration_s: float) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", classname=f"tangent.check.{check.name}", name=name, time=f"{duration_s:.2f}"
    )


def _is_acknowledged(check: Check, verdict: CheckVerdict) -> bool:
    return bool(check.acknowledged) and verdict is CheckVerdict.CHANGED


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
