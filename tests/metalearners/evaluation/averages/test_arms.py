"""Arms beside each other, against means of single scores, and over draws of equal arms."""

import numpy as np
import pytest

from metalearners.evaluation import (
    arm_differences,
    arm_means,
    mean_with_error,
    simultaneous_intervals,
)


@pytest.fixture
def given():
    """Scores, arms, weights and clusters of 300 rows in four arms."""
    rng = np.random.default_rng(0)
    w = rng.permutation(np.arange(300) % 4)
    return (
        rng.normal(size=(300, 4)) + np.array([0, 1, 3, 3.05]),
        w,
        rng.uniform(1, 3, 300),
        w * 7 % 60,
    )


def test_each_figure_is_that_of_its_scores(given):
    scores, w, *rows = given

    means, pairs = arm_means(*given), arm_differences(*given)

    assert means == [mean_with_error(one, *rows, arms=w) for one in scores.T]
    assert [one.codes for one in pairs] == [(1, 2), (1, 3), (2, 3)]
    columns = np.column_stack([scores[:, one.arm] - scores[:, one.other] for one in pairs])
    wanted = [mean_with_error(one, *rows, arms=w) for one in columns.T]
    assert [one.effect for one in pairs] == wanted
    assert [one.joint for one in pairs] == simultaneous_intervals(columns, *rows, arms=w)
    assert pairs[0].joint[1] < 0 < pairs[2].joint[1]
    assert not arm_differences(scores[:, :2], np.minimum(w, 1))


def test_the_other_way_round_it_is_the_negative(given):
    scores, w, *rows = given
    turned = arm_differences(scores[:, [0, 2, 1, 3]], np.array([0, 2, 1, 3])[w], *rows)[0]

    own = -arm_differences(*given)[0]

    assert (own.codes, turned.codes) == ((2, 1), (1, 2))
    assert vars(own.effect) == pytest.approx(vars(turned.effect))
    assert own.joint == pytest.approx(turned.joint, abs=0.01)  # other draws


def test_of_equal_arms_no_pair_is_told_apart_in_95_percent_of_samples():
    w, told = np.arange(80) % 5, []
    for seed in range(200):
        scores = np.random.default_rng(seed).normal(size=(80, 5))
        found = arm_differences(scores, w, draws=500)
        told.append(any(not one.joint[0] <= 0 <= one.joint[1] for one in found))

    assert np.mean(told) <= 0.09


def test_a_single_column_is_refused(given):
    with pytest.raises(ValueError, match=r"Expected .*\(n, K\)"):
        arm_differences(given[0][:, :1], np.zeros(300, int))
