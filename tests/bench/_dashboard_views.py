"""The pages that both dashboards are compared on: their addresses, and when they show what they are for."""

from __future__ import annotations

from dataclasses import dataclass

from tests.browser.shots import NOT_THERE_YET

_PLOTS = """(plots => plots.length >= {n} && plots.every(plot =>
    plot.data?.some(trace => (trace.x ?? trace.y ?? []).length) && plot.querySelector(".xtick, .ytick")))(
    [...document.querySelectorAll(".js-plotly-plot")])"""
"""At least n of Plotly's charts are there, and each has data and an axis with ticks, which it draws with the data."""
_DRAWN = """(document.querySelector("{0} figure[data-drawn]") && !document.querySelector(
    "{0} [data-part]:empty, {0} [aria-busy=true], {0} figure[data-chart]:not([data-drawn])"))"""
_WHOLE = """(missing => missing ? (missing.scrollIntoView(), false) : document.querySelector("#trials tbody tr"))(
    document.querySelector("{}"))"""


@dataclass(frozen=True)
class Side:
    """A page of one dashboard: its address, and a JavaScript expression that holds when it is ready."""

    path: str
    is_ready: str


@dataclass(frozen=True)
class View:
    """A page of ours and what comes closest to it in optuna-dashboard, None where nothing does.

    Attributes:
        shows: What is waited for, in words.
    """

    shows: str
    ours: Side
    optuna: Side | None


VIEWS = {
    "compare": View(
        "ours: verdicts, effects, then expected best and difference at equal budget, 3 charts; "
        "optuna-dashboard: history and EDF of 4 studies",
        Side(
            "/studies/{study}",
            f"{_DRAWN.format('#overview')} && (document.querySelector('#budget').scrollIntoView(), "
            f"{_DRAWN.format('#budget')})",
        ),
        Side("/dashboard/compare-studies?ids=1,2,3,4", _PLOTS.format(n=2)),
    ),
    "curves": View(
        "ours: median and quartiles of all search trials' curves of 4 arms; optuna-dashboard: the page of one study "
        "(one arm) with a line for each trial",
        Side("/studies/{study}?phase=search#curves", "document.querySelector('#chart-curves[data-drawn=yes]')"),
        Side("/dashboard/studies/1", _PLOTS.format(n=4)),
    ),
    "list": View(
        "the list of studies",
        Side("/studies", "document.querySelector('tbody tr')"),
        Side("/dashboard", "['sgdw', 'adamp'].every(arm => document.body.textContent.includes(arm))"),
    ),
    "trials": View(
        "ours: 50 of all 4 arms' trials, filtered and sorted; optuna-dashboard: the list of one study (one arm)",
        Side(
            "/studies/{study}?filter=state%3Dcomplete&sort=value#trials",
            "document.querySelectorAll('#trials tbody tr').length === 50",
        ),
        Side("/dashboard/studies/1/trials", "document.body.textContent.includes('Trial 0 (trial_id=')"),
    ),
    "whole": View(
        "ours alone: a study's page scrolled to its end, every section loaded and every chart drawn",
        Side("/studies/{study}", _WHOLE.format(NOT_THERE_YET)),
        None,
    ),
}
