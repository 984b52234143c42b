"""All figures at the edges of what rows may be: right, or a clear refusal."""

import numpy as np
import pytest
from scipy import stats

from metalearners.evaluation import (
    aipw_scores,
    blp,
    choose_and_judge,
    gain_curve,
    gates,
    judge,
    mean_with_error,
    rate,
    rounding,
)

CURVES = ("gain", "above_line", "uplift", "toc")
KINDS = ("autoc", "qini")
CUTS = stats.norm.ppf([0, 0.2, 0.4, 0.6, 0.8, 1])
FIFTHS = 5 * (stats.norm.pdf(CUTS[:-1]) - stats.norm.pdf(CUTS[1:]))  # means of a standard normal
RANKS = (np.arange(100_000) + 0.5) / 100_000
TOC = stats.norm.pdf(stats.norm.isf(RANKS)) / RANKS  # of effects that are standard normal


def draw(seed, n):
    """Estimates, and scores around a line through them."""
    rng = np.random.default_rng(seed)
    predicted = rng.normal(size=n)
    return predicted, predicted + rng.normal(size=n)


def covers(found, truth):
    return found.ci_low <= truth <= found.ci_high


def test_a_reversed_ranking_has_the_mirrored_figures():
    predicted, scores = draw(0, 1000)
    found, other = judge(predicted, scores), judge(-predicted, scores)

    bottom = -found.gain.above_line.value[-2::-1]
    assert other.gain.above_line.value[:-1] == pytest.approx(bottom)
    errors = found.gain.above_line.std_error[-2::-1]
    assert other.gain.above_line.std_error[:-1] == pytest.approx(errors)
    assert other.qini.estimate.estimate == pytest.approx(-found.qini.estimate.estimate, abs=1e-3)
    for one, mirrored in zip(found.groups, other.groups[::-1], strict=True):
        assert mirrored.actual.estimate == pytest.approx(one.actual.estimate)
        assert mirrored.predicted == pytest.approx(-one.predicted)
    for tenth, mirrored in zip(found.gain.deciles, other.gain.deciles[::-1], strict=True):
        assert mirrored.estimate == pytest.approx(tenth.estimate)
    right, wrong = gates(predicted, scores), gates(-predicted, scores)
    assert wrong.difference.estimate == pytest.approx(-right.difference.estimate)
    assert (wrong.p_monotone, right.p_monotone) == (pytest.approx(1e-4, rel=1e-3), 1)
    line = blp(-predicted, scores)
    assert line.slope.estimate == pytest.approx(-blp(predicted, scores).slope.estimate)
    assert line.p_calibrated < 1e-9
    alone = choose_and_judge({"reversed": -predicted}, scores)
    assert alone.p_constant[0] > 0.999
    assert not alone.distinguishable_from_constant
    assert choose_and_judge({"a": -predicted, "b": predicted}, scores).chosen == "b"


@pytest.mark.parametrize("level", [0.0, 1e6])
def test_one_estimate_for_all_rows_orders_nothing(level):
    """It comes as a difference of outcomes, whose level leaves rounding in it."""
    base, scores = draw(1, 500)
    weight = np.random.default_rng(2).exponential(size=500)
    treated = level + base + 0.3
    predicted = treated - (level + base)
    tolerance = rounding(predicted, treated)
    own = {"tolerance": tolerance}
    found = judge(predicted, scores, weight, **own)
    mean = mean_with_error(scores, weight)

    for one in (found.qini, found.autoc):
        assert (one.estimate.estimate, one.estimate.std_error) == (0, 0)
        assert (one.p_value, one.p_greater) == (1, 1)
    shares = found.gain.gain.share
    assert found.gain.gain.value == pytest.approx(shares * mean.estimate)
    assert found.gain.gain.std_error == pytest.approx(shares * mean.std_error)
    for name in ("above_line", "toc"):
        curve = getattr(found.gain, name)
        assert np.abs([curve.value, curve.std_error]).max() == pytest.approx(0, abs=1e-12)
    assert [one.estimate for one in found.gain.deciles] == pytest.approx([mean.estimate] * 10)
    (group,) = found.groups
    assert group.actual.estimate == pytest.approx(mean.estimate)
    assert group.actual.std_error == pytest.approx(mean.std_error)
    assert gates(predicted, scores, weight, **own).difference.std_error == 0
    assert blp(predicted, scores, weight, **own) is None
    chosen = choose_and_judge({"constant": predicted, "line": base}, scores, weight, **own)
    assert chosen.chosen == "line"
    one = choose_and_judge({"constant": predicted}, scores, weight, **own)
    assert one.p_constant == (1,)


def test_a_tenth_without_an_arm_has_the_mean_of_its_scores():
    """Its rows are all of the control, so no band holds there, and groups have their errors."""
    predicted, scores = draw(3, 1000)
    top = predicted >= np.sort(predicted)[-100]
    arms = np.where(top, 0, np.random.default_rng(4).integers(0, 2, 1000))
    found = gain_curve(predicted, scores, arms=arms)

    of_top = mean_with_error(scores[top], arms=arms[top])
    tenth = found.deciles[0]
    assert tenth.estimate == pytest.approx(of_top.estimate) == found.uplift.at(0.1).estimate
    assert of_top.std_error < tenth.std_error < 1.5 * of_top.std_error  # its cut is estimated
    assert tenth.degrees == pytest.approx(99, abs=1)
    assert found.begin == pytest.approx(
        np.flatnonzero(arms[np.argsort(-predicted)])[49] / 1000, abs=0.01
    )
    assert np.isnan(found.toc.joint_low[:10]).all()
    groups = gates(predicted, scores, arms=arms, n_groups=10)
    assert groups.groups[-1].actual.estimate == pytest.approx(of_top.estimate)
    assert 50 < groups.groups[-1].actual.degrees < 150


def test_whole_weights_are_repeated_rows():
    predicted, scores = draw(5, 300)
    times = np.random.default_rng(6).integers(1, 4, 300)
    many = predicted.repeat(times), scores.repeat(times)
    curves, repeated = gain_curve(predicted, scores, times), gain_curve(*many)
    for name in CURVES:
        wanted = getattr(repeated, name).value
        assert getattr(curves, name).value == pytest.approx(wanted, abs=1e-12)
    for one, other in zip(gates(predicted, scores, times).groups, gates(*many).groups, strict=True):
        assert one.actual.estimate == pytest.approx(other.actual.estimate)
        assert one.predicted == pytest.approx(other.predicted)
    qini = rate(predicted, scores, times, kind="qini").estimate.estimate
    assert qini == pytest.approx(rate(*many, kind="qini").estimate.estimate)


def test_a_row_twice_in_a_cluster_is_a_row():
    predicted, scores = draw(7, 300)
    twice = predicted.repeat(2), scores.repeat(2), None, np.repeat(np.arange(300), 2)
    one, two = gates(predicted, scores, draws=100), gates(*twice, draws=100)
    assert vars(two.difference) == pytest.approx(vars(one.difference))
    assert two.p_monotone == one.p_monotone
    assert vars(blp(*twice).slope) == pytest.approx(vars(blp(predicted, scores).slope))
    qini = rate(predicted, scores, kind="qini").estimate
    # Rows alone have longer errors, by what they pull the figure to themselves.
    assert vars(rate(*twice, kind="qini").estimate) == pytest.approx(vars(qini), rel=0.01)
    curve, other = (gain_curve(*given).above_line for given in ((predicted, scores), twice))
    assert other.value == pytest.approx(curve.value, abs=1e-12)
    middle = slice(9, 90)  # of twice as many rows, a window is narrower: more so near the ends
    assert other.std_error[middle] == pytest.approx(curve.std_error[middle], rel=0.05)


def test_an_outcome_s_level_changes_nothing():
    rng = np.random.default_rng(8)
    predicted, base = rng.normal(size=600), rng.normal(size=600)
    w = rng.integers(0, 2, 600)
    y = base + w * predicted + rng.normal(size=600)
    mu, e = np.column_stack([base, base + 0.5]), np.full((600, 2), 0.5)

    def figures(level):
        gamma = aipw_scores(y + level, w, mu + level, e)
        given = predicted, gamma[:, 1] - gamma[:, 0]
        found = judge(*given, arms=w)
        groups, line = gates(*given, arms=w, draws=100), blp(*given, arms=w)
        chosen = choose_and_judge({"a": given[0], "b": base}, given[1], arms=w, draws=100)
        return [
            *vars(found.qini.estimate).values(),
            *vars(found.autoc.estimate).values(),
            *np.nan_to_num([found.gain.gain.joint_low, found.gain.toc.joint_high]).ravel(),
            *(value for one in groups.groups for value in vars(one.actual).values()),
            groups.p_monotone,
            *vars(line.slope).values(),
            *vars(chosen.difference).values(),
            *chosen.p_constant,
        ]

    assert figures(1e6) == pytest.approx(figures(0), rel=1e-6, abs=1e-8)


def test_two_hundred_rows_have_bands_where_arms_have_fifty():
    predicted, scores = draw(9, 200)
    arms = np.arange(200) % 2
    found = judge(predicted, scores, arms=arms)

    begin = found.gain.begin
    order = arms[np.argsort(-predicted)]
    least = min(np.count_nonzero(order[: round(200 * begin)] == k) for k in (0, 1))
    assert least >= 50 > least - 2
    for name in CURVES:
        curve = getattr(found.gain, name)
        assert np.isfinite([curve.value, curve.std_error, curve.low, curve.high]).all()
    there = found.gain.gain.share >= begin - 1e-9
    assert (np.isfinite(found.gain.gain.joint_low) == there).all()
    assert np.isnan(found.gain.toc.joint_low).all()  # nowhere 50 of an arm on both sides
    assert [one.rows for one in found.groups] == [40] * 5


def thin(rng, n):
    """Half of the rows are treated in one case of 100."""
    tau, noise = rng.normal(size=n), rng.normal(size=n)
    e = np.where(rng.random(n) < 0.5, 0.01, 0.5)
    w = (rng.random(n) < e).astype(int)
    return tau, tau + (w / e - (1 - w) / (1 - e)) * noise, w


def zeros(rng, n):
    """19 in 20 outcomes are 0; estimates are of other things, so the truth is 0 everywhere."""
    w = rng.integers(0, 2, n)
    y = (rng.random(n) < 0.05) * rng.exponential(size=n)
    return rng.normal(size=n), np.where(w == 1, 2, -2) * (y - 0.05), w


def few(rng, n):
    """Scores around the effect."""
    tau = rng.normal(size=n)
    return tau, tau + 2 * rng.normal(size=n), rng.integers(0, 2, n)


@pytest.mark.parametrize(
    ("sample", "n", "slope"), [(thin, 1000, 1), (zeros, 1000, 0), (few, 200, 1)]
)
def test_intervals_cover_at_the_edges(sample, n, slope):
    rng = np.random.default_rng(10)
    inside = []
    for _ in range(400):
        predicted, scores, arms = sample(rng, n)
        given, own = (predicted, scores), {"arms": arms}
        groups = gates(*given, **own, draws=1)
        inside.append(
            [
                covers(rate(*given, **own).estimate, slope * TOC.mean()),
                covers(rate(*given, **own, kind="qini").estimate, slope * (RANKS * TOC).mean()),
                covers(blp(*given, **own).slope, slope),
                covers(groups.difference, slope * (FIFTHS[-1] - FIFTHS[0])),
                np.mean(
                    [
                        covers(one.actual, slope * truth)
                        for one, truth in zip(groups.groups, FIFTHS, strict=True)
                    ]
                ),
            ]
        )
    found = np.mean(inside, axis=0)
    assert ((found >= 0.91) & (found <= 0.985)).all(), found


@pytest.mark.parametrize(
    "call",
    [
        judge,
        gain_curve,
        rate,
        gates,
        blp,
        lambda predicted, scores, weight, groups: choose_and_judge(
            {"a": predicted}, scores, weight, groups
        ),
    ],
)
def test_rows_that_tell_nothing_are_refused(call):
    predicted, scores = draw(11, 20)
    for given, message in (
        ((predicted, scores + np.nan, None, None), "finite numbers"),
        ((predicted, scores, np.zeros(20), None), "weight"),
        ((predicted, scores, -np.ones(20), None), "weight"),
        ((predicted, scores, None, np.zeros(20)), "two rows or clusters or more"),
    ):
        with pytest.raises(ValueError, match=message):
            call(*given)
