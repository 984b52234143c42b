"""Best assignments of arms for every budget, as one path of steps by falling marginal gain."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, number, numbers
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.means import same_rows
from metalearners.evaluation.ties import rounding, tied
from metalearners.showing.results import Shown

PAYS = 1.0
"""The cut-off above which a step brings more than it costs."""

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Assignment(Shown):
    """The arms that rows get for a budget.

    Parameters
    ----------
    arms : (n,) array of int
        Arm codes; the control is 0.
    split : tuple of int, int and float, optional
        The only row that the best assignment splits between two arms: its position, the dearer arm
        and the share of it that the budget still pays for. In `arms`, it has the cheaper one, so
        that the budget holds. None where no row is split.
    spend, gain : float
        Means per row, `split` included: costs, and predicted effects times their value.
    """

    arms: Array
    split: tuple[int, int, float] | None
    spend: float
    gain: float


@dataclass(frozen=True, eq=False)
class TreatmentPath(Shown):
    """Steps from an arm to a dearer one that gains more, highest marginal gain first.

    Parameters
    ----------
    first : (n,) array of int
        The arm that each row has before any step: its cheapest.
    row, origin, arm : (S,) array of int
        Of each step: its row, the arm that it leaves and the arm that it reaches.
    cost, gain : (S,) array
        What a step costs and what it gains as predicted.
    group : (S,) array of int
        Steps of one marginal gain, up to rounding, are one group.
    margin : (G,) array
        Marginal gain of each group: what is gained per unit of cost. It falls, and is above 0.
    spend : (G + 1,) array
        Mean cost per row before any step, and after each group.
    predicted : (G + 1,) array
        Mean predicted gain there.
    weight : (n,) array
        Sampling weights, which sum to 1.
    costs : (n, K) array
        Costs by arm; the control's are 0.
    value : float
        Of one unit of the outcome.
    """

    first: Array
    row: Array
    origin: Array
    arm: Array
    cost: Floats
    gain: Floats
    group: Array
    margin: Floats
    spend: Floats
    predicted: Floats
    weight: Floats
    costs: Floats
    value: float

    @property
    def n_arms(self) -> int:
        """Number of arms, with the control."""
        return int(self.costs.shape[1])

    def whole(self, budget: float) -> int:
        """How many groups a budget pays for in whole."""
        slack = _ROUNDING * max(float(np.abs(self.spend).max()), abs(budget))
        if budget < self.spend[0] - slack:
            raise ValueError(
                f"Expected a budget that pays for the cheapest arms, {self.spend[0]:.6g} a row; "
                f"found {budget:.6g}. Raise it."
            )
        return int(np.searchsorted(self.spend[1:], budget + slack, side="right"))

    def cut_off(self, budget: float) -> float:
        """The marginal gain above which a budget takes all steps; 0 where it takes every step."""
        taken = self.whole(budget)
        return float(self.margin[taken]) if taken < len(self.margin) else 0.0

    def reached(self, groups: int) -> Array:
        """(n,) arms after the first groups of steps."""
        arms, steps = self.first.copy(), self.begin[groups]
        arms[self.row[:steps]] = self.arm[:steps]  # a row's later steps come later
        return arms

    @cached_property
    def begin(self) -> Array:
        """(G + 1,) where each group's steps begin, and the number of steps."""
        return np.searchsorted(self.group, np.arange(len(self.margin) + 1))

    def assign(self, budget: float) -> Assignment:
        """The assignment that gains most, as predicted, for a mean cost per row.

        It solves the linear programme that lets rows be split between arms. Where several steps
        have the marginal gain at which the budget ends, rows come in their order. So at most one
        row is split.

        Raises
        ------
        ValueError
            If the budget is below the cost of the cheapest arms, which is 0 without negative costs.
        """
        groups = self.whole(budget)
        arms, split, spend = self.reached(groups), None, float(self.spend[groups])
        gain = float(self.predicted[groups])
        if groups < len(self.margin):
            ahead = slice(self.begin[groups], self.begin[groups + 1])
            own = self.weight[self.row[ahead]]
            ends = spend + np.cumsum(own * self.cost[ahead])
            taken = int(np.searchsorted(ends, budget, side="right"))
            arms[self.row[ahead][:taken]] = self.arm[ahead][:taken]
            gain += float(own[:taken] @ self.gain[ahead][:taken])
            spend = float(ends[taken - 1]) if taken else spend
            if taken < len(ends) and budget > spend:
                share = float((budget - spend) / (ends[taken] - spend))
                step = self.begin[groups] + taken
                split = int(self.row[step]), int(self.arm[step]), share
                gain += share * float(own[taken] * self.gain[step])
                spend = budget
        return Assignment(arms, split, spend, gain)


@dataclass(frozen=True)
class TargetingRule(Shown):
    r"""Which arm a row gets: :math:`\arg\max_k \; v \hat\tau_k - \lambda c_k`, ties to the cheaper.

    It takes all steps of a path whose marginal gain is above the cut-off, and none at it.

    Parameters
    ----------
    cut_off : float
        :math:`\lambda`: what a unit of cost has to gain. 1 where everything that pays is done.
    value : float
        v: of one unit of the outcome, in units of the costs.
    """

    cut_off: float = PAYS
    value: float = 1.0

    def assign(self, effects: Floats, costs: Any = 0.0, tolerance: float | None = None) -> Array:
        """(n,) arm codes of rows by their estimates.

        Parameters
        ----------
        effects, costs, tolerance
            As for `treatment_path`.

        Raises
        ------
        ValueError
            As for `treatment_path`.
        """
        gains, spent = gains_and_costs(effects, costs, self.value, tolerance)
        net = gains - self.cut_off * spent
        highest = net.max(axis=1, keepdims=True)
        # What a product and a difference of such numbers may be off by.
        slack = _ROUNDING * (np.abs(gains) + self.cut_off * np.abs(spent)).max(axis=1)
        cost = np.where(net >= highest - slack[:, None], spent, np.inf)
        return np.asarray(np.argmin(cost, axis=1))


def treatment_path(
    effects: Floats,
    costs: Any = 0.0,
    weight: Floats | None = None,
    *,
    value: float = 1.0,
    tolerance: float | None = None,
) -> TreatmentPath:
    r"""The path of best assignments over all budgets, by predicted effects and costs.

    For a budget B, the mean cost per row, it solves

    .. math:: \max_\pi \sum_i w_i \sum_k \pi_{ik} v \hat\tau_{ik} \quad \text{with} \quad
        \sum_i w_i \sum_k \pi_{ik} c_{ik} \le B, \; \sum_k \pi_{ik} = 1, \; \pi_{ik} \ge 0.

    This is the linear relaxation of a multi-choice knapsack. A row's best arms are the corners of
    the upper convex hull of its points (cost, gain), the control at (0, 0). A step goes from a
    corner to the next. The steps of all rows are taken by falling marginal gain, as long as it is
    above 0. An arm that costs nothing and has a positive effect needs no budget: it is where the
    row begins. Of arms with one cost, the one that gains more counts. An arm may have a negative
    cost; then rows begin there, which pays for others.

    Parameters
    ----------
    effects : (n, K-1) array
        Estimated effects of the arms other than the control, fitted on other rows.
    costs : float, (K-1,) array or (n, K-1) array
        What an arm costs above the control: one number for all, one an arm, or one a row and arm.
        Costs that an arm changes are predicted ones.
    weight : (n,) array, optional
        Sampling weights.
    value : float
        Of one unit of the outcome, in units of the costs; negative where less of it is better.
    tolerance : float, optional
        Estimates closer than this are ties; by default the `rounding` of the estimates.

    Raises
    ------
    ValueError
        If numbers are missing or infinite, or shapes differ.

    References
    ----------
    Sverdrup, Wu, Athey and Wager (2024), "Qini curves for multi-armed treatment rules",
    arXiv:2306.11979. Zemel (1984), Information Processing Letters 18(3), pp. 123-128: the linear
    multiple choice knapsack problem.

    Examples
    --------
    >>> path = treatment_path(np.array([[2.0, 3.0], [1.0, 1.5]]), np.array([1.0, 2.0]))
    >>> path.margin.tolist(), path.spend.tolist()
    ([2.0, 1.0, 0.5], [0.0, 0.5, 1.5, 2.0])
    >>> path.assign(1.5).arms.tolist()
    [2, 1]
    """
    check_same_rows(effects=effects, costs=costs, weight=weight)
    gains, spent = gains_and_costs(effects, costs, value, tolerance)
    _, w, _ = same_rows(weight, None, effects=gains[:, 0])
    own = w / w.sum()
    first = _cheapest(gains, spent)
    steps = _in_order(_steps(gains, spent, first))
    group, margin = _groups(steps.pop("margin"))
    moved = own[steps["row"]]
    at_first = np.arange(len(own)), first
    sums = {
        name: np.cumsum(
            np.append(own @ base[at_first], np.bincount(group, moved * step, len(margin)))
        )
        for name, base, step in (("spend", spent, steps["cost"]), ("gain", gains, steps["gain"]))
    }
    return TreatmentPath(
        first=first,
        **steps,
        group=group,
        margin=margin,
        spend=sums["spend"],
        predicted=sums["gain"],
        weight=own,
        costs=spent,
        value=value,
    )


def gains_and_costs(
    effects: Floats, costs: Any, value: float, tolerance: float | None
) -> tuple[Floats, Floats]:
    """(n, K) predicted gains, ties made equal, and costs, the control's zeros first."""
    expected = "Expected the value of a unit of the outcome as a number"
    value = number(value, pd.Interval(-np.inf, np.inf), expected, "Pass such a number.")
    effects = numbers("effects", as_array(effects), "Leave those rows out.")
    shaped = effects.ndim == 2 and effects.size > 0
    check_shape("effects", shaped, "(n, K-1)", effects.shape)
    control = np.zeros((len(effects), 1))
    snapped = np.column_stack([control, _snapped(effects, tolerance)])
    return value * snapped, np.column_stack([control, cost_columns(costs, *effects.shape)])


def cost_columns(costs: Any, n_rows: int, n_others: int) -> Floats:
    """(n, K-1) costs of the arms other than the control.

    Raises
    ------
    ValueError
        If they are neither a number, nor (K-1,), nor (n, K-1), or not finite.
    """
    found = numbers("costs", as_array(costs), "Give each row and arm a cost, 0 for none.")
    shape = (n_rows, n_others)
    fits = found.shape in ((), (n_others,), shape)
    check_shape("costs", fits, f"(), ({n_others},) or {shape}", found.shape)
    return np.broadcast_to(found, shape)


def _snapped(effects: Floats, tolerance: float | None) -> Floats:
    """Effects of which those within rounding, of each other or of 0, are equal."""
    closest = rounding(effects) if tolerance is None else tolerance
    values = np.append(effects.ravel(), 0.0)
    rank = tied(values, closest)
    if rank.max() + 1 == len(values):
        return effects
    low = np.full(rank.max() + 1, np.inf)
    np.minimum.at(low, rank, values)
    # Neighbours within rounding may be a long chain: it isn't one value.
    part = np.zeros(len(values)) if closest == 0 else (values - low[rank]) // (8 * closest)
    snapped = low[rank] + 8 * closest * part
    zero = (rank == rank[-1]) & (part == part[-1])
    return np.asarray(np.where(zero, 0.0, snapped)[:-1].reshape(effects.shape))


def _cheapest(gains: Floats, costs: Floats) -> Array:
    """(n,) each row's cheapest arm; of several, the one that gains most."""
    least = costs.min(axis=1, keepdims=True)
    gain = np.where(costs <= least + _slack(costs), gains, -np.inf)
    return np.asarray(np.argmax(gain, axis=1))


def _slack(costs: Floats) -> float:
    """Costs closer than this are equal."""
    return _ROUNDING * float(np.abs(costs).max())


def _steps(gains: Floats, costs: Floats, first: Array) -> dict[str, Array]:
    """Steps along the upper convex hulls of rows: all first steps, then all second ones."""
    columns = np.ascontiguousarray(gains.T), np.ascontiguousarray(costs.T)
    slack, rows, at = _slack(costs), np.arange(len(first)), first
    before = np.full(len(first), np.inf)
    found: list[dict[str, Array]] = [
        {name: np.zeros(0, dtype=np.int64) for name in ("row", "origin", "arm")}
        | {name: np.zeros(0) for name in ("cost", "gain", "margin")}
    ]
    while len(rows):
        step = _steepest(columns, rows, at, slack)
        more = np.flatnonzero(step["margin"] > 0)
        step = {name: values[more] for name, values in step.items()}
        # Margins fall along a hull, but for rounding.
        before = step["margin"] = np.minimum(before[more], step["margin"])
        rows, at = rows[more], at[more]
        found.append({"row": rows, "origin": at, **step})
        at = step["arm"]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _steepest(
    columns: tuple[Floats, Floats], rows: Array, at: Array, slack: float
) -> dict[str, Array]:
    """Of rows at arms, the step to a dearer arm with the highest marginal gain, if above 0."""
    gains, costs = columns
    here = gains[at, rows], costs[at, rows]
    best: dict[str, Array] = {"arm": np.zeros(len(rows), dtype=np.int64)}
    best |= {name: np.zeros(len(rows)) for name in ("cost", "gain", "margin")}
    for k in range(len(gains)):
        gained, further = gains[k][rows] - here[0], costs[k][rows] - here[1]
        margin = np.divide(gained, further, out=np.zeros(len(rows)), where=further > slack)
        steeper = np.flatnonzero(margin > best["margin"])
        best["arm"][steeper] = k
        for name, values in (("cost", further), ("gain", gained), ("margin", margin)):
            best[name][steeper] = values[steeper]
    return best


def _in_order(steps: dict[str, Array]) -> dict[str, Array]:
    """Steps by falling margin; of equal ones, a row's first one first."""
    falling = -steps["margin"]
    order = np.argsort(falling)
    if (np.diff(falling[order]) == 0).any():
        order = np.argsort(falling, kind="stable")  # which takes longer
    return {name: values[order] for name, values in steps.items()}


def _groups(margin: Floats) -> tuple[Array, Floats]:
    """(S,) groups of steps whose margins are equal up to rounding, and (G,) their margins."""
    new = np.ones(len(margin), dtype=bool)
    new[1:] = margin[:-1] - margin[1:] > _ROUNDING * margin[:-1]
    return np.cumsum(new) - 1, margin[new]
