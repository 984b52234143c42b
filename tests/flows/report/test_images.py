"""Pictures on light and dark pages."""

import base64
import re

import pytest
from matplotlib.figure import Figure

from flows.report.images import DARK_PAPER, PAPER, contrast, image_of, on_dark
from metalearners.evaluation import mean_with_error
from metalearners.plots import average_effects
from metalearners.plots.styles import ARMS, FAINT, INK, PALE
from metalearners.registry import REGISTRY


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # their example
    assert contrast("#123456", "#123456") == 1


@pytest.mark.parametrize(
    "colour", [*(arm.colour for arm in ARMS), *(one.colour for one in REGISTRY.values())]
)
def test_a_dark_page_shows_each_colour_of_an_arm_or_a_learner(colour):
    assert contrast(on_dark(colour), DARK_PAPER) >= 4.5


def test_ink_and_paper_change_places_on_a_dark_page():
    assert on_dark(PAPER) == DARK_PAPER
    seen = [contrast(on_dark(grey), DARK_PAPER) for grey in (INK, FAINT, PALE)]
    assert seen == sorted(seen, reverse=True)
    assert seen[0] > 7


def test_a_picture_has_no_colour_but_those_of_both_pages():
    picture = image_of(average_effects({"mail": mean_with_error([1.0, 2.0])}, Figure()), "x")
    svg = base64.b64decode(re.search("base64,([^\"']*)", str(picture))[1]).decode()
    (style,) = re.findall(r"<style.*?</style>", svg, re.S)
    drawn = svg.replace(style, "")

    used = set(re.findall(r"var\((--c\w+)\)", drawn))
    assert len(used) > 3
    assert not re.search(r"(fill|stroke): (?!none|var)", drawn)
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    for name in used:
        assert f"{name}:#{name[3:]};" in light
        assert f"{name}:{on_dark('#' + name[3:])};" in dark
