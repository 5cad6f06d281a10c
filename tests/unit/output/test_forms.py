"""Reports as files: complete, escaped, self-contained, and defined where there is little."""

import csv
import dataclasses
import io
import itertools
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from service.domain.report_input import ArmInput
from service.domain.trial import LayerMeasurement
from service.domain.wording import percent
from service.output.budget_table import budget
from service.output.forms import FIGURES, MEDIA_TYPES, render
from service.output.marks import DARK, LIGHT, ticks
from service.output.paste import best_winner, lines_to_paste
from tests.reference import estimates_oracle as oracle
from tests.unit.domain.estimate_cases import ARMS, document, full_source
from tests.unit.domain.report_cases import confirms, damaged_study, diverge

VOID = {"meta", "br", "rect", "line", "circle", "path", "polygon", "polyline"}
TEXT_FORMS = ("md", "html", "svg")
HOSTILE = '<script>alert("1")</script> | *x* `y` & ]]>'


@pytest.fixture(scope="module")
def report():
    source = full_source(replicates=6)
    runs = [t.number for t in source.trials if confirms("adamp")(t)]
    layers = [LayerMeasurement(n, "conv", e, 1.0 + e, 0.1, 0.5, True) for n in runs for e in (0, 1)]
    return document(dataclasses.replace(source, layers=layers, code_revision="c0de" * 16))


def degenerate():
    source = full_source()
    yield "nothing", dataclasses.replace(source, trials=(), curves=(), importances={})
    yield "running", dataclasses.replace(source, trials=source.trials[:40], is_finished=False, curves=())
    yield "all diverged", dataclasses.replace(source, trials=diverge(source.trials, lambda _: True))
    yield "no pair", dataclasses.replace(source, compare=())
    yield "one replicate", full_source(replicates=1)
    yield "one trial", full_source(n_trials=2, replicates=3, confirm_seeds=1)
    for seed in range(8):
        yield f"damaged {seed}", damaged_study(seed)


class Checker(HTMLParser):
    """Every element is closed in order; collects attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, _, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parsed(html):
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    return checker


class TestPage:
    def test_holds_verdicts_tables_figures_and_the_hash(self, report):
        checker = parsed(render(report, "html"))
        said = " ".join(checker.words)
        for pair in report["comparisons"]:
            assert pair["verdict"]["sentence"] in said
        for part in (
            "Tunability",
            "What tuning buys",
            "To paste",
            "steps projected",
            "0" * 64,
            "Chosen configurations",
            "What the words mean",
            "margin 5 %",
        ):
            assert part in said
        assert render(report, "html").count("<svg") == 8

    def test_asks_for_nothing_and_runs_nothing(self, report):
        html = render(report, "html")
        names = {name for name, _ in parsed(html).attributes}
        assert not names & {"src", "href", "srcset", "data", "poster", "action", "onload", "onclick"}
        assert "<script" not in html
        assert "@import" not in html
        assert "url(" not in html
        assert set(re.findall(r"https?://[^\"' ]+", html)) == {"http://www.w3.org/2000/svg"}
        assert "default-src 'none'" in html

    def test_a_hostile_name_stays_text(self):
        arm = dataclasses.replace(ARMS[0], optimizer=HOSTILE)
        source = dataclasses.replace(
            full_source(), study=HOSTILE, metric=HOSTILE, workload=HOSTILE, arms=(arm, *ARMS[1:])
        )
        for form in ("html", "svg"):
            assert "<script>" not in render(document(source), form)
        assert HOSTILE in " ".join(parsed(render(document(source), "html")).words)
        assert "&lt;script>" in render(document(source), "md")
        ElementTree.fromstring(render(document(source), "svg"))


@pytest.mark.parametrize(
    ("name", "source"), list(degenerate()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_degenerate_reports_have_every_form(name, source):
    report = document(source)
    for form in ("json", "md", "html", "csv"):
        text = render(report, form)
        assert text
        if form in TEXT_FORMS:
            assert not re.search(r"\bnan\b|\bNone\b|\binf\b", text), re.search(r".{60}(\bnan\b|\bNone\b|\binf\b)", text)
    parsed(render(report, "html"))
    for figure in FIGURES:
        try:
            ElementTree.fromstring(render(report, "svg", figure))
        except ValueError as error:
            assert "nothing to draw" in str(error)  # noqa: PT017


def test_an_unknown_form_or_figure_names_the_known_ones(report):
    with pytest.raises(ValueError, match="forms json, md, html, csv, svg, not 'pdf'"):
        render(report, "pdf")
    with pytest.raises(ValueError, match="figures effects, expected-best, difference, surface, not 'pie'"):
        render(report, "svg", "pie")
    assert set(MEDIA_TYPES) == {"json", "md", "html", "csv", "svg"}


def test_a_curve_can_be_had_against_any_cost_and_of_any_arm(report):
    assert "training steps of one search" in render(report, "svg", "expected-best", axis="steps")
    assert "seconds of one slot" in render(report, "svg", "difference", axis="device_s", arm="tuned")
    assert "tuned against" in render(report, "svg", "difference", arm="tuned")
    assert "tuned" in render(report, "svg", "surface", arm="tuned")
    with pytest.raises(ValueError, match="against trials, steps, device_s, not 'hours'"):
        render(report, "svg", "expected-best", axis="hours")
    with pytest.raises(ValueError, match="nothing to draw as 'surface' of 'adamw'"):
        render(report, "svg", "surface", arm="adamw")


def test_the_table_of_the_budget_is_the_curves_and_says_why_none_is_drawn_against_steps(report):
    table = budget(report)
    assert table.header[1:5] == ("1 trial", "2 trials", "3 trials", "5 trials")
    rows = {row[0]: row for row in table.rows}
    for arm in ("adamw", "adamp", "tuned"):
        expected = oracle.expected_best(report, arm)
        assert rows[arm][1:5] == tuple(f"{expected[n - 1]:.4g}" for n in (1, 2, 3, 5))
    means, _ = oracle.difference(report, "adamw", "adamp")
    assert rows["adamp against adamw"][3] == percent(means[2])
    assert table.remark == "Every trial trained 96 steps: against training steps the curves are those against trials."
    assert "training steps of one search" not in render(report, "html")


def test_trials_of_unequal_length_have_a_curve_against_steps():
    source = full_source(replicates=3)
    trials = [dataclasses.replace(t, n_steps=48) if t.arm == "adamp" else t for t in source.trials]
    longer = document(dataclasses.replace(source, trials=trials))
    assert budget(longer).remark is None
    assert "training steps of one search" in render(longer, "html")


def test_markdown_tables_have_as_many_cells_in_every_line(report):
    text = render(report, "md")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert "**adamp against adamw: " in text
    assert "optimizer = AdamP(model.parameters()" in text


def test_csv_has_the_raw_value_of_every_confirm_run(report):
    rows = list(csv.DictReader(io.StringIO(render(report, "csv"))))
    runs = [run for arm in report["arms"] for run in arm["confirm_runs"]]
    assert [float(row["value"]) for row in rows] == [run["value"] for run in runs]
    assert [int(row["trial"]) for row in rows] == [run["trial"] for run in runs]
    assert float(rows[0]["metrics.test_accuracy"]) == runs[0]["metrics"]["test_accuracy"]


class TestPictures:
    @pytest.mark.parametrize("figure", FIGURES)
    def test_are_whole_files_with_a_description(self, report, figure):
        root = ElementTree.fromstring(render(report, "svg", figure))
        assert root.get("aria-label")
        width, height = (float(root.get(side)) for side in ("width", "height"))
        for element in root.iter("{http://www.w3.org/2000/svg}text"):
            assert 0 <= float(element.get("x")) <= width
            assert 0 <= float(element.get("y")) <= height

    @pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
    def test_text_can_be_read_on_either_background(self, palette):
        for name in set(palette) - {"paper", "grid", "zone"}:
            assert contrast(palette[name], palette["paper"]) >= 4.5, name

    def test_ticks_are_round_inside_and_few(self):
        for low, high, is_log in itertools.product((0.013, 0.2, 1), (1.1, 3, 950), (True, False)):
            found = ticks(low, high, is_log=is_log)
            assert 1 <= len(found) <= 7
            assert all(low <= tick <= high for tick in found)


def contrast(first, second):
    """WCAG 2.2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class TestPaste:
    def test_the_best_winner_on_validation_is_constructed(self, report):
        arm = report["arms"][1]
        lines = lines_to_paste(arm)
        winner = best_winner(arm)
        assert winner["select_mean"] == min(w["select_mean"] for w in arm["winners"])
        assert lines[0] == "from adamp import AdamP"
        assert f"lr={winner['params']['lr']:.4g}" in lines[1]
        assert f"trial {winner['trial']}" in lines[2]
        assert "one parameter group" in lines[3]

    def test_a_plugin_is_imported_from_its_module_and_an_unknown_one_is_left_out(self):
        arms = tuple(
            ArmInput(arm.name, name, "other", arm.search)
            for arm, name in zip(ARMS, ("my.lib:Lion", "Gone", "SGD"), strict=True)
        )
        found = [lines_to_paste(arm) for arm in document(dataclasses.replace(full_source(), arms=arms))["arms"]]
        assert found[0][0] == "from my.lib import Lion"
        assert found[1] == []
        assert found[2][0] == "from torch.optim import SGD"
