"""What results show: every field, rounded by its error, and nothing that a label could break."""

import dataclasses
import importlib
import re
from dataclasses import dataclass
from html import unescape
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalearners import evaluation
from metalearners.evaluation import (
    Looks,
    Stability,
    calibration,
    choose_and_judge,
    judge,
    segment_effects,
    sensitivity,
)
from metalearners.evaluation.average_effects import average_effects
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.recurring.looks import Look
from metalearners.intervals import Intervals
from metalearners.showing.results import Several, Shown, between, rounded, table_html
from tests.simulate import LEARNERS, tree_learner


@dataclass(frozen=True)
class Labelled(Shown):
    """A result with a text of somebody else."""

    label: Any
    effect: Estimate


EFFECT = Estimate(0.123456, 0.0213, 0.0817, 0.1652, 98.7)
ROWS = np.random.default_rng(0).normal(size=(200, 3))
ARMS = np.arange(200) % 2
SCORES = np.column_stack([np.zeros(200), ROWS[:, 0] + ROWS[:, 1]])
LOOK = Look(1000, 1000.0, EFFECT)


def results():
    """Results of most classes, one within another."""
    two = {"x": ROWS[:, 0], "z": ROWS[:, 2]}
    yield judge(ROWS[:, 0], SCORES[:, 1], arms=ARMS)
    yield choose_and_judge(two, SCORES[:, 1], arms=ARMS, stack=True)
    yield sensitivity(SCORES[:, 1], ARMS, np.zeros((200, 2)), np.full((200, 2), 0.5))
    yield Looks(0.025).after("2026-01", LOOK).after("2026-02", LOOK)
    yield Intervals(*ROWS.T, ROWS[:, 0])
    yield Stability(0.1, 0.05, 0.2, 0.03, 0.3)
    yield EFFECT


def text_of(html: str) -> str:
    """What a browser shows, a space between cells."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", html)).split())


def words(text: str) -> list[str]:
    return sorted(re.findall(r"[^\s=,;:(){}\[\]]+", text))


def fields(result: Any) -> Any:
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        yield field.name
        if isinstance(value, Shown) and not value._brief():
            yield from fields(value)


@pytest.mark.parametrize("result", list(results()), ids=lambda one: type(one).__name__)
def test_both_forms_have_every_field_and_the_same_words(result):
    names = set(fields(result))

    assert names <= set(words(repr(result)))
    shown, html = words(repr(result)), words(text_of(result._repr_html_()))
    assert set(html) <= set(shown)
    # The text alone repeats the names of the classes inside.
    assert {word for word in set(shown) - set(html) if not word[0].isupper()} == set()


def test_an_estimate_is_told_with_its_interval_at_each_place():
    found = judge(ROWS[:, 0], SCORES[:, 1], arms=ARMS)
    own = found.gates.groups[2].actual

    for form in (repr(found), text_of(found._repr_html_())):
        assert str(own) in form
        assert str(found.dr_loss) in form
        assert str(found.gain.uplift.at(0.3)) in form
    assert str(EFFECT) == "0.123 (0.082 to 0.165)"
    assert repr(EFFECT) == (
        "Estimate(estimate=0.1235, std_error=0.0213, ci_low=0.0817, ci_high=0.1652, degrees=98.7)"
    )


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_rounding_moves_a_figure_by_a_twentieth_of_its_error_at_most(value, error):
    found = rounded(value, error)

    assert abs(float(found) - value) <= 0.05 * error * (1 + 1e-6)
    assert error < 1 or len(found.partition(".")[2]) <= 1


@given(st.floats(-1e300, 1e300, allow_subnormal=False))
def test_rounding_without_an_error_keeps_four_digits(value):
    assert abs(float(rounded(value)) - value) <= 5.01e-4 * abs(value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_told(value):
    assert rounded(value) == rounded(value, 1.0) == str(value)
    assert between(value, 0, 1, np.nan).startswith(str(value))


def test_labels_break_neither_form():
    label = '<script>alert("1")</script>\x1b[2J\n'
    one = Labelled(label, EFFECT)

    for shown in (one, Several([one, Labelled("b", EFFECT)])):
        html = shown._repr_html_()
        assert "<script>" not in html
        assert repr(label) in text_of(html)
        assert repr(label) in repr(shown)
        assert "\x1b" not in html + repr(shown)
    assert "<i>" not in table_html(["<i>"], [["x"]])


def test_several_results_are_a_table_and_remain_a_list():
    w = ARMS
    found = segment_effects(SCORES, {"high": ROWS[:, 2] > 0, "third": np.arange(200) % 3}, w)
    lines = repr(found).splitlines()

    assert lines[0].split() == ["segment", "level", "arm", "rows", "effect", "joint"]
    assert [line.split()[:2] for line in lines[1:]] == [[f.segment, str(f.level)] for f in found]
    assert len({line.index(str(f.effect)) for line, f in zip(lines[1:], found, strict=True)}) == 1
    assert words(text_of(found._repr_html_())) == words(repr(found))
    assert found == list(found)
    assert repr(Several([])) == Several([])._repr_html_() == "[]"
    assert repr(Several([EFFECT, EFFECT])) == f"{EFFECT}\n{EFFECT}"
    for others in (average_effects(SCORES, w), calibration(ROWS[:, 0], SCORES[:, 1])):
        assert isinstance(others, Several)


def test_every_public_result_shows_itself():
    classes = [
        found
        for name, place in evaluation._PLACES.items()
        if isinstance(
            found := getattr(importlib.import_module(f"metalearners.evaluation.{place}"), name),
            type,
        )
    ]

    assert len(classes) > 20
    plain = [found.__name__ for found in classes if not issubclass(found, Shown)]
    assert plain == [], "a result has Shown of metalearners.showing.results as its base"


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_learner_has_scikit_learn_s_diagram_without_a_warning(learner):
    made = tree_learner(learner)

    assert learner.__name__ in made._repr_html_()
    assert "LGBMRegressor" in made._repr_mimebundle_()["text/html"]
