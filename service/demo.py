"""`make demo`: an instrument with its zero and its full scale, on real data, in one screen.

Three studies run on the very service that `tangent up` starts: a convolutional network, a multilayer perceptron, and
the controls. Nothing is written down beforehand: the screen shows what the ledger's reports say.
"""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from service import launch, render, watching
from service.client import Client
from service.config import Settings
from service.domain.catalog import BUILT_IN
from service.domain.snippet import constructor_lines
from service.launch import Tell
from service.studyfile import example

STUDIES = ("digits-cnn", "digits-mlp", "controls")


def run_demo(settings: Settings, console: Console, tell: Tell, *, slots: int, stays_open: bool, is_quick: bool) -> int:
    """Run the demo on the local instance; returns the exit code.

    Args:
        settings: TANGENT_DEMO_SEED changes the numbers, TANGENT_HOME the folder.
        console: Gets the screens.
        tell: Gets one line for each step of starting and stopping.
        slots: Trials at once; 0 is one for each core.
        stays_open: Keep the service up until Ctrl-C, so that its pages can be looked at.
        is_quick: A smaller plan of the same shape, which can show no verdict.
    """
    started = time.monotonic()
    console.print(Text("Is AdamP better than AdamW, SGDP better than SGD? Two networks, fair tuning.", style="bold"))
    with launch.instance_for(settings, tell, slots=slots) as (client, own):
        check = own.check if own else _nothing
        ids = _find_or_submit(client, settings.demo_seed, is_quick, tell)
        tell(f"its dashboard, live: {client.login_link()} (signs one browser in, once, within ten minutes)")
        watching.refuse_unfinished(watching.watch(client, ids, console, check=check))
        show_result(console, [watching.ask(partial(client.report, study_id), check) for study_id in ids])
        _say_goodbye(console, settings, ids, time.monotonic() - started)
        if stays_open and own is not None:
            console.print("The service stays up until Ctrl-C. Its dashboard:", markup=False)
            console.print(f"  {client.login_link()}", markup=False, soft_wrap=True)
            console.print("  The link signs one browser in, once, within ten minutes.", style="dim", markup=False)
            with contextlib.suppress(KeyboardInterrupt):
                own.wait()
    return 0


def _say_goodbye(console: Console, settings: Settings, ids: Sequence[int], took_s: float) -> None:
    home = launch.home_of(settings)
    console.print()
    console.print(
        f"The demo took {render.human_time(took_s)}. Studies {', '.join(map(str, ids))} stay in the ledger in {home}; "
        f"`make up` and `tangent report {ids[0]}` show them again; `make demo OPEN=1` keeps its pages up at the end.",
        markup=False,
    )


def demo_study(name: str, seed: int, *, is_quick: bool = False) -> dict[str, Any]:
    """One of the demo's study files."""
    document = {**example(name), "seed": seed}
    if is_quick:
        document["name"] += "-quick"
        document["workload"]["options"] = {"epochs": 2}
        document |= {
            "search": {"trials": 3},
            "select": {"top": 2, "seeds": 1},
            "confirm": {"seeds": 1},
            "replicates": 3,
        }
    return document


def _find_or_submit(client: Client, seed: int, is_quick: bool, tell: Tell) -> list[int]:
    """The demo's studies: those of an earlier demo that was interrupted, as far as it came, else new ones."""
    seeds = range(seed * len(STUDIES), (seed + 1) * len(STUDIES))  # a bank for each: studies that share none
    documents = [demo_study(name, own, is_quick=is_quick) for name, own in zip(STUDIES, seeds, strict=True)]
    costs = [client.validate(document) for document in documents]
    earlier = _interrupted_demo(client, [cost["spec_hash"] for cost in costs])
    ids = []
    for document, cost in zip(documents, costs, strict=True):
        study = earlier.get(cost["spec_hash"])
        if study is None:
            study = client.submit(document)
            tell(f"study {study['id']} ({document['name']}) starts anew: {cost['cost']['n_trainings']} trainings")
        elif study["state"] == "RUNNING":
            tell(f"continuing study {study['id']} ({document['name']}), which an earlier demo left unfinished")
        else:
            tell(f"study {study['id']} ({document['name']}) was finished by that earlier demo")
        ids.append(int(study["id"]))
    return ids


def _interrupted_demo(client: Client, spec_hashes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The newest study of each spec, by its hash; none at all where every demo came to its end."""
    newest: dict[str, dict[str, Any]] = {}
    for study in client.list_studies():
        if study["spec_hash"] in spec_hashes and study["state"] in ("RUNNING", "FINISHED"):
            newest.setdefault(study["spec_hash"], study)
    return newest if any(study["state"] == "RUNNING" for study in newest.values()) else {}


def show_result(console: Console, reports: Sequence[Mapping[str, Any]]) -> None:
    """The result's screen: mechanism, verdicts, controls, what to do next."""
    studies, controls = reports[:-1], reports[-1]
    _heading(console, "1  The mechanism: what the projection does to the weights before a BatchNorm")
    console.print(render.mechanism_table(studies))
    _heading(console, "2  The verdicts: tuned alike, chosen on validation, reported on test")
    console.print(render.verdict_table(studies, console.width))
    _heading(
        console, "3  The controls: the same optimizer twice must show no difference, an untuned one must show some"
    )
    console.print(render.verdict_table([controls], console.width))
    _heading(console, "4  What to do next")
    for report in studies:
        for comparison in report["comparisons"]:
            console.print(f"· {report['workload']}: {comparison['verdict']['sentence']}", markup=False)
    for line in lines_to_paste(studies, console.width - 4):
        console.print(f"    {line}", markup=False, style="cyan", soft_wrap=True)
    console.print("  On your own model: tangent init, then tangent submit study.yaml --dry-run", markup=False)


def lines_to_paste(reports: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """Python that constructs the best AdamP of each study, as its winners were chosen on validation."""
    lines: list[str] = []
    for report in reports:
        for arm in report["arms"]:
            chosen = [winner for winner in arm["winners"] if winner["select_mean"] is not None]
            if arm["optimizer"] == "AdamP" and chosen:
                best = min(chosen, key=lambda winner: float(winner["select_mean"]))
                imports, call = constructor_lines(BUILT_IN.optimizers["AdamP"], best["params"])
                lines += [imports] if imports not in lines else []
                lines += [
                    f"# {report['workload']}: the best of its winners, trial {best['trial']}",
                    *_fold(call, width),
                ]
    return lines


def _fold(call: str, width: int) -> list[str]:
    """A call on lines of at most `width` columns, broken between its arguments."""
    indent = " " * (call.index("(") + 1)
    return textwrap.wrap(call, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold underline"))


def _nothing() -> None:
    pass
