"""What treating by estimates brings, against truth and closed forms."""

import numpy as np
import pytest

from metalearners.evaluation import mean_with_error, policy_gain


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_with_effects_as_scores_it_is_the_mean_of_the_best_effect(rng):
    tau = rng.normal(size=(500, 2))
    scores = np.column_stack([np.zeros(500), tau])

    found = policy_gain(tau, scores)

    best = np.maximum(tau.max(axis=1), 0)
    assert found.over_nobody.estimate == pytest.approx(best.mean())
    assert found.over_arms[1].estimate == pytest.approx((best - tau[:, 1]).mean())
    assert found.shares[1] == pytest.approx(((tau[:, 0] > 0) & (tau[:, 0] > tau[:, 1])).mean())
    assert sum(found.shares) == pytest.approx(1)


def moments(found):
    return pytest.approx((found.estimate, found.std_error))


def test_errors_are_those_of_the_mean_of_contrasts_with_weights_and_clusters(rng):
    predicted, scores = rng.normal(size=(300, 1)), rng.normal(size=(300, 2))
    weight, groups, arms = rng.uniform(1, 3, 300), np.arange(300) // 3, rng.integers(0, 2, 300)

    found = policy_gain(predicted, scores, weight, groups, arms=arms)

    own = np.where(predicted[:, 0] > 0, scores[:, 1] - scores[:, 0], 0.0)
    assert (found.over_nobody.estimate, found.over_nobody.std_error) == moments(
        mean_with_error(own, weight, groups)
    )
    other = np.where(predicted[:, 0] > 0, 0.0, scores[:, 0] - scores[:, 1])
    assert (found.over_arms[0].estimate, found.over_arms[0].std_error) == moments(
        mean_with_error(other, weight, groups)
    )
    assert found.shares[1] == pytest.approx(np.average(predicted[:, 0] > 0, weights=weight))


def test_a_policy_that_treats_all_or_nobody_is_exactly_that(rng):
    scores = rng.normal(size=(50, 2))

    everybody, nobody = (
        policy_gain(np.ones((50, 1)), scores),
        policy_gain(-np.ones((50, 1)), scores),
    )

    assert (everybody.over_arms[0].estimate, everybody.over_arms[0].std_error) == (0, 0)
    assert (nobody.over_nobody.estimate, nobody.over_nobody.std_error) == (0, 0)


def test_its_interval_holds_the_value_of_the_policy():
    covered = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=200)
        predicted = x + 0.5  # another sign than the effect's in some rows
        gain = policy_gain(
            predicted[:, None], np.column_stack([np.zeros(200), x + 2 * rng.normal(size=200)])
        ).over_nobody
        # E[x; x > -.5], of a normal
        covered.append(gain.ci_low <= np.exp(-(0.5**2) / 2) / np.sqrt(2 * np.pi) <= gain.ci_high)

    assert 0.91 <= np.mean(covered) <= 0.98


def test_shapes_that_do_not_fit_are_refused(rng):
    scores = rng.normal(size=(9, 3))

    with pytest.raises(ValueError, match="a column more than predicted"):
        policy_gain(scores[:, :1], scores)
