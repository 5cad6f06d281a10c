"""Groups of layers, and those that were never projected."""

from service.dashboard.charts.form import thinned
from service.dashboard.charts.invariance import INVARIANT, OTHERS, groups_of, members_of, never_projected


def rows(*layers):
    return [
        {"layer": name, "is_scale_invariant": flag, "considered_by": ["adamp", "sgdp"], "projected_by": by}
        for name, flag, by in layers
    ]


LAYERS = rows(
    ("blocks.0.weight", True, ["adamp", "sgdp"]),
    ("blocks.1.weight", True, ["adamp"]),
    ("embed.weight", False, []),
    ("head.weight", False, []),
)


def test_layers_are_grouped_by_what_they_are_and_by_module():
    assert groups_of(LAYERS) == {
        INVARIANT: ("scale-invariant layers", ["blocks.0.weight", "blocks.1.weight"]),
        OTHERS: ("other layers", ["embed.weight", "head.weight"]),
        "group:module:blocks": ("all of blocks", ["blocks.0.weight", "blocks.1.weight"]),
    }
    assert groups_of(LAYERS[:1]) == {}


def test_an_unknown_choice_is_the_first_group_or_layer():
    assert members_of(LAYERS, "gone") == ("scale-invariant layers", ["blocks.0.weight", "blocks.1.weight"])
    assert members_of(LAYERS, "head.weight") == ("head.weight", ["head.weight"])
    assert members_of(LAYERS[2:3], "gone") == ("embed.weight", ["embed.weight"])
    assert members_of([], "gone") == ("", [])


def test_layers_that_an_arm_never_projected_are_listed_by_arm():
    assert never_projected(LAYERS) == {
        "sgdp": ["blocks.1.weight", "embed.weight", "head.weight"],
        "adamp": ["embed.weight", "head.weight"],
    }
    assert never_projected([{**LAYERS[2], "considered_by": []}]) == {}


def test_long_lines_keep_their_ends():
    kept = thinned(list(range(1000)), 120)
    assert len(kept) == 120
    assert (kept[0], kept[-1]) == (0, 999)
    assert thinned([1, 2], 120) == [1, 2]
