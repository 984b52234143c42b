"""Pictures hold the figures that they are given, on the axes that they are given."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metalearners import plots
from metalearners.evaluation import (
    Estimate,
    feature_effects,
    judge,
    mean_with_error,
    segment_effects,
    standardized_differences,
    targeting_curve,
    treatment_path,
)


@pytest.fixture(scope="module")
def rows():
    """Features, arms, scores of an effect that rises with the first feature, and its estimate."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(600, 3)), np.arange(600) % 2
    return X, w, 1 + X[:, 0] + rng.normal(size=600), X[:, 0] + 0.5 * X[:, 1]


@pytest.fixture(scope="module")
def judged(rows):
    _, w, scores, cate = rows
    return judge(cate, scores, arms=w, draws=0)


@pytest.fixture
def pictures(rows, judged):
    """Each picture, as a function of where it is drawn."""
    X, w, scores, cate = rows
    average = {"mail": mean_with_error(scores)}
    gaps = standardized_differences(X, w, 2)
    both = np.column_stack([0 * scores, scores])
    along = feature_effects(both, {"x": X[:, 0]}, w)
    path = treatment_path(cate[:, None], np.full((600, 1), 0.2))
    curve = targeting_curve(path, both, arms=w)
    two = {"TLearner": judged, "DRLearner": judged}
    return {
        "average_effects": lambda ax: plots.average_effects(average, ax, raw=average),
        "balance": lambda ax: plots.balance(list("abc"), gaps, ax=ax),
        "calibration": lambda ax: plots.calibration(judged, ax),
        "drivers": lambda ax: plots.drivers(list("abc"), np.array([0.7, 0.2, 0.1]), ax),
        "estimates": lambda ax: plots.estimates({"TLearner": cate, "mine": scores}, ax),
        "feature_effect": lambda ax: plots.feature_effect(along, ax),
        "forest": lambda ax: plots.forest({"new": {"TLearner": average["mail"]}}, ax),
        "gates": lambda ax: plots.gates(two, ax),
        "overlap": lambda ax: plots.overlap(np.full(9, 0.3), np.full(9, 0.4), ax),
        "qini": lambda ax: plots.qini(two, ax),
        "segments": lambda ax: plots.segments(segment_effects(both, {"new": X[:, 1] > 0}, w), ax),
        "targeting": lambda ax: plots.targeting(curve, ax, marks={"all": (0.3, average["mail"])}),
        "toc": lambda ax: plots.toc(two, ax),
    }


def test_each_picture_is_drawn_where_it_is_asked_for(pictures):
    offered = {name for name in plots.__all__ if not name.endswith(("tyle", "styles"))}

    assert set(pictures) == offered
    for draw in pictures.values():
        given = Figure((5, 3)).add_axes((0.2, 0.2, 0.7, 0.7))
        assert draw(given) is given
        assert given.figure.axes == [given]  # nothing beside it, and nothing moved
        assert given.figure.get_size_inches().tolist() == [5, 3]
        assert given.get_position().bounds == pytest.approx((0.2, 0.2, 0.7, 0.7))

        figure = Figure()
        assert draw(figure) in figure.axes
        assert not pyplot.get_fignums()  # pyplot doesn't know it
        assert isinstance(draw(None), Axes)
        assert len(pyplot.get_fignums()) == 1  # a notebook shows it
        pyplot.close("all")


def test_a_qini_curve_begins_at_zero_and_its_band_is_that_of_its_distance(judged):
    axes = plots.qini(judged, Figure(), outcome="visits")
    random, curve = (one.get_xydata() for one in axes.lines)
    (band,) = axes.collections

    gain = judged.gain
    assert curve.T.tolist() == [[0, *gain.gain.share], [0, *gain.gain.value]]
    assert random.tolist() == [[0, 0], [1, gain.gain.value[-1]]]
    at, kept = gain.gain.share * gain.gain.value[-1], np.isfinite(gain.above_line.joint_low)
    corners = band.get_paths()[0].vertices
    for ends in (gain.above_line.joint_low, gain.above_line.joint_high):
        for x, y in zip(gain.gain.share[kept], (at + ends)[kept], strict=True):
            assert np.abs(corners - [x, y]).sum(axis=1).min() < 1e-12
    assert axes.get_ylabel() == "Gain in visits"


def test_each_of_several_learners_has_a_strip_and_a_key(judged):
    axes = plots.qini({"TLearner": judged, "mine": judged}, Figure())
    without = plots.qini({"TLearner": judged, "mine": judged}, Figure(), keys=False)

    strips = axes.figure.axes[1:]
    assert [strip.texts[0].get_text() for strip in strips] == ["TLearner", "mine"]
    assert [text.get_text() for text in axes.get_legend().texts] == ["TLearner", "mine"]
    assert without.get_legend() is None


def test_calibration_marks_the_effect_found_at_the_mean_estimate(judged):
    axes = plots.calibration(judged, Figure())
    marks = [one.get_xydata().tolist() for one in axes.lines if one.get_marker() != "None"]
    ends = [one.get_xydata().T.tolist() for one in axes.lines if len(one.get_xydata()) == 2]

    assert marks == [[[g.predicted, g.actual.estimate]] for g in judged.groups]
    for group in judged.groups:
        actual = group.actual
        assert [[group.predicted] * 2, [actual.ci_low, actual.ci_high]] in ends


def test_effects_along_numbers_have_steps_and_bands_of_joint_intervals(rows):
    X, w, scores, _ = rows
    along = feature_effects(np.column_stack([0 * scores, scores]), {"age": X[:, 0]}, w)
    axes = plots.feature_effect(along, Figure())

    bands = [(np.min(c := b.get_paths()[0].vertices, 0), np.max(c, 0)) for b in axes.collections]
    for k, (one, (low, high)) in enumerate(zip(along, bands, strict=True)):
        assert [low.tolist(), high.tolist()] == [[k, one.joint[0]], [k + 1, one.joint[1]]]
    ends = [along[0].low, *(one.low for one in along[1:]), along[-1].high]
    assert [text.get_text() for text in axes.get_xticklabels()] == [f"{end:.3g}" for end in ends]
    assert axes.get_xlabel() == "age"


def test_segments_have_rows_by_level_with_joint_intervals(rows):
    X, w, scores, _ = rows
    found = segment_effects(np.column_stack([0 * scores, scores]), {"new": X[:, 1] > 0}, w)
    axes = plots.segments(found, Figure(), arms=["mail"])

    assert [one.get_text() for one in axes.get_yticklabels()] == ["new: False", "new: True"]
    drawn = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert [one.joint for one in found] == [tuple(ends) for ends in drawn if any(ends)]


def test_one_interval_far_wider_than_the_others_takes_no_room_from_them():
    near, far = Estimate(1.0, 0.1, 0.8, 1.2, 9.0), Estimate(90.0, 99.0, -400.0, 600.0, 1.0)
    axes = plots.forest({"a": {"": near}, "b": {"": near}, "rare": {"": far}}, Figure())

    low, high = axes.get_xlim()
    assert -1 < low < 0
    assert 1.2 < high < 2


def test_a_difference_to_itself_limits_no_picture():
    none, some = Estimate(0.0, 0.0, 0.0, 0.0, 9.0), Estimate(-1.0, 0.5, -2.0, -0.1, 9.0)
    axes = plots.forest({"best": {"a": none}, "other": {"b": some}}, Figure(), keys=False)

    low, high = axes.get_xlim()
    assert low < -2
    assert high > 0
    marks = [line.get_ydata()[0] for line in axes.lines if line.get_marker() not in ("None", "")]
    assert marks == [0, 1]  # a single mark is in the middle of its row


def test_a_curve_above_average_is_drawn_from_where_bands_hold(judged):
    zero, curve = plots.toc(judged, Figure()).lines

    toc = judged.gain.toc
    known = toc.share >= judged.gain.begin
    assert 0 < known.sum() < len(known)
    assert curve.get_xydata().T.tolist() == [[*toc.share[known]], [*toc.value[known]]]
    assert not np.any(zero.get_ydata())


def test_intervals_of_all_arms_at_once_go_beyond_those_of_one():
    found = {"mail": Estimate(1, 0.5, 0, 2, 9), "call": Estimate(3, 0.5, 2, 4, 9)}
    wider = {"mail": (-0.5, 2.5), "call": (1.5, 4.5)}
    axes = plots.average_effects(found, Figure(), raw=found, joint=wider)

    thin = [line for line in axes.lines if line.get_marker() == "|"]
    filled = [line for line in axes.lines if line.get_linewidth() == 1.4][::2]
    assert [tuple(line.get_xdata()) for line in thin] == [*wider.values()]
    assert [tuple(line.get_xdata()) for line in filled] == [(0, 2), (2, 4)]
    assert [[*line.get_ydata()] for line in thin] == [[*line.get_ydata()] for line in filled]
    assert not [
        line
        for line in plots.average_effects(found, Figure(), raw=found).lines
        if line.get_marker() == "|"
    ]


def test_names_of_the_data_are_no_formulas():
    effect = mean_with_error(np.arange(9.0))
    axes = plots.average_effects({"$\\frac{1}{0}$\n\x00": effect}, Figure(), outcome="$x")

    assert [label.get_text() for label in axes.get_yticklabels()] == ["\\$\\frac{1}{0}\\$ □"]
    assert axes.get_xlabel() == "Effect on \\$x, per row"
    axes.figure.draw_without_rendering()


def test_a_difference_of_nothing_leaves_room_for_the_others():
    found = {"best": Estimate(0, 0, 0, 0, 9), "other": Estimate(-1, 0.5, -2, 0, 9)}
    rows = {name: {"": one} for name, one in found.items()}
    low, high = plots.forest(rows, Figure()).get_xlim()

    assert low < -2
    assert high > 0
