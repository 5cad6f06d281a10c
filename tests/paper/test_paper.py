"""docs/paper.md says what its data say, and the data say what the paper claims."""

import json

import pytest

from tests.paper import figures, make, page, toys
from tests.paper.svg import log_ticks, ticks

DOCUMENT = json.loads(page.DATA.read_text())


def test_the_page_is_generated_from_the_figures():
    assert page.PAGE.read_text() == page.render(DOCUMENT), "edited by hand? run python -m tests.paper.make"


def test_the_drawings_are_generated_from_the_figures():
    assert page.PLANE_SVG.read_text() == figures.draw_plane(DOCUMENT["plane"])
    assert page.SPHERE_SVG.read_text() == figures.draw_sphere(DOCUMENT["sphere"])


def test_the_plane_run_again_gives_the_recorded_ends():
    again = json.loads(json.dumps(make.plane_figures(toys.run_plane())))
    recorded = DOCUMENT["plane"]["end"]
    assert again["end"]["steps_to_90_percent"] == recorded["steps_to_90_percent"]
    for momentum, norms in recorded["norms"].items():
        assert again["end"]["norms"][momentum] == pytest.approx(norms, rel=1e-4)


def test_momentum_reaches_the_papers_norms_in_the_plane():
    norms = DOCUMENT["plane"]["end"]["norms"]
    assert norms["0.9"]["momentum"] == pytest.approx(2.93, abs=0.005)
    assert norms["0.99"]["momentum"] == pytest.approx(27.9, abs=0.05)


@pytest.mark.parametrize("momentum", ["0.9", "0.95", "0.99"])
def test_in_the_plane_sgdp_arrives_first_and_hardly_grows(momentum):
    end = DOCUMENT["plane"]["end"]
    steps, norms = end["steps_to_90_percent"][momentum], end["norms"][momentum]
    assert steps["SGDP"] < steps["momentum"] < steps["GD"]
    assert 1 < norms["GD"] < norms["SGDP"] < 1.2 < norms["momentum"]


def test_on_the_sphere_momentum_stalls_decay_helps_late_and_the_projection_converges():
    end = DOCUMENT["sphere"]["end"]
    stalled, decayed, projected = end["momentum"], end["momentum, weight decay"], end["SGDP"]
    assert projected["loss"] < 0.01 * decayed["loss"] < 0.01 * stalled["loss"]
    assert decayed["highest_norm"] > 0.9 * stalled["highest_norm"]  # the surge comes before decay can act
    assert decayed["norm"] < 0.5 * stalled["norm"]
    assert projected["highest_norm"] < 1.3


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 500, [0, 100, 200, 300, 400, 500]), (-1.3, 3.2, [-1, 0, 1, 2, 3]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])],
)
def test_ticks_are_round_numbers_within_the_range(low, high, expected):
    assert ticks(low, high) == expected


def test_log_ticks_are_powers_of_ten_over_a_wide_range_and_finer_over_a_narrow_one():
    assert log_ticks(1e-4, 1) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1])
    assert log_ticks(0.9, 6) == [1, 2, 5]
