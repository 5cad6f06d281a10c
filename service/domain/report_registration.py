"""What of a study was fixed before its first trial, what came later, and what was taken from other studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.plain import to_plain
from service.domain.statistics import Interval
from service.domain.wording import count, duration, listing, percent_range

NOT_PREREGISTERED = (
    "Not preregistered: the study was imported after it had run, so that nothing here was fixed before its first trial."
)


@dataclass(frozen=True)
class Registration:
    """How a study came about.

    Attributes:
        origin: "submitted", or "imported" for a search that ran elsewhere.
        replicates: Most replicates that the frozen file plans; None where that is the study's own number.
        planned_looks: Numbers of replicates at which a sequential study is looked at; empty for any other.
        looks: Those that were taken, oldest first, as `service.domain.looks.take_look` gives them.
        amendments: What was added later, oldest first: {"replicates": n, "after_look": bool, "at": ISO 8601}.
    """

    origin: str = "submitted"
    replicates: int | None = None
    planned_looks: tuple[int, ...] = ()
    looks: Sequence[Mapping[str, Any]] = ()
    amendments: Sequence[Mapping[str, Any]] = ()

    @property
    def is_preregistered(self) -> bool:
        """True where the file was frozen before the first trial."""
        return self.origin != "imported"

    @property
    def was_extended_after_look(self) -> bool:
        """True where replicates were added after somebody could have seen a result."""
        return any(amendment["after_look"] for amendment in self.amendments)

    @property
    def n_saved(self) -> int | None:
        """Replicates that a sequential study did without; None for any other, and until it has stopped."""
        if not self.looks or not self.planned_looks:
            return None
        last = self.looks[-1]
        has_stopped = last["is_decided"] or last["replicates"] >= self.planned_looks[-1]
        return int(self.planned_looks[-1] - last["replicates"]) if has_stopped else None


@dataclass(frozen=True)
class Reuse:
    """Trainings that had run in other studies already.

    Attributes:
        n_reused: Trials whose result was taken over.
        n_equal: Trials that ran although their training had run before, with equal bits.
        n_different: The same, with other results.
        saved_s: Seconds of training that were saved.
        studies: Numbers of the studies that were taken from.
    """

    n_reused: int = 0
    n_equal: int = 0
    n_different: int = 0
    saved_s: float = 0.0
    studies: tuple[int, ...] = ()


AS_SUBMITTED, NO_REUSE = Registration(), Reuse()
"""A study that ran as its file says, and took nothing from others."""


def registration_document(registration: Registration, n_replicates: int, runs_per_replicate: int) -> dict[str, Any]:
    """JSON form.

    Args:
        n_replicates: Those of the study as it runs, added ones included.
        runs_per_replicate: Trainings of one replicate, over all arms.
    """
    saved = registration.n_saved
    return {
        "origin": registration.origin,
        "is_preregistered": registration.is_preregistered,
        "replicates": n_replicates if registration.replicates is None else registration.replicates,
        "planned_looks": list(registration.planned_looks),
        "looks": to_plain(registration.looks),
        "amendments": _numbered(registration.amendments, n_replicates),
        "replicates_saved": saved,
        "trainings_saved": None if saved is None else saved * runs_per_replicate,
        "sentences": registration_sentences(registration, n_replicates, runs_per_replicate),
    }


def _numbered(amendments: Sequence[Mapping[str, Any]], n_replicates: int) -> list[dict[str, Any]]:
    """Each amendment with the number of its first replicate."""
    first = n_replicates - sum(amendment["replicates"] for amendment in amendments)
    found = []
    for amendment in amendments:
        found.append({**to_plain(amendment), "first_replicate": first})
        first += amendment["replicates"]
    return found


def registration_sentences(registration: Registration, n_replicates: int, runs_per_replicate: int) -> list[str]:
    """What was fixed when, for a reader; each complete on its own."""
    if not registration.is_preregistered:
        return [NOT_PREREGISTERED]
    planned = n_replicates if registration.replicates is None else registration.replicates
    fixed = "Preregistered: arms, ranges, pairs, budget, margin and seed were frozen before the first trial"
    rule = f", with {count(planned, 'replicate')}"
    if registration.planned_looks:
        rule = f", and the rule to stop: looks after {_numbers(registration.planned_looks)} replicates"
    sentences = [fixed + rule + "."]
    sentences += [_look(index, look) for index, look in enumerate(registration.looks, start=1)]
    if (saved := registration.n_saved) is not None:
        sentences.append(_saved(saved, registration.planned_looks[-1], saved * runs_per_replicate))
    sentences += [_amendment(entry) for entry in _numbered(registration.amendments, n_replicates)]
    return sentences


def _numbers(values: Sequence[int]) -> str:
    return listing([str(value) for value in values])


def _look(index: int, look: Mapping[str, Any]) -> str:
    pairs = [_pair(pair) for pair in look["pairs"]]
    outcome = "decided, and the study stopped" if look["is_decided"] else "not decided"
    return f"Look {index}, after {look['replicates']} replicates: {'; '.join(pairs)}: {outcome}."


def _pair(pair: Mapping[str, Any]) -> str:
    interval = pair["interval_95"]
    known = interval is not None and None not in (interval["lower"], interval["upper"])
    size = f" ({percent_range(Interval(interval['lower'], interval['upper']))})" if known else ""
    return f"{pair['challenger']} against {pair['baseline']} {str(pair['kind']).replace('_', ' ')}{size}"


def _saved(saved: int, planned: int, n_runs: int) -> str:
    if not saved:
        return f"All {planned} replicates ran: looking saved none against the fixed design."
    return f"{count(saved, 'replicate')} of {planned} ({count(n_runs, 'training')}) saved against the fixed design."


def _amendment(entry: Mapping[str, Any]) -> str:
    last = entry["first_replicate"] + entry["replicates"] - 1
    which = str(last) if entry["replicates"] == 1 else f"{entry['first_replicate']} to {last}"
    when = f" on {str(entry['at'])[:10]}" if entry.get("at") else ""
    if entry["after_look"]:
        why = "after results could be seen: all intervals are therefore those that hold at every look (anytime-valid)"
    else:
        why = "before any result could be seen: the intervals stay as planned"
    added = count(entry["replicates"], "replicate")
    noun = "number" if entry["replicates"] == 1 else "numbers"
    return f"Added later: {added} ({noun} {which}){when}, {why}."


def reuse_sentences(reuse: Reuse) -> list[str]:
    """How much was taken from other studies; empty where nothing was."""
    sentences = []
    if reuse.n_reused:
        where = f" from {'study' if len(reuse.studies) == 1 else 'studies'} {_numbers(reuse.studies)}"
        sentences.append(
            f"{count(reuse.n_reused, 'training')} had run before and {'was' if reuse.n_reused == 1 else 'were'} taken"
            f"{where if reuse.studies else ''}, which saved {duration(reuse.saved_s)} of one slot."
        )
    if reuse.n_equal:
        sentences.append(f"{count(reuse.n_equal, 'training')} ran again for comparison, and every bit was equal.")
    return sentences


def reuse_warnings(reuse: Reuse) -> list[str]:
    """A sentence where a training that ran again gave another result."""
    if not reuse.n_different:
        return []
    subject = count(reuse.n_different, "training")
    return [
        f"{subject} ran again for comparison and gave other results than before, on the same code, versions and "
        "processor: the workload is not repeatable, and results that were taken over may not be what a run here gives."
    ]
