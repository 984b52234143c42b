"""What each row adds to a figure of a policy: influences, whose weighted mean is the figure."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.evaluation.targeting.paths import TreatmentPath


class Policy(Protocol):
    """What arms a policy gives, as figures of it need it."""

    def means(self, values: Floats) -> Floats:
        """(n,) of (n, K) values by arm, the mean of each row under the policy."""

    def influences(self, values: Floats) -> Floats:
        """(n,) the same with what the policy's estimation adds."""


@dataclass(frozen=True, eq=False)
class Fixed:
    """A policy that was fixed before: (n, K) probabilities of the arms, or (n,) codes."""

    given: Array

    def means(self, values: Floats) -> Floats:
        """(n,) means of values by arm."""
        if self.given.ndim == 1:
            return np.asarray(values[np.arange(len(self.given)), self.given])
        return np.asarray(np.sum(self.given * values, axis=1))

    influences = means


@dataclass(frozen=True, eq=False)
class SingleArm:
    """One arm for a random part of the rows: for as many as a budget pays for, at most all."""

    arm: int
    costs: Floats  # (n,) the arm's
    weight: Floats  # sums to 1
    budget: float | None

    @property
    def share(self) -> float:
        """The part of the rows."""
        mean = float(self.weight @ self.costs)
        if self.budget is None or mean <= self.budget:
            return 1.0
        return max(self.budget, 0.0) / mean

    def means(self, values: Floats) -> Floats:
        """(n,) means of values by arm."""
        return np.asarray(values[:, 0] + self.share * (values[:, self.arm] - values[:, 0]))

    def influences(self, values: Floats) -> Floats:
        """(n,) of the ratio of means that the share makes: a mean cost above its own lowers it."""
        if self.share == 1:
            return self.means(values)
        mean = float(self.weight @ self.costs)
        effect = float(self.weight @ (values[:, self.arm] - values[:, 0]))
        return self.means(values) - self.share * effect / mean * (self.costs - mean)


@dataclass(frozen=True, eq=False)
class AtBudget:
    r"""The policy of a path at a budget; the steps at its cut-off are all taken in part.

    The cut-off is estimated. Its term in the influence on a mean H(B) of values is
    :math:`-H'(B) (c_i(\pi) - B)`: where rows cost more than they do on average, the cut-off rises.
    """

    path: TreatmentPath
    budget: float
    n_clusters: int

    def means(self, values: Floats) -> Floats:
        """(n,) means of values by arm."""
        path, groups = self.path, self.path.whole(self.budget)
        arms = path.reached(groups)
        found = np.asarray(values[np.arange(len(arms)), arms], dtype=float).copy()
        if groups < len(path.margin):
            before, after = path.spend[groups : groups + 2]
            share = min(max((self.budget - before) / (after - before), 0.0), 1.0)
            ahead = slice(path.begin[groups], path.begin[groups + 1])
            row = path.row[ahead]
            moved = values[row, path.arm[ahead]] - values[row, path.origin[ahead]]
            np.add.at(found, row, share * moved)
        return found

    def influences(self, values: Floats) -> Floats:
        """(n,) with the term of the cut-off."""
        path = self.path
        found = self.means(values)
        if self.budget >= path.spend[-1]:
            return found  # every step is taken: there is no cut-off to estimate
        points = np.array([self.budget])
        slope = slopes(path, reached_means(path, values), points, self.n_clusters)[0]
        return found - slope * (self.means(path.costs) - self.budget)


def reached_means(path: TreatmentPath, values: Floats) -> Floats:
    """(G + 1,) means of (n, K) values by arm, before any step and after each group of steps."""
    moved = values[path.row, path.arm] - values[path.row, path.origin]
    by_group = np.bincount(path.group, path.weight[path.row] * moved, len(path.margin))
    at_first = values[np.arange(len(path.first)), path.first]
    return np.cumsum(np.append(path.weight @ at_first, by_group))


def slopes(path: TreatmentPath, means: Floats, budgets: Floats, n_clusters: int) -> Floats:
    """(m,) how much means rise per unit of the budget, over a window around each budget.

    The number of rows or clusters decides how wide the window is.
    """
    low, high = path.spend[0], path.spend[-1]
    if high <= low:
        return np.zeros(len(budgets))
    budgets = np.minimum(budgets, high)
    at = (budgets - low) / (high - low)
    widest = 0.5 * float(n_clusters) ** -0.2
    half = np.clip(np.minimum(at, 1 - at), widest / 2, widest) * (high - low)  # near ends, narrower
    ends = [np.clip(budgets + side * half, low, high) for side in (-1, 1)]
    values = [np.interp(one, path.spend, means) for one in ends]
    return np.asarray((values[1] - values[0]) / (ends[1] - ends[0]))


def treated(policy: Policy, shape: tuple[int, int]) -> Floats:
    """(n,) the part of each row that gets another arm than the control."""
    return policy.means(np.broadcast_to(np.arange(shape[1]) > 0, shape).astype(float))
