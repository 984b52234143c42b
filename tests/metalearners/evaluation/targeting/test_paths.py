"""Paths against linear programmes, and rules against paths."""

import numpy as np
import pytest
from scipy.optimize import linprog

from metalearners.evaluation import TargetingRule, treatment_path


def case(seed):
    """Effects, costs and weights of a few rows: of five kinds in turn."""
    rng = np.random.default_rng(seed)
    n, others = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    effects, costs = rng.normal(size=(n, others)), rng.uniform(0, 2, size=(n, others))
    kind = seed % 5
    if kind == 1:  # ties of all sorts, zero costs
        effects, costs = np.round(effects), np.round(costs)
    elif kind == 2:  # equal costs of all rows
        costs = rng.choice([0.0, 0.5, 1.0], size=others)
    elif kind == 3:  # most effects are negative
        effects = -np.abs(effects) + (rng.uniform(size=effects.shape) < 0.3)
    elif kind == 4:  # some arms save money
        costs = costs - 0.5
    return effects, costs, rng.uniform(0.5, 2, n) if seed % 2 else None


def best(effects, costs, weight, value, budget):
    """What the linear programme gains."""
    n, k = len(effects), effects.shape[1] + 1
    w = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    gains = np.column_stack([np.zeros(n), value * effects])
    spent = np.column_stack([np.zeros(n), np.broadcast_to(costs, effects.shape)])
    found = linprog(
        -(w[:, None] * gains).ravel(),
        A_ub=[(w[:, None] * spent).ravel()],
        b_ub=[budget + 1e-14],
        A_eq=np.kron(np.eye(n), np.ones(k)),
        b_eq=np.ones(n),
    )
    assert found.status == 0
    return -found.fun, gains, spent, w


@pytest.mark.parametrize("seed", range(200))
def test_assignments_gain_what_the_linear_programme_gains(seed):
    effects, costs, weight = case(seed)
    path = treatment_path(effects, costs, weight, value=1.5)
    low, high = path.spend[[0, -1]]
    part = np.random.default_rng(seed).uniform()

    for budget in (low, low + part * (high - low), high + 0.1):
        gain, gains, spent, w = best(effects, costs, weight, 1.5, budget)
        found = path.assign(budget)
        given = np.eye(path.n_arms)[found.arms]
        whole = w @ np.sum(given * spent, axis=1)
        if found.split is not None:
            row, arm, share = found.split
            given[row] *= 1 - share
            given[row, arm] += share
        assert found.gain == pytest.approx(gain, abs=1e-9)
        assert w @ np.sum(given * gains, axis=1) == pytest.approx(gain, abs=1e-9)
        assert w @ np.sum(given * spent, axis=1) == pytest.approx(found.spend, abs=1e-9)
        assert max(found.spend, whole) <= budget + 1e-9


def rows(seed=0, n=500, others=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, others)), rng.uniform(0.1, 2, size=(n, others))


def test_the_path_falls_and_its_rule_gives_its_assignment():
    effects, costs = rows()
    path = treatment_path(effects, costs, value=2.0)

    assert (np.diff(path.margin) < 0).all()
    assert (np.diff(path.spend) > 0).all()
    assert (path.margin > 0).all()
    for budget in (0.0, 0.1, 0.5, 10.0):
        found = path.assign(budget)
        rule = TargetingRule(path.cut_off(budget), 2.0)
        assert rule.assign(effects, costs).tolist() == found.arms.tolist()
        assert (found.split is None) == (budget == 0 or budget > path.spend[-1])


def test_what_pays_is_treated_at_a_cut_off_of_one():
    effects, costs = rows()
    net = np.column_stack([np.zeros(len(effects)), 3 * effects - costs])

    assert TargetingRule(value=3.0).assign(effects, costs).tolist() == net.argmax(axis=1).tolist()


def test_ties_are_taken_in_the_order_of_rows_and_rules_leave_them():
    path = treatment_path(np.full((10, 1), 0.5), 1.0)

    assert path.margin.tolist() == [0.5]
    found = path.assign(0.35)
    assert found.arms.tolist() == [1, 1, 1, *[0] * 7]
    assert found.split == (3, 1, pytest.approx(0.5))
    assert TargetingRule(path.cut_off(0.35)).assign(np.full((10, 1), 0.5), 1.0).sum() == 0
    assert TargetingRule(path.cut_off(1.0)).assign(np.full((10, 1), 0.5), 1.0).sum() == 10


def test_estimates_that_differ_by_rounding_are_ties_and_none_of_zero_is_treated():
    noise = 1e-14 * np.random.default_rng(0).normal(size=(100, 2))

    assert len(treatment_path(1 + noise, np.array([1.0, 2.0])).margin) == 1
    assert len(treatment_path(noise, 1.0, tolerance=1e-12).margin) == 0
    assert TargetingRule(0.0).assign(noise, 0.0, tolerance=1e-12).sum() == 0


def test_a_long_chain_of_single_precision_numbers_is_no_tie():
    effects = np.append(np.linspace(0.1, 0.2, 200_000), 1.0).astype(np.float32).astype(float)

    assert len(treatment_path(effects[:, None], 1.0).margin) > 5_000


def test_arms_that_cost_nothing_need_no_budget_and_dominated_ones_are_never_given():
    effects = np.array([[1.0, 0.5, 3.0], [-1.0, 2.0, 1.9]])
    path = treatment_path(effects, np.array([0.0, 1.0, 1.0]))

    assert path.first.tolist() == [1, 0]
    assert path.assign(0.0).arms.tolist() == [1, 0]
    assert path.assign(5.0).arms.tolist() == [3, 2]


def test_less_of_the_outcome_may_be_better():
    effects, costs = rows()
    turned = treatment_path(-effects, costs, value=2.0)

    assert treatment_path(effects, costs, value=-2.0).spend.tolist() == turned.spend.tolist()


def test_weights_are_copies_of_rows():
    effects, costs = rows(n=60)
    weight = np.random.default_rng(1).integers(1, 4, 60)
    path = treatment_path(effects, costs, weight.astype(float))
    copies = treatment_path(np.repeat(effects, weight, axis=0), np.repeat(costs, weight, axis=0))

    assert path.margin == pytest.approx(copies.margin)
    assert path.spend == pytest.approx(copies.spend)
    assert path.predicted == pytest.approx(copies.predicted)


def test_wrong_input_is_refused():
    effects, costs = rows(n=5)
    with pytest.raises(ValueError, match="found 1 missing or infinite of 15"):
        treatment_path(np.where(np.arange(15).reshape(5, 3) == 7, np.nan, effects), costs)
    with pytest.raises(ValueError, match="Expected costs of shape"):
        treatment_path(effects, costs[:, :2])
    with pytest.raises(ValueError, match=r"Expected effects of shape \(n, K-1\)"):
        treatment_path(effects[:, 0], 1.0)
    with pytest.raises(ValueError, match="pays for the cheapest arms, 0 a row; found -1"):
        treatment_path(effects, costs).assign(-1.0)
    with pytest.raises(ValueError, match="value of a unit of the outcome"):
        treatment_path(effects, costs, value=np.nan)
