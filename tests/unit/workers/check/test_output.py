"""A check in each form: everything that a person needs stands in it, and nothing in it breaks the form."""

import io
import re
from xml.etree import ElementTree as ET

from rich.console import Console

from service.domain.checks import Check, CheckVerdict, Finding, Layer, LayerResult
from tests.unit.domain.check_cases import check, full_check, layered
from workers.check.output.document import Outcome
from workers.check.output.junit import to_junit
from workers.check.output.markdown import to_markdown
from workers.check.output.terminal import print_check

FAILED = next(finding for finding in full_check().layers[0].findings if finding.verdict is CheckVerdict.FAIL)


def terminal(made: Check, width: int = 120) -> str:
    stream = io.StringIO()
    print_check(made, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def cases(text: str) -> dict[str, ET.Element]:
    return {str(case.get("name")): case for case in ET.fromstring(text).iter("testcase")}


def test_the_terminal_shows_every_finding_and_all_of_a_failure_in_lines_that_can_be_copied() -> None:
    for width in (60, 120):
        text = terminal(full_check(), width)
        lines = text.splitlines()
        assert f"  again: {FAILED.command}" in lines
        assert f"  {FAILED.sentence}" in lines
        assert f"  {FAILED.explanation}" in lines
        assert "print('``` <b>')" in lines
        assert lines[-1] == "FAIL  adamp: numerics: float64-trajectories (1 min 2 s)"
    for layer in full_check().layers:
        assert all(finding.name in text and finding.sentence in text for finding in layer.findings)
    assert "not run: numerics failed, which decides" in text


def test_the_terminal_names_both_sides_and_the_seed() -> None:
    assert (
        "adamp  adamp:AdamP: the working tree (0123456789ab-dirty) against main (0123456789ab), seed 3"
        in terminal(full_check()).splitlines()
    )


def test_markdown_is_not_broken_by_what_findings_say() -> None:
    text = to_markdown(Outcome((full_check(),), 1))
    assert "## ❌ tangent check adamp: FAIL" in text
    script = re.search(r"\n(`{4,})python\n(.*?)\n\1\n", text, re.DOTALL)
    assert script is not None, "the fence is longer than the backticks in the script"
    assert script[2] == FAILED.script.rstrip()
    assert f"```shell\n{FAILED.command}\n```" in text
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert "Exit code 1." in text


def test_a_change_of_behaviour_says_how_to_acknowledge_it_and_by_what_it_was() -> None:
    changed = check(layered(CheckVerdict.CHANGED, Layer.TRAINING))
    for text in (terminal(changed), to_markdown(Outcome((changed,), 5)).replace("\\", "")):
        assert "--behaviour-change-expected" in text
        assert "Tangent-Check: behaviour-change" in text
    agreed = check(layered(CheckVerdict.CHANGED, Layer.TRAINING), acknowledged="commit trailer")
    assert "PASS" in terminal(agreed).splitlines()[-1]
    assert "acknowledged by commit trailer" in terminal(agreed)


def test_inconclusive_is_said_loudly() -> None:
    made = check(layered(CheckVerdict.INCONCLUSIVE))
    assert terminal(made).splitlines()[-1].startswith("INCONCLUSIVE  adamp: not decided")
    assert "INCONCLUSIVE" in to_markdown(Outcome((made,), 0)).splitlines()[0]


def test_junit_has_a_case_for_each_layer_and_finding() -> None:
    text = to_junit(Outcome((full_check(),), 1))
    found = cases(text)
    assert list(found) == [
        "numerics",
        "numerics: delta-zero-is-adamw",
        "numerics: float64-trajectories",
        "speed",
        "speed: step-time",
        "speed: aten-operators",
        "training",
    ]
    failures = [name for name, case in found.items() if case.find("failure") is not None]
    assert failures == ["numerics", "numerics: float64-trajectories", "speed", "speed: aten-operators"]
    (suite,) = ET.fromstring(text)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped"), suite.get("errors")) == (
        "7",
        "4",
        "1",
        "0",
    )
    detail = found["numerics: float64-trajectories"].findtext("failure") or ""
    assert all(part in detail for part in (FAILED.explanation, FAILED.script, FAILED.command))


def test_junit_counts_an_acknowledged_change_as_passed() -> None:
    agreed = check(layered(CheckVerdict.CHANGED, Layer.TRAINING), acknowledged="label")
    assert "<failure" not in to_junit(Outcome((agreed,), 0))


def test_junit_holds_what_xml_cannot() -> None:
    odd = Finding(Layer.SPEED, "odd", CheckVerdict.FAIL, "a\x00b\x1b[31m <&> \ud800", script="print('\x07')\n")
    found = cases(to_junit(Outcome((check(LayerResult(Layer.SPEED, (odd,))),), 1)))
    failure = found["speed: odd"].find("failure")
    assert failure is not None
    assert failure.get("message") == "a�b�[31m <&> �"


def test_an_error_without_a_verdict_stands_in_every_file() -> None:
    outcome = Outcome((), 4, "there is no baseline: *the* history <is> one commit")
    assert "no verdict" in to_markdown(outcome)
    assert "\\*the\\* history \\<is\\> one commit" in to_markdown(outcome)
    error = cases(to_junit(outcome))["start"].find("error")
    assert error is not None
    assert error.get("message") == outcome.error
