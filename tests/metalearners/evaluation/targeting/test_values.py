"""Values of policies: against closed forms, the curves of two arms, and simulated truth."""

import numpy as np
import pytest

from metalearners.evaluation import (
    TargetingRule,
    best_single_arm,
    budget_value,
    gain_curve,
    mean_with_error,
    policy_difference,
    policy_value,
    single_arm_value,
    targeting_curve,
    targeting_difference,
    treatment_path,
)

BUDGETS = (0.1, 0.3, 0.6)
VALUE = 2.0


class Drawn:
    """Three arms, of which one costs more for some rows, with two estimates of their effects."""

    def __init__(self, seed, n=1000, clustered=False, weighted=False):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 3))
        self.groups, member, noise = None, np.arange(n), rng.normal(size=n)
        if clustered:
            self.groups = member = np.repeat(np.arange(n), rng.integers(1, 8, n))[:n]
            x[:, 0] = rng.normal(size=n)[member]
            noise += rng.normal(size=n)[member]
        self.tau = np.column_stack(
            [0.3 + 0.5 * x[:, 0] + 0.3 * np.abs(x[:, 1]), 0.5 + 0.7 * x[:, 1]]
        )
        self.effects = np.column_stack([0.4 + 0.6 * x[:, 0], 0.3 + 0.5 * x[:, 1] + 0.2 * x[:, 0]])
        self.others = np.column_stack([0.4 + 0.2 * x[:, 0] + 0.4 * x[:, 2], 0.3 + 0.5 * x[:, 2]])
        self.costs = np.column_stack([0.5 + 0.2 * np.abs(x[:, 2]), np.ones(n)])
        self.w = rng.integers(0, 3, n)[member]
        own = np.column_stack([np.zeros(n), self.tau])
        base = np.tile(x[:, :1], (1, 3))
        received = self.w[:, None] == np.arange(3)
        y = x[:, 0] + own[np.arange(n), self.w] + noise
        self.scores = base + 3 * received * (y[:, None] - base)
        # Costs that depend on the arm and on chance, beside those that were predicted.
        spent = np.column_stack([np.zeros(n), self.costs + 0.2 * x[:, 1:2]])
        paid = spent[np.arange(n), self.w] + 0.3 * rng.normal(size=n)
        self.spent, self.cost_scores = spent, 3 * received * paid[:, None]
        self.weight = np.exp(0.5 * x[:, 0]) if weighted else None

    def path(self, effects=None):
        effects = self.effects if effects is None else effects
        return treatment_path(effects, self.costs, self.weight, value=VALUE)

    @property
    def beside(self):
        return {"groups": self.groups, "arms": self.w}


def truth(pool, effects, budget):
    """Gain and realised cost of a rule's policy, by bisection of the cut-off."""
    low, high = 0.0, 100.0
    at = np.arange(len(effects))
    costs, tau = (np.column_stack([0 * at, one]) for one in (pool.costs, pool.tau))
    for _ in range(30):
        middle = (low + high) / 2
        arms = TargetingRule(middle, VALUE).assign(effects, pool.costs)
        spent = np.average(costs[at, arms], weights=pool.weight)
        low, high = (middle, high) if spent > budget else (low, middle)
    means = [np.average(one[at, arms], weights=pool.weight) for one in (tau, pool.spent)]
    return VALUE * means[0], means[1]


def covers(found, true):
    return found.ci_low <= true <= found.ci_high


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, {"clustered": True, "weighted": True}])
def test_intervals_of_values_and_differences_hold_the_truth(kind):
    pool = Drawn(10**6, 60_000, **kind)
    true = np.array([truth(pool, pool.effects, b) for b in BUDGETS])
    others = np.array([truth(pool, pool.others, b)[0] for b in BUDGETS])
    gains, spends, differences = [], [], []
    for seed in range(150):
        rows = Drawn(seed, **kind)
        for b, (gain, spend), other in zip(BUDGETS, true, others, strict=True):
            first, second = (
                budget_value(rows.path(e), rows.scores, b, cost_scores=rows.cost_scores, **beside)
                for e in (rows.effects, rows.others)
                for beside in [rows.beside]
            )
            apart = policy_difference(first, second, rows.weight, **rows.beside)
            gains.append(covers(first.gain, gain))
            spends.append(covers(first.realised, spend))
            differences.append(covers(apart, gain - other))

    for found in (gains, spends, differences):
        by_budget = np.reshape(found, (150, len(BUDGETS))).mean(axis=0)
        assert (by_budget >= 0.89).all()  # of 150 draws; benchmarks.simulate has 400
        assert (by_budget <= 0.995).all()


def test_a_few_draws_hold_the_truth_too():
    pool = Drawn(10**6, 30_000)
    true, _ = truth(pool, pool.effects, 0.3)
    found = []
    for seed in range(60):
        rows = Drawn(seed, 400)
        found.append(covers(budget_value(rows.path(), rows.scores, 0.3, **rows.beside).gain, true))

    assert 0.85 <= np.mean(found) <= 1


@pytest.mark.parametrize("kind", [{}, {"clustered": True}, {"weighted": True}])
def test_single_values_are_points_of_the_curve(kind):
    rows = Drawn(1, **kind)
    path = rows.path()
    budgets = np.array([*BUDGETS, path.spend[-1]])
    curve = targeting_curve(path, rows.scores, budgets=budgets, **rows.beside)

    for k, budget in enumerate(budgets):
        one = budget_value(path, rows.scores, budget, **rows.beside)
        assert curve.value[k] == pytest.approx(one.gain.estimate, rel=1e-9)
        assert curve.std_error[k] == pytest.approx(one.gain.std_error, rel=1e-9)
        assert curve.treated[k] == pytest.approx(1 - one.shares[0], rel=1e-9)
        if k < 3:
            assert one.spend.estimate == pytest.approx(budget, rel=1e-9)
            assert one.spend.std_error == pytest.approx(0, abs=1e-9)
        assert sum(one.shares) == pytest.approx(1)
        apart = one.gain.estimate - one.random.estimate
        assert one.over_random.estimate == pytest.approx(apart, rel=1e-9)
        assert one.net.estimate == pytest.approx(one.gain.estimate - one.spend.estimate)


@pytest.mark.parametrize("distinct", [None, 3])
def test_two_arms_of_one_cost_have_the_gain_curve(distinct):
    rng = np.random.default_rng(3)
    effects = rng.uniform(0.1, 1, 2000)
    effects = effects if distinct is None else np.ceil(effects * distinct)
    scores = np.column_stack([np.zeros(2000), effects + rng.normal(size=2000)])
    w, groups = rng.integers(0, 2, 2000), rng.integers(0, 300, 2000)
    expected = gain_curve(effects, scores[:, 1], None, groups, arms=w)
    found = targeting_curve(treatment_path(effects[:, None], 1.0), scores, groups, arms=w)

    assert found.spend == pytest.approx(expected.gain.share)
    for name in ("value", "std_error", "low", "high", "degrees"):
        assert getattr(found, name) == pytest.approx(getattr(expected.gain, name), rel=1e-6)
    for name in ("joint_low", "joint_high"):
        own, other = getattr(found, name), getattr(expected.gain, name)
        assert np.isnan(own).tolist() == np.isnan(other).tolist()
        assert own == pytest.approx(other, rel=1e-3, nan_ok=True)
    assert found.begin == pytest.approx(expected.begin)


def test_a_policy_that_was_fixed_is_a_mean_of_scores():
    rows = Drawn(2)
    policy = TargetingRule(value=VALUE).assign(rows.effects, rows.costs)
    found = policy_value(policy, rows.scores, rows.costs, value=VALUE, **rows.beside)
    own = VALUE * (rows.scores[np.arange(1000), policy] - rows.scores[:, 0])
    expected = mean_with_error(own, arms=rows.w)

    assert found.gain.estimate == pytest.approx(expected.estimate)
    assert found.gain.std_error == pytest.approx(expected.std_error)
    assert found.shares == pytest.approx(np.bincount(policy) / 1000)
    probabilities = policy_value(
        np.eye(3)[policy], rows.scores, rows.costs, value=VALUE, **rows.beside
    )
    assert probabilities.gain == found.gain
    assert policy_difference(found, probabilities).estimate == 0
    assert policy_difference(found, probabilities).std_error == 0
    nobody = policy_value(np.zeros(1000, int), rows.scores, rows.costs, value=VALUE)
    net = policy_difference(found, nobody, price=1.0, arms=rows.w)
    assert net.estimate == pytest.approx(found.net.estimate)
    assert net.std_error == pytest.approx(found.net.std_error)


def test_treating_nobody_brings_nothing_and_one_arm_its_average_effect():
    rows = Drawn(2)
    nobody = policy_value(np.zeros(1000, int), rows.scores, rows.costs)
    assert (nobody.gain.estimate, nobody.gain.std_error, nobody.spend.estimate) == (0, 0, 0)

    every = single_arm_value(2, rows.scores, rows.costs, arms=rows.w)
    expected = mean_with_error(rows.scores[:, 2] - rows.scores[:, 0], arms=rows.w)
    assert every.gain.estimate == pytest.approx(expected.estimate)
    assert every.gain.std_error == pytest.approx(expected.std_error)
    assert (every.spend.estimate, *every.shares) == pytest.approx((1, 0, 0, 1))
    some = single_arm_value(2, rows.scores, rows.costs, budget=0.25, arms=rows.w)
    assert some.gain.estimate == pytest.approx(expected.estimate / 4)
    assert some.shares == pytest.approx((0.75, 0, 0.25))
    # At random, a random part of the rows gains the same.
    assert (some.over_random.estimate, some.over_random.std_error) == (0, 0)


def test_the_error_of_a_random_part_is_that_of_a_ratio():
    """A mean cost that isn't known: the gain is B times a ratio of means."""
    estimates, errors = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        costs = rng.exponential(size=(300, 1)) + 0.5
        scores = np.column_stack([np.zeros(300), 1 + costs[:, 0] + rng.normal(size=300)])
        found = single_arm_value(1, scores, costs, budget=0.5).gain
        estimates.append(found.estimate)
        errors.append(found.std_error)

    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.15)


def test_the_best_single_arm_is_by_estimates_and_what_a_budget_pays_for():
    effects = np.tile([1.0, 1.5], (10, 1))

    assert best_single_arm(effects, np.array([0.1, 1.0])) == 1
    assert best_single_arm(effects, np.array([0.1, 0.2])) == 2
    assert best_single_arm(effects, np.array([0.5, 2.0]), budget=0.5) == 1
    assert best_single_arm(effects, np.array([0.5, 2.0]), budget=2.0) == 2


def test_realised_costs_are_those_of_scores():
    rows = Drawn(4)
    known = np.column_stack([np.zeros(1000), rows.costs])
    found = budget_value(rows.path(), rows.scores, 0.3, cost_scores=known, **rows.beside)

    assert found.realised.estimate == pytest.approx(found.spend.estimate)
    assert found.realised.std_error == pytest.approx(0, abs=1e-9)
    realised = budget_value(rows.path(), rows.scores, 0.3, cost_scores=rows.cost_scores)
    assert realised.realised.std_error > 0.005
    net = realised.gain.estimate - realised.realised.estimate
    assert realised.net.estimate == pytest.approx(net)


def test_the_area_is_the_mean_of_the_difference():
    rows = Drawn(5)
    paths = rows.path(), rows.path(rows.others)
    found = targeting_difference(*paths, rows.scores, **rows.beside)
    points = found.curve.spend
    curves = [targeting_curve(p, rows.scores, budgets=points, **rows.beside) for p in paths]
    apart = curves[0].value - curves[1].value

    assert found.curve.value == pytest.approx(apart)
    area = np.trapezoid(apart, points) / (points[-1] - points[0])
    assert found.area.estimate == pytest.approx(area)
    k = 30
    values = [budget_value(p, rows.scores, points[k], **rows.beside) for p in paths]
    single = policy_difference(*values, **rows.beside)
    assert found.curve.std_error[k] == pytest.approx(single.std_error, rel=1e-9)
    same = targeting_difference(paths[0], paths[0], rows.scores)
    assert (same.area.estimate, same.area.std_error) == pytest.approx((0, 0), abs=1e-9)


def test_the_highest_point_has_a_band_and_costless_arms_a_single_point():
    rows = Drawn(6)
    curve = targeting_curve(rows.path(), rows.scores, **rows.beside)
    k = curve.highest()
    net = np.where(np.isfinite(curve.joint_low), curve.value - curve.spend, -np.inf)
    assert k == net.argmax()
    assert curve.joint_high[k] - curve.joint_low[k] > 1.2 * (curve.high[k] - curve.low[k])
    assert (np.isnan(curve.joint_low) == (curve.spend < curve.begin)).all()

    free = targeting_curve(treatment_path(rows.effects), rows.scores, arms=rows.w)
    assert free.spend.tolist() == [0]
    policy = TargetingRule(0.0).assign(rows.effects)
    gain = policy_value(policy, rows.scores, arms=rows.w).gain
    assert free.at(0).estimate == pytest.approx(gain.estimate)
    assert free.at(0).std_error == pytest.approx(gain.std_error)


def test_wrong_input_is_refused():
    rows = Drawn(7, 100)
    with pytest.raises(ValueError, match="Expected arm codes from 0 to 2 in policy"):
        policy_value(np.full(100, 3), rows.scores)
    with pytest.raises(ValueError, match="sum to 1"):
        policy_value(np.full((100, 3), 0.2), rows.scores)
    with pytest.raises(ValueError, match="Expected scores of shape"):
        budget_value(rows.path(), rows.scores[:, :2], 0.1)
    with pytest.raises(ValueError, match="Expected budgets that rise"):
        targeting_curve(rows.path(), rows.scores, budgets=np.array([0.2, 0.1]))
    other = treatment_path(rows.effects, rows.costs, value=1.0)
    with pytest.raises(ValueError, match="Expected two paths of the same rows"):
        targeting_difference(rows.path(), other, rows.scores)
    with pytest.raises(ValueError, match="arm needs to be an integer"):
        single_arm_value(0, rows.scores)
