"""`python -m service.output.results`: write docs/results.md and its picture from the reports in docs/results/*.json.

The page says what came out, whatever it was. A test fails where the page is not what this command writes. With
`--check` nothing is written, and the exit code is 1 where the page is out of date. A report is added by
`tangent report ID --format json -o docs/results/NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.domain.wording import count
from service.output.budget_table import budget
from service.output.charts import expected_best_svg
from service.output.earlier import FILE as EARLIER
from service.output.earlier import earlier_section
from service.output.equal_arms import equal_arms_section
from service.output.forest import forest_svg, rows_of
from service.output.heading import caveats, design, history, machines, took
from service.output.heat import surface_svg
from service.output.markdown import plain, table_parts, terms_parts
from service.output.numbers import seconds
from service.output.suites import suite_section
from service.output.tables import arms, effects, improvement, mechanism, sensitivity, times, tunability

Report = Mapping[str, Any]
COMMAND = "python -m service.output.results"
_DIFFERENT = ("better", "worse")


EQUAL_ARMS = "equal-arms.json"
_CONTROLS = "controls"
_LONGER = "-longer"


@dataclass(frozen=True)
class Published:
    """What the page is written from.

    Attributes:
        reports: File names with what they hold, in the order of the page.
        equal_arms: The studies of one optimizer that were compared with one another; None where there are none.
        earlier: Figures of earlier measurements; None where there are none.
        not_run: Study files that have no report yet, by name.
    """

    reports: Sequence[tuple[str, Report]] = ()
    equal_arms: Mapping[str, Any] | None = None
    earlier: Mapping[str, Any] | None = None
    not_run: Sequence[str] = ()


def results_page(published: Published) -> str:
    """The page."""
    reports = published.reports
    parts = ["# Results", _INTRODUCTION]
    if published.not_run:
        parts.append(f"Written down but not run yet: {plain(', '.join(published.not_run))}.")
    if not reports:
        parts.append("No study has been published yet.")
    else:
        parts += ["## All verdicts", _overview(reports), *_twins(reports), *suite_section([r for _, r in reports])]
    if published.equal_arms is not None:
        parts += equal_arms_section(published.equal_arms, EQUAL_ARMS)
    if published.earlier is not None:
        parts += earlier_section([report for _, report in reports], published.earlier)
    for name, report in reports:
        parts += _study(name, report)
    parts += terms_parts("test NLL") if reports else []
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = (
    f"Written by `{COMMAND}` from the files in `docs/results/`; a test fails where the page was edited by hand. "
    "`python -m tests.results.make` runs the studies in `docs/results/studies/` and puts their reports here. Every "
    "verdict stands as it fell. Change: of the test endpoint, challenger against baseline; negative is better. Each "
    "file holds every trial, so that all of this can be recomputed from it. The words are explained at the end."
)


def _overview(reports: Sequence[tuple[str, Report]]) -> str:
    lines = [
        "| study | pair | verdict | change (95 %) | Holm p | R | trainings | time of one slot |",
        "| --- |" + " --- |" * 3 + " ---: |" * 4,
    ]
    for _, report in reports:
        table = effects(report)
        for pair, row in zip(report["comparisons"], table.rows, strict=True):
            words, change = pair["verdict"]["words"], f"{row[1]} ({row[2]})"
            cells = (report["study"], row[0], words, change, row[3], row[4], *_spent(report))
            lines.append("| " + " | ".join(plain(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _spent(report: Report) -> tuple[str, str]:
    n_runs = sum(sum(arm["n_runs"].values()) for arm in report["arms"])
    known = [arm["duration_s"] for arm in report["arms"] if arm["duration_s"] is not None]
    return f"{n_runs:,}", seconds(sum(known) if known else None)


def _twins(reports: Sequence[tuple[str, Report]]) -> Iterable[str]:
    """The A/A pairs, over all studies: how often equal arms were called different."""
    verdicts = [
        pair["verdict"]["kind"] for _, report in reports for pair in report["comparisons"] if is_twin(report, pair)
    ]
    if verdicts:
        n_alarms = sum(kind.startswith(_DIFFERENT) for kind in verdicts)
        yield "## Twins"
        yield (
            f"Of {count(len(verdicts), 'declared pair')} of equal arms, {n_alarms} were called better or worse. Twins "
            "of one study share draws and seeds, so that all their numbers are equal: that shows that arms get the "
            "same treatment, and says nothing about chance."
        )


def is_twin(report: Report, pair: Mapping[str, Any]) -> bool:
    """True where both arms are the same optimizer with the same space."""
    by_name = {arm["name"]: arm["optimizer"] for arm in report["arms"]}
    arms_of = [(by_name[pair[side]], report["spaces"][pair[side]]) for side in ("baseline", "challenger")]
    return bool(arms_of[0] == arms_of[1])


def _study(name: str, report: Report) -> list[str]:
    parts = [
        f"## {plain(report['study'])}",
        f"{plain(' · '.join(design(report)))}. {' '.join(caveats(report))}".strip(),
    ]
    code = f", training code `{str(report['code_revision'])[:12]}`" if report["code_revision"] else ""
    time = f" It took {spent}." if (spent := took(report)) else ""
    machine = "".join(f" {plain(said)}" for said in machines(report))
    parts.append(f"Frozen spec `{report['spec_hash']}`{code}; [all numbers](results/{name}).{time}{machine}")
    parts += [f"- {plain(pair['verdict']['sentence'])}" for pair in report["comparisons"]]
    parts += [f"- {plain(note)}" for note in [*report["notes"], *history(report)]]
    parts += [f"![{alt}](results/{file})" for file, alt in ((f, a) for f, a, _ in pictures(name, report))]
    for maker in (arms, effects, improvement, budget, tunability, times, sensitivity, mechanism):
        table = maker(report)
        if table.rows:
            parts += [part.replace("## ", "### ", 1) if i == 0 else part for i, part in enumerate(table_parts(table))]
    return parts


def pictures(name: str, report: Report) -> list[tuple[str, str, str]]:
    """A study's figures: file name, what it shows, the drawing."""
    stem = name.removesuffix(".json")
    found = [(f"{stem}-expected-best.svg", "Expected best by trials", expected_best_svg(report, is_file=True))]
    found += [
        (
            f"{stem}-surface-{entry['arm']}.svg",
            f"delta and wd_ratio of {entry['arm']}",
            surface_svg(entry, is_file=True),
        )
        for entry in report["estimates"]["surface"]["arms"]
    ]
    return [(file, alt, drawn) for file, alt, drawn in found if drawn]


def strip_svg(reports: Sequence[tuple[str, Report]]) -> str | None:
    """The README's picture: every comparison of two optimizers, not of controls; None without one."""
    shown = [report for name, report in reports if not name.startswith(_CONTROLS)]
    rows = [
        row
        for report in shown
        for pair, row in zip(report["comparisons"], rows_of(report, is_workload_named=True), strict=True)
        if len({arm["optimizer"] for arm in report["arms"] if arm["name"] in (pair["baseline"], pair["challenger"])})
        == 2
    ]
    return forest_svg(rows, shown[0]["margin"], is_file=True) if rows else None


def read_published(folder: Path) -> Published:
    """What `docs/results/` holds: reports by file name, the longer ones after the others and the controls last."""
    paths = [path for path in folder.glob("*.json") if path.name not in (EQUAL_ARMS, EARLIER)]
    paths.sort(key=lambda path: (path.name.startswith(_CONTROLS), path.stem.endswith(_LONGER), path.name))
    reports = [(path.name, _read(path)) for path in paths]
    names = sorted(path.stem for path in (folder / "studies").glob("*.yaml"))
    not_run = [name for name in names if not (folder / f"{name}.json").exists()]
    return Published(reports, _found(folder / EQUAL_ARMS), _found(folder / EARLIER), not_run)


def _found(path: Path) -> Mapping[str, Any] | None:
    return _read(path) if path.exists() else None


def _read(path: Path) -> Mapping[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check:
        write_files(arguments.docs)
        return 0
    files = _files(arguments.docs)
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in files:
        sys.stdout.write(f"{path} {'is not' if path in stale else 'is'} what {COMMAND} writes\n")
    return 1 if stale else 0


def write_files(docs: Path) -> None:
    """Write page and picture into the folder that holds `results/`."""
    for path, text in _files(docs).items():
        path.write_text(text, encoding="utf-8")


def _files(docs: Path) -> dict[Path, str]:
    published = read_published(docs / "results")
    files = {docs / "results.md": results_page(published)}
    if strip := strip_svg(published.reports):
        files[docs / "results" / "strip.svg"] = strip
    for name, report in published.reports:
        files |= {docs / "results" / file: drawn for file, _, drawn in pictures(name, report)}
    return files


if __name__ == "__main__":
    raise SystemExit(main())
