import itertools

from workers.check.explain import in_words, separate

UNITS = [
    {"projected": p, "weight_decay": w, "gradient": g}
    for p, w, g in itertools.product([True, False], [0.0, 0.1], ["random", "channel", "layer"])
]
POSSIBLE = {"projected": [True, False], "weight_decay": [0.0, 0.1], "gradient": ["random", "channel", "layer"]}


def told(rule):
    failing = [unit for unit in UNITS if rule(unit)]
    found = separate(failing, [unit for unit in UNITS if not rule(unit)])
    return found, in_words(found, POSSIBLE)


def test_one_factor_is_found_before_two():
    found, words = told(lambda unit: unit["weight_decay"] > 0)
    assert set(found.values) == {"weight_decay"}
    assert words == "only where weight_decay > 0"


def test_two_factors_are_joined_and_only_as_many_as_it_takes():
    found, words = told(lambda unit: unit["weight_decay"] > 0 and unit["projected"])
    assert found.n_passing == 0
    assert words == "only where the step is projected and weight_decay > 0"


def test_several_values_of_a_factor_are_one_clause():
    assert told(lambda unit: unit["gradient"] != "layer")[1] == "only where gradient is not layer"
    assert told(lambda unit: unit["gradient"] == "layer")[1] == "only where gradient is layer"


def test_what_fails_everywhere_needs_no_factor():
    assert told(bool)[1] == "everywhere"


def test_what_no_conjunction_separates_says_how_many_pass():
    found, words = told(lambda unit: unit["projected"] != (unit["weight_decay"] > 0))
    assert found.n_passing > 0
    assert "of 12 tensors, by no rule" in words or "and passes in" in words
