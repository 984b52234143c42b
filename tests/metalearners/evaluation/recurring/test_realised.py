"""What a model predicts for new rows beside their average effect: the test's size and power."""

import numpy as np
import pytest

from metalearners.evaluation import aipw_scores, mean_with_error, realised

N = 300


def sample(rng, clustered=False, weighted=False):
    """Rows of an experiment, the effect 1 + x, with outcome models that are wrong."""
    groups = np.arange(N) // 3 if clustered else None
    unit = np.arange(N) if groups is None else groups
    x = rng.normal(size=unit.max() + 1)[unit]
    w = rng.integers(0, 2, unit.max() + 1)[unit]
    noise = rng.normal(size=unit.max() + 1)[unit] + rng.normal(size=N)
    y = x + w * (1 + x) + noise
    mu = np.column_stack([0.5 * x, 0.5 * x + 0.8])
    scores = aipw_scores(y, w, mu, np.full((N, 2), 0.5))
    weight = rng.exponential(size=N) if weighted else None
    return x, w, scores[:, 1] - scores[:, 0], weight, groups


def p_value_of(rng, shift, **kinds):
    """Of a model that is `shift` too low on average, and wrong of each row; asked for half."""
    x, w, scores, weight, groups = sample(rng, **kinds)
    predicted = np.where(rng.random(N) < 0.5, 1 - shift + 0.4 * x + 0.5 * (x**2 - 1), np.nan)
    return realised(scores, predicted, w, weight, groups).p_value


@pytest.mark.parametrize("kinds", [{}, {"clustered": True}, {"weighted": True}])
def test_a_model_that_is_right_on_average_is_rejected_at_the_level_and_others_more_often(kinds):
    rng = np.random.default_rng(0)
    rates = [
        np.mean([p_value_of(rng, shift, **kinds) < 0.05 for _ in range(draws)])
        for shift, draws in ((0, 2000), (0.2, 300), (0.5, 300), (1.0, 300))
    ]

    assert rates[0] == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 2000))
    assert rates == sorted(rates)
    assert rates[1] > 0.06
    assert rates[3] > 0.8


def test_the_error_is_the_closed_form_of_two_phases():
    rng = np.random.default_rng(1)
    x, w, scores, _, _ = sample(rng)
    asked = rng.permutation(N) < 60
    found = realised(scores, np.where(asked, x, np.nan), w)

    variance = scores.var(ddof=1) / N + x[asked].var(ddof=1) / 60
    shared = np.sum((scores - scores.mean())[asked] * (x - x[asked].mean())[asked]) / 60
    variance -= 2 * shared / N
    assert found.difference.std_error**2 == pytest.approx(variance, rel=0.03)
    assert found.difference.estimate == pytest.approx(scores.mean() - x[asked].mean())
    assert found.predicted == mean_with_error(x[asked])


def test_a_model_that_was_asked_for_all_rows_is_compared_row_by_row():
    x, w, scores, weight, groups = sample(np.random.default_rng(2), True, True)
    found = realised(scores, x, w, weight, groups)

    expected = mean_with_error(scores - x, weight, groups, arms=w)
    for name, value in vars(expected).items():
        assert getattr(found.difference, name) == pytest.approx(value)
    assert found.actual == mean_with_error(scores, weight, groups, arms=w)


def test_what_leaves_nothing_to_compare_is_refused():
    none = np.full(N, np.nan)
    with pytest.raises(ValueError, match="rows that the model was asked for; found none"):
        realised(np.ones(N), none, np.zeros(N, int))
    with pytest.raises(ValueError, match="Expected two rows or clusters"):
        realised(np.ones(N), np.where(np.arange(N) == 0, 1.0, none), np.zeros(N, int))


def test_a_model_of_as_many_rows_is_off_by_the_error_of_its_own():
    """Nothing has changed, and the variance is twice that of the test: P(|Z| > 1.96 / sqrt(2))."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(2000):
        fitted = sample(rng)[2].mean()
        _, w, scores, _, _ = sample(rng)
        found.append(realised(scores, np.full(N, fitted), w).p_value < 0.05)

    assert np.mean(found) == pytest.approx(0.166, abs=0.025)
