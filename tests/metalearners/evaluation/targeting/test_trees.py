"""Trees that a person can read, in place of rules that a tree can or can't express."""

import numpy as np
import pandas as pd
import pytest

from metalearners.evaluation import (
    TargetingRule,
    policy_difference,
    policy_tree,
    policy_value,
)

RULE = TargetingRule(0.0)


def features(n=2000):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "history": rng.exponential(300, n),
            "newbie": rng.random(n) < 0.5,
            "zip": pd.Categorical(rng.choice(["Rural", "Urban", "Sub"], n)),
        }
    )
    frame.loc[:50, "history"] = np.nan
    return frame


def test_a_tree_finds_a_rule_that_is_one():
    X = features()
    effects = np.column_stack([(X.history > 300) - 0.2, np.where(X.zip == "Urban", 1.5, -0.5)])
    tree = policy_tree(X, effects, rule=RULE)

    assert tree.assign(X).tolist() == RULE.assign(effects).tolist()
    text = tree.text(["none", "mens", "womens"])
    assert "womens: zip is Urban (3" in text
    assert "mens: zip is not Urban and history > " in text
    assert "or missing" in text
    assert sum(leaf.share for leaf in tree.leaves) == pytest.approx(1)


def test_truth_values_are_features_and_equal_leaves_are_one():
    X = features()
    tree = policy_tree(X, np.where(X.newbie, 1.0, -1.0)[:, None], rule=RULE, depth=3)
    assert sorted(leaf.conditions for leaf in tree.leaves) == [
        ("newbie is True",),
        ("newbie is not True",),
    ]

    all_alike = policy_tree(X, np.ones((len(X), 1)), rule=RULE)
    assert all_alike.text([0, 1]) == "1: everyone (100% of the training rows)"


def test_what_it_loses_is_measured_on_other_rows():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(4000, 2))
    effects = (X[:, :1] + X[:, 1:]) + 0.2
    scores = np.column_stack([np.zeros(4000), effects[:, 0] + rng.normal(size=4000)])
    train, judged = slice(0, 2000), slice(2000, 4000)
    losses = []
    for depth in (1, 4):
        tree = policy_tree(X[train], effects[train], rule=RULE, depth=depth)
        policies = RULE.assign(effects[judged]), tree.assign(X[judged])
        values = [policy_value(policy, scores[judged]) for policy in policies]
        losses.append(policy_difference(*values))

    assert losses[0].ci_low > 0  # a single condition can't say that a sum is above 0
    assert losses[1].estimate < losses[0].estimate / 2


def test_rows_that_matter_more_count_more():
    X = np.repeat([[0.0], [1.0], [2.0]], 100, axis=0)
    effects = np.repeat([[-0.01], [5.0], [-1.0]], 100, axis=0)
    tree = policy_tree(X, effects, rule=RULE, depth=1)

    assert tree.assign(np.array([[1.0], [2.0]])).tolist() == [1, 0]


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="Expected effects of shape"):
        policy_tree(np.zeros((3, 1)), np.ones((4, 1)), rule=RULE)
    with pytest.raises(ValueError, match="depth needs to be an integer"):
        policy_tree(np.zeros((3, 1)), np.ones((3, 1)), rule=RULE, depth=0)
