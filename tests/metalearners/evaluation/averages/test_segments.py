"""Effects of segments: means of their rows, joint as influences have it, and what is absent."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from metalearners.evaluation import mean_with_error, segment_effects, simultaneous_intervals


def sample(rng, n=400, n_variants=3):
    """Scores by arm, arms, weights and clusters of five."""
    w = rng.integers(0, n_variants, n)
    scores = rng.normal(size=(n, n_variants)) + np.arange(n_variants)
    return scores, w, rng.exponential(size=n), np.arange(n) // 5


def keyed(found):
    return {(one.segment, one.level, one.arm): one for one in found}


def test_an_effect_is_the_mean_of_the_level_s_rows():
    rng = np.random.default_rng(0)
    scores, w, weight, groups = sample(rng)
    segments = {"kind": rng.choice(["a", "b", "c"], 400), "new": rng.random(400) < 0.3}
    for v, g in ((None, None), (weight, None), (weight, groups)):
        found = segment_effects(scores, segments, w, v, g, level=0.9)
        assert [(one.segment, one.level) for one in found[::2]] == [
            *(("kind", "a"), ("kind", "b"), ("kind", "c"), ("new", False), ("new", True))
        ]
        assert [one.arm for one in found] == [1, 2] * 5
        for one in found:
            own = segments[one.segment] == one.level
            parts = (None if x is None else x[own] for x in (v, g))
            contrast = (scores[:, one.arm] - scores[:, 0])[own]
            wanted = mean_with_error(contrast, *parts, level=0.9, arms=w[own])
            assert dataclasses.astuple(one.effect) == pytest.approx(dataclasses.astuple(wanted))
            assert one.rows == own.sum()
            assert one.joint[0] < one.effect.ci_low < one.effect.ci_high < one.joint[1]


@pytest.mark.parametrize("clustered", [False, True])
def test_joint_intervals_are_those_of_the_influences(clustered):
    rng = np.random.default_rng(1)
    n = 6000
    scores, w, weight, groups = sample(rng, n, 2)
    scores[:, 1] += 3 * rng.normal(size=n)[groups]  # clusters straddle levels
    groups = groups if clustered else None
    segments = {"new": rng.random(n) < 0.3, "kind": rng.integers(0, 3, n)}
    found = segment_effects(scores, segments, w, weight, groups)

    contrast, influences = scores[:, 1] - scores[:, 0], []
    for one in found:
        own = segments[one.segment] == one.level
        mean = np.average(contrast[own], weights=weight[own])
        share = np.average(own, weights=weight)
        influences.append(own / share * (contrast - mean) + mean)
    wanted = simultaneous_intervals(np.column_stack(influences), weight, groups, arms=w)
    for one, (low, high) in zip(found, wanted, strict=True):
        assert one.joint[1] - one.joint[0] == pytest.approx(high - low, rel=0.01)


def test_segments_that_say_the_same_cost_nothing():
    rng = np.random.default_rng(2)
    scores, w, _, _ = sample(rng, 5000, 2)
    new = rng.random(5000) < 0.3
    once = segment_effects(scores, {"new": new}, w)
    often = segment_effects(scores, {f"new {j}": new for j in range(6)}, w)
    others = segment_effects(scores, {f"{j}": rng.random(5000) < 0.3 for j in range(6)}, w)

    def width(found):
        return found[1].joint[1] - found[1].joint[0]

    assert width(often) == pytest.approx(width(once), rel=0.04)
    assert width(others) > 1.15 * width(once)


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_one_by_one_and_all_at_once(clustered):
    rng = np.random.default_rng(3)
    n = 600
    groups = np.arange(n) // 6 if clustered else None
    inside, joint = [], []
    for _ in range(400):
        kind, new = rng.integers(0, 3, n), rng.random(n) < 0.2
        w = rng.choice(3, n, p=[0.5, 0.4, 0.1])
        noise = rng.normal(size=(n, 3)) / np.sqrt([0.5, 0.4, 0.1])
        scores = noise + (kind + 2 * new)[:, None] * np.arange(3)
        if clustered:
            scores += rng.normal(size=(100, 3))[groups]
        truth = {("kind", k, a): (k + 0.4) * a for k in range(3) for a in (1, 2)}
        truth |= {("new", b, a): (1 + 2 * b) * a for b in (False, True) for a in (1, 2)}
        found = keyed(
            segment_effects(scores, {"kind": kind, "new": new}, w, None, groups, draws=500)
        )
        assert found.keys() == truth.keys()
        inside.append(
            [one.effect.ci_low <= truth[key] <= one.effect.ci_high for key, one in found.items()]
        )
        joint.append(all(one.joint[0] <= truth[key] <= one.joint[1] for key, one in found.items()))

    assert (np.mean(inside, axis=0) > 0.91).all()
    assert (np.mean(inside, axis=0) < 0.98).all()
    assert 0.91 <= np.mean(joint) <= 0.98


def test_what_must_not_change_them():
    rng = np.random.default_rng(4)
    scores, w, _, groups = sample(rng, 300)
    times = rng.integers(0, 3, 300)
    segments = {"kind": rng.choice(["a", "b"], 300)}
    weighted = segment_effects(scores, segments, w, times, groups)
    again = np.repeat(np.arange(300), times)
    repeated = segment_effects(
        scores[again], {"kind": segments["kind"][again]}, w[again], None, groups[again]
    )
    shifted = segment_effects(scores + 1e6, segments, w, times, groups)
    for one, two, three in zip(weighted, repeated, shifted, strict=True):
        assert dataclasses.astuple(one.effect)[:4] == pytest.approx(
            dataclasses.astuple(two.effect)[:4]
        )
        assert one.rows == np.count_nonzero(times[segments["kind"] == one.level])
        assert three.effect.estimate == pytest.approx(one.effect.estimate, abs=1e-8)
        assert three.effect.std_error == pytest.approx(one.effect.std_error, abs=1e-8)


def test_levels_too_small_for_an_error_have_none():
    rng = np.random.default_rng(5)
    scores, w, _, _ = sample(rng, 200)
    groups = np.arange(200) // 10
    w[:40] = np.arange(40) % 3
    kind = np.where(np.arange(200) < 10, "one cluster", "many clusters")
    kind[10:40] = "no second arm"
    w[10:40] %= 2
    kind[40:70], w[40:70] = "no control", 1 + np.arange(30) % 2
    found = keyed(segment_effects(scores, {"kind": kind}, w, None, groups))

    absent = {key for key, one in found.items() if one.effect is None}
    assert absent == {
        ("kind", "one cluster", 1),
        ("kind", "one cluster", 2),
        ("kind", "no second arm", 2),
        ("kind", "no control", 1),
        ("kind", "no control", 2),
    }
    assert all((one.joint is None) == (one.effect is None) for one in found.values())
    nothing = segment_effects(scores, {"one": np.zeros(200)}, w, None, np.zeros(200))
    assert [one.effect for one in nothing] == [None, None]


def test_rows_without_a_label_are_a_level_of_their_own():
    rng = np.random.default_rng(6)
    scores, w, _, _ = sample(rng, 300, 2)
    new = pd.Series(rng.random(300) < 0.5, dtype="boolean")
    new[:100] = pd.NA
    found = segment_effects(scores, {"new": new}, w)

    assert [one.level for one in found] == [False, True, None]
    assert sum(one.rows for one in found) == 300
    contrast = scores[:100, 1] - scores[:100, 0]
    assert found[-1].effect.estimate == pytest.approx(contrast.mean())


def test_scores_without_spread_have_intervals_of_no_width():
    w = np.arange(40) % 2
    found = segment_effects(np.tile([0.0, 2.0], (40, 1)), {"new": np.arange(40) < 20}, w)

    assert [(one.effect.estimate, one.effect.std_error) for one in found] == [(2, 0)] * 2
    assert [one.joint for one in found] == [(2, 2)] * 2


def test_what_is_no_segment_is_refused():
    rng = np.random.default_rng(7)
    scores, w, _, _ = sample(rng, 300)
    with pytest.raises(ValueError, match="at most 200 levels of segments; found 300 in segment 'h"):
        segment_effects(scores, {"history": rng.random(300)}, w)
    many = {f"s{j}": np.arange(300) % 3 for j in range(70)}
    with pytest.raises(ValueError, match="at most 200 levels of segments; found 210"):
        segment_effects(scores, many, w)
    with pytest.raises(ValueError, match=r"segment 'new' of shape \(300,\)"):
        segment_effects(scores, {"new": np.ones(299)}, w)
    with pytest.raises(ValueError, match=r"scores of shape \(n, K\)"):
        segment_effects(scores[:, :1], {"new": np.ones(300)}, w)
