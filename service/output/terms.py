"""The words that a report uses, for a reader who meets them for the first time."""

from __future__ import annotations

TITLE = "What the words mean"
TERMS = (
    ("arm", "an optimizer with the ranges that are searched for it"),
    (
        "replicate",
        "one whole run of search, select and confirm for every arm, with draws and seeds of its own; R of them",
    ),
    ("search", "T configurations drawn from an arm's ranges, each trained once"),
    ("select", "the best few of a search, trained again on fresh seeds; the best mean is chosen"),
    (
        "confirm",
        "the chosen configuration, trained on S seeds that nothing before has used; alone in reading the test set",
    ),
    ("test NLL", "mean negative log likelihood of the test examples, in nats; lower is better"),
    (
        "change",
        "challenger over baseline, less one; the mean of the log ratios over replicates, written as a percentage",
    ),
    ("95 % interval", "where the true change lies, by a rule that is wrong in 5 of 100 studies"),
    ("margin", "the change that does not matter in practice, fixed before the study ran"),
    (
        "Holm p",
        "probability of so large a difference by chance, corrected for the number of declared pairs (Holm 1979)",
    ),
    ("sd within, sd between", "how much the log of the change varies with the training seed, and with the tuning"),
    ("twin", "an arm that equals another in all but its name"),
    ("weighted incumbent", "best endpoint so far, averaged over the search, with most weight on its beginning"),
    ("restricted mean", "mean time to the target, where a run that never reaches it counts with the whole training"),
    ("scale-invariant layer", "one whose output does not change when its weights are multiplied, as before BatchNorm"),
    ("chance level", "endpoint of a model that knows nothing; a diverged run counts with it"),
)
"""Each with its definition, in reading order."""


def terms_for(metric: str) -> tuple[tuple[str, str], ...]:
    """The terms that a report on that metric needs."""
    return tuple(entry for entry in TERMS if entry[0] != "test NLL" or metric == "test NLL")
