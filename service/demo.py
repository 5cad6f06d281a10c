"""`make demo`: an instrument with its zero and its full scale, on real data, in one screen.

Three studies run on the very service that `tangent up` starts: a convolutional network, a multilayer perceptron, and
the controls. Nothing is written down beforehand: the screen shows what the ledger's reports say.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from service import launch, render, watching
from service.client import Client
from service.config import Settings
from service.domain.catalog import BUILT_IN
from service.domain.snippet import constructor_lines
from service.errors import TangentError
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
        ids = [_submit(client, name, settings.demo_seed, is_quick, tell) for name in STUDIES]
        views = watching.watch(client, ids, console, check=own.check if own else _nothing)
        _refuse_unfinished(views)
        reports = [client.report(study_id) for study_id in ids]
        show_result(console, reports)
        minutes = render.human_time(time.monotonic() - started)
        console.print(f"\nThe demo took {minutes}. Studies {', '.join(map(str, ids))} stay in the ledger in ", end="")
        console.print(
            f"{launch.home_of(settings)}; `make up` and `tangent report {ids[0]}` show them again.", markup=False
        )
        if stays_open and own is not None:
            console.print(f"The service stays up at {own.address} until Ctrl-C.", markup=False)
            own.wait()
    return 0


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


def _submit(client: Client, name: str, seed: int, is_quick: bool, tell: Tell) -> int:
    document = demo_study(name, seed, is_quick=is_quick)
    cost = client.validate(document)
    for study in client.list_studies(state="RUNNING"):
        if study["spec_hash"] == cost["spec_hash"]:
            tell(f"continuing study {study['id']} ({study['name']}), which an earlier demo left unfinished")
            return int(study["id"])
    study_id = int(client.submit(document)["id"])
    tell(f"study {study_id} ({document['name']}) starts anew: {cost['cost']['n_trainings']} trainings")
    return study_id


def _refuse_unfinished(views: Sequence[Mapping[str, Any]]) -> None:
    for view in views:
        if view["state"] != "FINISHED":
            raise TangentError(f"study {view['id']} ended as {view['state'].lower()}: {view['reason']}")


def show_result(console: Console, reports: Sequence[Mapping[str, Any]]) -> None:
    """The result's screen: mechanism, verdicts, controls, what to do next."""
    studies, controls = reports[:-1], reports[-1]
    _heading(console, "1  The mechanism: what the projection does to the weights before a BatchNorm")
    console.print(render.mechanism_table(studies))
    _heading(console, "2  The verdicts: tuned alike, chosen on validation, reported on test")
    console.print(render.verdict_table(studies))
    _heading(
        console, "3  The controls: the same optimizer twice must show no difference, an untuned one must show some"
    )
    console.print(render.verdict_table([controls]))
    _heading(console, "4  What to do next")
    for report in studies:
        for comparison in report["comparisons"]:
            console.print(f"· {report['workload']}: {comparison['verdict']['sentence']}", markup=False)
    for line in lines_to_paste(studies):
        console.print(f"    {line}", markup=False, style="cyan")
    console.print("  On your own model: tangent init, then tangent submit study.yaml --dry-run", markup=False)


def lines_to_paste(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Python that constructs the best AdamP of each study, as its winners were chosen on validation."""
    lines = []
    for report in reports:
        for arm in report["arms"]:
            chosen = [winner for winner in arm["winners"] if winner["select_mean"] is not None]
            if arm["optimizer"] == "AdamP" and chosen:
                best = min(chosen, key=lambda winner: float(winner["select_mean"]))
                imports, call = constructor_lines(BUILT_IN.optimizers["AdamP"], best["params"])
                lines += [imports] if imports not in lines else []
                lines.append(f"{call}  # {report['workload']}, trial {best['trial']}")
    return lines


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold underline"))


def _nothing() -> None:
    pass
