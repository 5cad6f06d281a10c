"""Looks of arms: no two of a study alike, a family in one colour."""

from itertools import combinations

from service.dashboard.palette import FAMILY_COLOURS, arm_styles

OPTIMIZERS = ("SGD", "SGDW", "SGDP", "Adam", "AdamW", "AdamP", "torch.optim:Adagrad", "plugged:Lion")


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_no_two_arms_look_alike():
    styles = arm_styles([(f"{name}-{i}", name) for name in OPTIMIZERS for i in range(6)])
    looks = [(style.colour, style.dash, style.marker) for style in styles.values()]
    assert len(looks) == len(set(looks)) == 48


def test_variants_of_a_family_share_its_colour_and_differ_in_dash_and_in_marker():
    styles = arm_styles([("coupled", "Adam"), ("decoupled", "AdamW"), ("tuned", "AdamW")])
    assert {style.colour for style in styles.values()} == {FAMILY_COLOURS["adam"]}
    for one, other in combinations(styles.values(), 2):
        assert one.dash != other.dash
    assert [styles[name].marker for name in ("coupled", "decoupled")] == ["triangle", "emptyTriangle"]


def test_families_differ_in_shape_beside_colour():
    styles = arm_styles([(name, name) for name in ("SGDW", "SGDP", "AdamW", "AdamP")])
    assert len({style.marker for style in styles.values()}) == 4


def test_colours_stand_out_from_both_grounds():
    for colour in {style.colour for style in arm_styles([(str(i), f"x:{i}") for i in range(9)]).values()} | set(
        FAMILY_COLOURS.values()
    ):
        for ground in ("#ffffff", "#14161a"):
            low, high = sorted((luminance(colour), luminance(ground)))
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, ground)
