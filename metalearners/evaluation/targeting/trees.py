"""A shallow tree that a person can read, in place of an assignment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.rows import as_pandas
from metalearners.data.arguments import check_shape, count
from metalearners.data.containers import check_matrix, check_same_rows
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.means import same_rows, sums
from metalearners.evaluation.targeting.paths import TargetingRule, gains_and_costs
from metalearners.showing.results import Shown

_LEAST_SHARE = 0.02  # of the rows, in a leaf
_LEAST_ROWS = 20
_MOST_LEVELS = 20  # of a category: its most frequent ones


@dataclass(frozen=True)
class Leaf(Shown):
    """Rows that get one arm.

    Parameters
    ----------
    conditions : tuple of str
        What holds for them, in words; empty for all rows.
    arm : int
        The arm's code.
    share : float
        Their share of the weight of the rows that the tree was fitted on.
    """

    conditions: tuple[str, ...]
    arm: int
    share: float


@dataclass(frozen=True, eq=False)
class PolicyTree(Shown):
    """A policy of a few conditions on features.

    Parameters
    ----------
    leaves : tuple of Leaf
        The policy in words.
    """

    leaves: tuple[Leaf, ...]
    _model: DecisionTreeClassifier = field(repr=False)
    _columns: tuple["_Column", ...] = field(repr=False)

    def assign(self, X: Matrix) -> Array:
        """(n,) arm codes of rows with the same features."""
        found = self._model.predict(_as_numbers(as_pandas(X), self._columns))
        return np.asarray(found, dtype=np.int64)

    def text(self, labels: Any) -> str:
        """A line a leaf; `labels` are the arms', the control first. Shares are of training rows."""
        return "\n".join(
            f"{arm_name(labels[leaf.arm])}: {' and '.join(leaf.conditions) or 'everyone'} "
            f"({leaf.share:.0%} of the training rows)"
            for leaf in self.leaves
        )


def policy_tree(
    X: Matrix,
    effects: Floats,
    costs: Any = 0.0,
    weight: Floats | None = None,
    *,
    rule: TargetingRule,
    depth: int = 2,
    tolerance: float | None = None,
) -> PolicyTree:
    r"""A shallow tree that gives about the arms that a rule gives.

    It is a classification tree of the rule's arms. Rows weigh by what the rule's arm gains above
    the others, :math:`v \hat\tau_k - \lambda c_k` less their mean: where arms hardly differ, a row
    counts little. So a split is where arms that matter change. Fit it on training rows, and measure
    on others what it loses (`policy_difference`).

    Parameters
    ----------
    X : (n, p) matrix
        Features, numbers or categories. A missing number is below all others.
    effects, costs, weight, tolerance
        As for `treatment_path`.
    rule : TargetingRule
        What is approximated.
    depth : int
        The most conditions on the way to a leaf. A leaf has 2 % of the rows and 20 at least.

    Raises
    ------
    ValueError
        As for `treatment_path`.

    References
    ----------
    Zhou, Athey and Wager (2023), "Offline multi-action policy learning", Operations Research 71(1):
    trees of several arms. Zhang, Tsiatis, Davidian, Zhang and Laber (2012), Stat 1(1),
    pp. 103-114: policies as weighted classification.
    """
    check_matrix(X)
    check_same_rows(X=X, effects=effects, costs=costs, weight=weight)
    count("depth", depth)
    gains, spent = gains_and_costs(effects, costs, rule.value, tolerance)
    check_shape("effects", len(gains) == X.shape[0], f"({X.shape[0]}, K-1)", gains[:, 1:].shape)
    _, w, _ = same_rows(weight, None, effects=gains[:, 0])
    arms = rule.assign(effects, costs, tolerance)
    net = gains - rule.cut_off * spent
    best = net[np.arange(len(arms)), arms]
    margin = (best[:, None] - net).sum(axis=1) / (net.shape[1] - 1)
    weighted = w * np.maximum(margin, 0)
    frame = as_pandas(X)
    columns = tuple(_columns(frame))
    least = max(_LEAST_ROWS, int(np.ceil(_LEAST_SHARE * len(arms))))
    model = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=least, random_state=0)
    weighted = weighted if weighted.any() else w  # no arm gains anything: any tree will do
    numbers = _as_numbers(frame, columns)
    model.fit(numbers, arms, weighted)
    own = sums(model.apply(numbers), w / w.sum(), model.tree_.node_count)
    return PolicyTree(tuple(_leaves(model, columns, own)), model, columns)


@dataclass(frozen=True)
class _Column:
    """A number that the tree sees: a feature, or whether it has a level."""

    feature: int  # position
    name: str
    level: Any = None
    lowest: float = 0.0  # in place of missing numbers
    gaps: bool = False

    def values(self, frame: pd.DataFrame) -> Floats:
        """(n,) values."""
        own = frame.iloc[:, self.feature]
        if self.level is not None:
            return np.asarray(own == self.level, dtype=float)
        return np.nan_to_num(_floats(own), nan=self.lowest)

    def condition(self, threshold: float, below: bool) -> str:
        """What holds on one side of a threshold, in words."""
        if self.level is not None:
            return f"{self.name} {'is not' if below else 'is'} {self.level}"
        missing = " or missing" if below and self.gaps else ""
        return f"{self.name} {'<=' if below else '>'} {threshold:.4g}{missing}"


def _columns(frame: pd.DataFrame) -> Iterator[_Column]:
    for j, name in enumerate(map(str, frame.columns)):
        own = frame.iloc[:, j]
        if pd.api.types.is_bool_dtype(own.dtype):
            yield _Column(j, name, True)
        elif pd.api.types.is_numeric_dtype(own.dtype):
            values = _floats(own)
            known = values[np.isfinite(values)]
            lowest = float(known.min()) - 1 if len(known) else 0.0
            yield _Column(j, name, lowest=lowest, gaps=bool(np.isnan(values).any()))
        else:
            for level in own.value_counts().index[:_MOST_LEVELS]:
                yield _Column(j, name, level)


def _floats(column: "pd.Series[Any]") -> Floats:
    return column.to_numpy(dtype=float, na_value=np.nan)


def _as_numbers(frame: pd.DataFrame, columns: tuple[_Column, ...]) -> Floats:
    """(n, c) what the tree sees; infinite numbers, and those beyond single precision, are cut."""
    most = float(np.finfo(np.float32).max)
    return np.column_stack([np.clip(one.values(frame), -most, most) for one in columns])


def _leaves(
    model: DecisionTreeClassifier, columns: tuple[_Column, ...], share: Floats
) -> Iterator[Leaf]:
    """The leaves in words; where all leaves of a branch have one arm, the branch is one."""
    tree, arms = model.tree_, model.classes_[np.argmax(model.tree_.value[:, 0], axis=1)]

    def under(node: int) -> list[int]:
        left, right = tree.children_left[node], tree.children_right[node]
        return [node] if left < 0 else under(left) + under(right)

    def walk(node: int, ends: Mapping[tuple[int, bool], str]) -> Iterator[Leaf]:
        own = under(node)
        if len({int(arms[k]) for k in own}) == 1:
            yield Leaf(tuple(ends.values()), int(arms[own[0]]), float(share[own].sum()))
            return
        at, threshold = int(tree.feature[node]), float(tree.threshold[node])
        sides = ((tree.children_left[node], True), (tree.children_right[node], False))
        for child, below in sides:  # a later end of a feature is the tighter one
            told = columns[at].condition(threshold, below)
            yield from walk(int(child), {**ends, (at, below): told})

    yield from walk(0, {})
