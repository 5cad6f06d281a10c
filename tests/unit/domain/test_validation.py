"""What a study file may not say: for each mistake, the field and the message."""

import copy
import math

import pytest

from service.domain.catalog import BUILT_IN, Catalog, Hyperparameter, Optimizer
from service.domain.space import log
from service.domain.validation import InvalidStudyError, study_from_file

FILE = {
    "schema": 1,
    "name": "s",
    "workload": {"name": "digits-cnn", "options": {"epochs": 15}},
    "arms": [{"name": "adamw", "optimizer": "AdamW"}, {"name": "sgd", "optimizer": "SGD", "search": {}}],
    "compare": [["adamw", "sgd"]],
    "search": {"sampler": "random", "trials": 12},
    "select": {"top": 3, "seeds": 3},
    "confirm": {"seeds": 3},
    "replicates": 6,
    "limits": {"trial_s": 600.0},
}
LAYERED = Optimizer(
    "Layered",
    "other",
    "unknown",
    False,
    (Hyperparameter("lr", low=0.0, is_low_open=True), Hyperparameter("depth", kind="int", default=2, low=1, high=9)),
    {"lr": log(1e-3, 1.0)},
    "layered:Layered",
)
CATALOG = BUILT_IN.extended({"Layered": LAYERED}, {})


def changed(path, value):
    """The file with one place changed; the last part of `path` is added where it is missing."""
    document = copy.deepcopy(FILE)
    place = document
    for part in path[:-1]:
        place = place[part] if isinstance(part, int) else place.setdefault(part, {})
    place[path[-1]] = value
    return document


def problems(document, catalog: Catalog = CATALOG):
    with pytest.raises(InvalidStudyError) as caught:
        study_from_file(document, catalog)
    return [(problem.field, problem.message) for problem in caught.value.problems]


SEARCH = ("arms", 0, "search")
SGD = ("arms", 1, "search")
ADAMW_HAS = (
    "AdamW has no hyperparameter '{}'; it has lr, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay"
)
OPTIMIZERS = "known: Adam, AdamP, AdamW, Layered, SGD, SGDP, SGDW"
BELOW = "lr: the lower end must be below the upper end, got "

ERRORS = [
    (("schema",), 2, "schema", "this service reads study files of schema 1, got 2"),
    (("name",), "  ", "name", "a study needs a name of 1 to 200 characters"),
    (("name",), "x" * 201, "name", "a study needs a name of 1 to 200 characters"),
    (("device",), "gpu", "device", "must be cpu, cuda or cuda:MODEL (such as cuda:H200), got 'gpu'"),
    (("device",), "cuda:", "device", "must be cpu, cuda or cuda:MODEL (such as cuda:H200), got 'cuda:'"),
    (
        ("workload", "name"),
        "digits-cn",
        "workload.name",
        "unknown workload 'digits-cn'; known: digits-cnn, digits-mlp; did you mean digits-cnn?",
    ),
    (
        ("workload", "options"),
        {"epoch": 3},
        "workload.options.epoch",
        "digits-cnn has no option 'epoch'; it has epochs, batch_size, width",
    ),
    (("workload", "options"), {"epochs": 0}, "workload.options.epochs", "epochs must be in [1, 1000], got 0"),
    (("workload", "options"), {"epochs": 1.5}, "workload.options.epochs", "epochs must be a whole number, got 1.5"),
    (
        ("workload", "options"),
        {"epochs": math.inf},
        "workload.options.epochs",
        "epochs must be a finite number, got inf",
    ),
    (("arms",), [], "arms", "a study has 1 to 32 arms, got 0"),
    (
        ("arms", 0, "optimizer"),
        "adamww",
        "arms[0].optimizer",
        f"unknown optimizer 'adamww'; {OPTIMIZERS}; did you mean AdamW?",
    ),
    (
        ("arms", 0, "name"),
        "a b",
        "arms[0].name",
        "must consist of letters, digits and _ . + -, at most 64, the first a letter or digit; got 'a b'",
    ),
    (("arms", 1, "name"), "adamw", "arms", "arm names must differ; 'adamw' stands 2 times"),
    (SEARCH, {"lrr": 0.1}, "arms[0].search.lrr", ADAMW_HAS.format("lrr") + "; did you mean lr?"),
    (SEARCH, {"lr": {}}, "arms[0].search.lr", "a range is {scale: [low, high]} with one scale of "),
    (SEARCH, {"lr": {"log": []}}, "arms[0].search.lr", "log takes two numbers [low, high], got []"),
    (SEARCH, {"lr": {"log": [1, 0.1]}}, "arms[0].search.lr", BELOW + "[1.0, 0.1]"),
    (SEARCH, {"lr": {"log": [0.1, 0.1]}}, "arms[0].search.lr", BELOW + "[0.1, 0.1]"),
    (SEARCH, {"lr": {"log": [0, 1]}}, "arms[0].search.lr", "lr: a log range needs ends above 0, got [0.0, 1.0]"),
    (SEARCH, {"lr": {"log": [-1, 1]}}, "arms[0].search.lr", "lr: a log range needs ends above 0, got [-1.0, 1.0]"),
    (SEARCH, {"lr": {"log": [math.nan, 1]}}, "arms[0].search.lr", "lr: the ends must be finite, got [nan, 1.0]"),
    (SEARCH, {"lr": {"uniform": [0, math.inf]}}, "arms[0].search.lr", "lr: the ends must be finite, got [0.0, inf]"),
    (SEARCH, {"lr": {"uniform": [0, 1]}}, "arms[0].search.lr", "lr must be in (0, inf), got 0.0"),
    (SEARCH, {"lr": 0}, "arms[0].search.lr", "lr must be in (0, inf), got 0"),
    (SEARCH, {"lr": math.nan}, "arms[0].search.lr", "lr must be a finite number, got nan"),
    (SEARCH, {"lr": "0.1"}, "arms[0].search.lr", "lr must be a finite number, got '0.1'"),
    (SEARCH, {"lr": True}, "arms[0].search.lr", "lr must be a finite number, got True"),
    (SEARCH, {"lr": {"choice": []}}, "arms[0].search.lr", "lr: choice needs at least one value"),
    (SEARCH, {"lr": {"choice": [0.1, 0.1]}}, "arms[0].search.lr", "lr: choice has 0.1 twice; "),
    (SEARCH, {"lr": {"choice": [0.1, None]}}, "arms[0].search.lr", "lr must be a finite number, got None"),
    (SEARCH, {"lr": {"int": [1, 2.5]}}, "arms[0].search.lr", "lr: an int range needs whole ends, got [1.0, 2.5]"),
    (SEARCH, {"beta1": {"uniform": [0.5, 1]}}, "arms[0].search.beta1", "beta1 must be in [0, 1), got 1.0"),
    (
        SEARCH,
        {"beta1": 0.9, "one_minus_beta1": 0.1},
        "arms[0].search.one_minus_beta1",
        "one_minus_beta1 and beta1 set the same argument; keep one",
    ),
    (
        SGD,
        {"momentum": 0.9, "one_minus_momentum": {"log": [0.01, 1]}},
        "arms[1].search.one_minus_momentum",
        "one_minus_momentum and momentum set the same argument; keep one",
    ),
    (SGD, {"nesterov": 1}, "arms[1].search.nesterov", "nesterov must be true or false, got 1"),
    (SGD, {"momentum": 0}, "arms[1].search.nesterov", "nesterov needs a momentum above 0; set nesterov: false"),
    (SGD, {"dampening": 0.5}, "arms[1].search.nesterov", "nesterov needs a dampening of 0; set nesterov: false"),
    (
        ("arms", 0),
        {"name": "adamw", "optimizer": "Layered", "search": {"depth": {"uniform": [1, 3]}}},
        "arms[0].search.depth",
        "depth is a whole number; search it as {int: [low, high]} or as a choice",
    ),
    (("compare",), [["adamw", "adamp"]], "compare[0]", "unknown arm 'adamp'; known: adamw, sgd; did you mean adamw?"),
    (("compare",), [["sgd", "sgd"]], "compare[0]", "an arm cannot be compared with itself ('sgd')"),
    (("compare",), [["adamw", "sgd"]] * 2, "compare", "the pair ['adamw', 'sgd'] stands 2 times"),
    (
        ("search", "sampler"),
        "tpee",
        "search.sampler",
        "unknown sampler 'tpee'; known: cmaes, gp, grid, qmc, random, tpe; did you mean tpe?",
    ),
    (
        ("search", "sampler"),
        "optuna.samplers:BruteForceSampler",
        "search.sampler",
        "optuna.samplers:BruteForceSampler is not on the list of allowed samplers; name it in TANGENT_ALLOWED_SAMPLERS",
    ),
    (
        ("search", "pruner"),
        "mediann",
        "search.pruner",
        "unknown pruner 'mediann'; known: asha, hyperband, median, none, patient, percentile; did you mean median?",
    ),
    (
        ("search",),
        {"pruner": "asha", "pruner_options": {"reduction": 2}},
        "search.pruner_options.reduction",
        "asha has no option 'reduction'; it has min_resource, reduction_factor, min_early_stopping_rate, "
        "bootstrap_count",
    ),
    (
        ("search", "options"),
        {"n_startup_trials": 3},
        "search.options.n_startup_trials",
        "random has no option 'n_startup_trials'; it has none",
    ),
    (
        ("search",),
        {"sampler": "tpe", "options": {"n_startup_trials": 0}},
        "search.options.n_startup_trials",
        "n_startup_trials must be in [1, inf), got 0",
    ),
    (
        ("search",),
        {"sampler": "tpe", "options": {"group": True, "multivariate": False}},
        "search.options.group",
        "group needs multivariate; leave that at true",
    ),
    (("search", "trials"), 0, "search.trials", "must be in [1, 100000], got 0"),
    (("search", "trials"), 10**9, "search.trials", "must be in [1, 100000], got 1000000000"),
    (("search", "trials"), 99_999, "search.trials", "the study would take 1,200,132 trainings; the most is 500,000"),
    (("search", "parallelism"), 0, "search.parallelism", "must be in [1, 1000], got 0"),
    (("select", "top"), 0, "select.top", "must be in [1, 1000], got 0"),
    (("select", "top"), 13, "select.top", "must be at most search.trials (12), got 13"),
    (("select", "seeds"), -1, "select.seeds", "must be in [1, 1000], got -1"),
    (("confirm", "seeds"), 0, "confirm.seeds", "must be in [1, 1000], got 0"),
    (("replicates",), 0, "replicates", "must be in [1, 4095], got 0"),
    (("replicates",), 4096, "replicates", "must be in [1, 4095], got 4096"),
    (("seed",), -1, "seed", "must be in [0, 16777215], got -1"),
    (("seed",), 2**24, "seed", "must be in [0, 16777215], got 16777216"),
    (("priority",), 1001, "priority", "must be in [-1000, 1000], got 1001"),
    (("margin",), 0, "margin", "must be in (0, 1] on the log of the endpoint, got 0"),
    (("margin",), math.nan, "margin", "must be in (0, 1] on the log of the endpoint, got nan"),
    (("margin",), 1.1, "margin", "must be in (0, 1] on the log of the endpoint, got 1.1"),
    (("limits", "trial_s"), 0, "limits.trial_s", "must be in (0, 2592000] seconds, got 0"),
    (("limits", "trial_s"), math.inf, "limits.trial_s", "must be in (0, 2592000] seconds, got inf"),
    (("limits", "attempts"), 0, "limits.attempts", "must be in [1, 100], got 0"),
    (("limits", "failures"), -1, "limits.failures", "must be in [0, 524288], got -1"),
    (("weight",), 0, "weight", "must be in (0, 1e6], got 0"),
    (("max_running",), 0, "max_running", "must be in [1, 100000], got 0"),
    (("search", "budget"), {"steps": 1, "device_s": 1.0}, "search.budget", "takes either steps or device_s"),
    (("search", "budget"), {"steps": 0}, "search.budget.steps", "must be above 0, got 0"),
    (
        ("sequential",),
        {"first": 6, "step": 1},
        "sequential.first",
        "must be at least 3, the fewest that allow a verdict, and below replicates (6), got 6",
    ),
    (("sequential",), {"first": 3, "step": 0}, "sequential.step", "must be in [1, 6], got 0"),
]


@pytest.mark.parametrize(("path", "value", "field", "message"), ERRORS)
def test_mistake_is_named_with_its_field(path, value, field, message):
    found = [told for where, told in problems(changed(path, value)) if where == field]
    assert any(told.startswith(message) for told in found), found


def test_the_file_without_a_mistake_is_accepted():
    study = study_from_file(FILE, CATALOG)
    assert study.options == {"batch_size": 64, "epochs": 15, "width": 8}
    assert study.arm("sgd").space == BUILT_IN.optimizers["SGD"].default_space


def test_all_mistakes_are_told_at_once():
    document = changed(("seed",), -1)
    document["arms"][0]["search"] = {"lr": {"log": [1, 0]}, "x": 1}
    document["compare"] = [["a", "b"]]
    fields = [field for field, _ in problems(document)]
    assert fields == ["arms[0].search.lr", "arms[0].search.x", "compare[0]", "compare[0]", "seed"]


def test_one_mistake_is_told_once():
    """One thing is wrong in each row of the table, so one problem comes back, but for those with a consequence."""
    for path, value, field, _ in ERRORS:
        found = problems(changed(path, value))
        if path not in (("arms",), ("arms", 1, "name"), ("arms", 0, "name"), ("search", "trials"), ("replicates",)):
            assert [entry[0] for entry in found] == [field], (path, value)


def test_default_comparison_is_every_arm_against_the_first():
    document = changed(("arms",), [{"name": n, "optimizer": "AdamW"} for n in ("a", "b", "c")])
    del document["compare"]
    assert study_from_file(document, CATALOG).compare == (("a", "b"), ("a", "c"))


def test_whole_numbers_written_as_floats_become_whole_numbers():
    study = study_from_file(changed(("workload", "options"), {"epochs": 15.0}), CATALOG)
    assert type(study.options["epochs"]) is int
    assert study.spec_hash == study_from_file(FILE, CATALOG).spec_hash


def test_sgd_without_momentum_is_accepted_without_nesterov():
    study = study_from_file(changed(SGD, {"momentum": 0, "nesterov": False}), CATALOG)
    assert study.arm("sgd").space["momentum"] == 0


def test_a_sampler_that_needs_torch_is_refused_where_the_coordinator_has_none():
    document = changed(("search", "sampler"), "gp")
    assert study_from_file(document, CATALOG).search.sampler == "gp"
    with pytest.raises(InvalidStudyError) as caught:
        study_from_file(document, CATALOG, samplers=("random", "tpe"))
    assert caught.value.problems[0].message.startswith("gp needs PyTorch where the coordinator runs")


def test_an_allowed_sampler_of_optuna_takes_any_options():
    name = "optuna.samplers:PartialFixedSampler"
    document = changed(("search",), {"sampler": name, "options": {"deep": {"list": [1, 2]}}})
    study = study_from_file(document, CATALOG, samplers=(name,))
    assert study.search.is_adaptive
    assert study.search.options == {"deep": {"list": [1, 2]}}
