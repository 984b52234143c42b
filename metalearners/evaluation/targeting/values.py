"""What policies bring and cost, with errors, on rows that neither fitted nor chose them."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, count, numbers
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.means import (
    Estimate,
    Means,
    check_level,
    effective_clusters,
    n_clusters,
    same_rows,
)
from metalearners.evaluation.targeting.influences import (
    AtBudget,
    Fixed,
    Policy,
    SingleArm,
    treated,
)
from metalearners.evaluation.targeting.paths import TreatmentPath, cost_columns, gains_and_costs
from metalearners.showing.results import Shown

_ROUNDING = 1e-12


@dataclass(frozen=True)
class PolicyValue(Shown):
    """What a policy brings above treating nobody, per row of the whole population.

    Parameters
    ----------
    gain : Estimate
        Effect on the outcome, times the value of its unit.
    spend : Estimate
        Cost. At a budget that is spent, the budget itself, without an error.
    net : Estimate
        Gain less spend.
    shares : tuple of float
        Shares of the arms, the control first.
    random : Estimate
        The gain of giving the same shares of the arms to rows at random.
    over_random : Estimate
        The gain above that.
    realised : Estimate, optional
        Where costs are an outcome that arms change: the cost by scores. `spend` is then predicted,
        and `net` has this one.
    influence : (n, 2) array
        Of each row on the gain and on the cost, for differences of policies.
    part : (n,) array
        The part of each row that doesn't get the control.
    """

    gain: Estimate
    spend: Estimate
    net: Estimate
    shares: tuple[float, ...]
    random: Estimate
    over_random: Estimate
    realised: Estimate | None
    influence: Floats = field(repr=False, compare=False)
    part: Floats = field(repr=False, compare=False)


def policy_value(
    policy: Array,
    scores: Floats,
    costs: Any = 0.0,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    value: float = 1.0,
    cost_scores: Floats | None = None,
    level: float = 0.95,
) -> PolicyValue:
    r"""The value of a policy that was fixed before, such as of a rule with a cut-off of 1.

    .. math:: \hat V = \frac{1}{\sum_i w_i} \sum_i w_i \sum_k \pi_{ik} v (\Gamma_{ik} - \Gamma_{i0})

    Parameters
    ----------
    policy : (n,) or (n, K) array
        Arm codes, or probabilities of the arms.
    scores : (n, K) array
        Doubly robust scores by arm, the control first (`aipw_scores`).
    costs : float, (K-1,) array or (n, K-1) array
        As for `treatment_path`.
    weight, groups, arms, level
        As for `mean_with_error`. Degrees of freedom are those of the rows that aren't left to the
        control.
    value : float
        Of one unit of the outcome, in units of the costs.
    cost_scores : (n, K) array, optional
        Doubly robust scores of the cost as an outcome, for its realised value.

    Raises
    ------
    ValueError
        As for `mean_with_error`, or if shapes differ, or an arm isn't one of the scores'.

    References
    ----------
    Athey and Wager (2021), "Policy learning with observational data", Econometrica 89(1).
    """
    rows = Rows.of(scores, costs, weight, groups, arms, value, cost_scores, level)
    return rows.value_of(Fixed(_checked(policy, rows.gains.shape)))


def budget_value(
    path: TreatmentPath,
    scores: Floats,
    budget: float,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    cost_scores: Floats | None = None,
    level: float = 0.95,
) -> PolicyValue:
    r"""The value of a path's policy at a budget, whose cut-off is estimated.

    The truth is that of the fitted policy: predicted effects and costs are fixed, and the cut-off
    is the population's for the budget. The influence on the gain is

    .. math:: \psi_i = v (\Gamma_{i \pi_i} - \Gamma_{i0}) - V'(B) (c_{i \pi_i} - B)

    with the gain's slope V'(B) over a window around the budget. Without the last term, as the
    cut-off is estimated, the error would be that of another policy. Steps at the cut-off are all
    taken in the same part. A budget that pays for all steps has no cut-off, and the spend an error.

    Parameters
    ----------
    path : TreatmentPath
        Of the same rows, with their weights, by effects that were fitted on others.
    scores, groups, arms, cost_scores, level
        As for `policy_value`.
    budget : float
        Mean cost per row.

    Raises
    ------
    ValueError
        As for `policy_value`, or if the budget is below the cost of the cheapest arms.

    References
    ----------
    Sverdrup, Wu, Athey and Wager (2024), "Qini curves for multi-armed treatment rules",
    arXiv:2306.11979.
    """
    rows = Rows.along(path, scores, groups, arms, cost_scores, level)
    return rows.value_of(AtBudget(path, budget, n_clusters(rows.weight, rows.groups)))


def single_arm_value(
    arm: int,
    scores: Floats,
    costs: Any = 0.0,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    budget: float | None = None,
    arms: Array | None = None,
    value: float = 1.0,
    cost_scores: Floats | None = None,
    level: float = 0.95,
) -> PolicyValue:
    """The value of one arm for all rows, or for a random part of them that a budget pays for.

    Parameters
    ----------
    arm : int
        The arm's code.
    scores, costs, weight, groups, arms, value, cost_scores, level
        As for `policy_value`.
    budget : float, optional
        Mean cost per row; None for all rows.

    Raises
    ------
    ValueError
        As for `policy_value`.
    """
    rows = Rows.of(scores, costs, weight, groups, arms, value, cost_scores, level)
    k = count("arm", arm, most=rows.gains.shape[1] - 1)
    return rows.value_of(SingleArm(k, rows.costs[:, k], rows.weight / rows.weight.sum(), budget))


def best_single_arm(
    effects: Floats,
    costs: Any = 0.0,
    weight: Floats | None = None,
    *,
    budget: float | None = None,
    value: float = 1.0,
) -> int:
    """The code of the arm that gains most by estimates, if it is the only one beside the control.

    With a budget, it goes to a random part of the rows. Without one, its mean cost is taken off.

    Parameters
    ----------
    effects, costs, weight, value
        As for `treatment_path`.
    budget : float, optional
        Mean cost per row.

    Raises
    ------
    ValueError
        As for `treatment_path`.
    """
    gains, spent = gains_and_costs(effects, costs, value, None)
    (_,), w, _ = same_rows(weight, None, effects=gains[:, 0])
    gain, cost = (np.average(one[:, 1:], axis=0, weights=w) for one in (gains, spent))
    if budget is None:
        return 1 + int(np.argmax(gain - cost))
    paid = np.divide(max(budget, 0.0), cost, out=np.ones_like(cost), where=cost > budget)
    return 1 + int(np.argmax(gain * paid))


def policy_difference(
    first: PolicyValue,
    second: PolicyValue,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    price: float = 0.0,
    level: float = 0.95,
) -> Estimate:
    r"""The first policy's gain less the second's, paired row by row.

    .. math:: V_1 - V_2 - \lambda (C_1 - C_2)

    with the price of a unit of cost, as policies that spend differently don't compare by gains
    alone: 1 in the unit of the gains, or the cut-off of a budget.

    Parameters
    ----------
    first, second : PolicyValue
        On the same rows.
    price : float
        Taken off for a unit of cost.
    weight, groups, arms, level
        As for `policy_value`; the same as there.

    Raises
    ------
    ValueError
        As for `policy_value`, or if the values are of different rows.
    """
    check_level(level)
    pair = [one.influence @ [1.0, -price] for one in (first, second)]
    check_shape("second", len(pair[0]) == len(pair[1]), f"({len(pair[0])},)", pair[1].shape)
    columns, w, labels = same_rows(weight, groups, first=pair[0], second=pair[1])
    apart = columns[0] - columns[1]
    leverage = np.maximum(first.part, second.part) * (np.abs(apart) > 0)
    return _means(apart[:, None], w, labels, arms, leverage).estimates(level)[0]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that judge policies."""

    gains: Floats  # (n, K) scores less the control's, times their value
    costs: Floats  # (n, K)
    weight: Floats
    groups: Array | None
    arms: Array | None
    realised: Floats | None  # (n, K) scores of costs less the control's
    level: float

    @classmethod
    def of(
        cls,
        scores: Floats,
        costs: Any,
        weight: Any,
        groups: Any,
        arms: Array | None,
        value: float,
        cost_scores: Floats | None,
        level: float,
    ) -> "Rows":
        """The rows, which are checked first."""
        check_level(level)
        check_same_rows(scores=scores, costs=costs, arms=arms, cost_scores=cost_scores)
        found = _contrasts("scores", scores)
        n, n_arms = found.shape
        spent = np.column_stack([np.zeros(n), cost_columns(costs, n, n_arms - 1)])
        _, w, labels = same_rows(weight, groups, scores=found[:, 0])
        realised = None if cost_scores is None else _contrasts("cost_scores", cost_scores)
        codes = None if arms is None else as_array(arms)
        return cls(value * found, spent, w, labels, codes, realised, level)

    @classmethod
    def along(
        cls,
        path: TreatmentPath,
        scores: Floats,
        groups: Any,
        arms: Array | None,
        cost_scores: Floats | None,
        level: float,
    ) -> "Rows":
        """The rows of a path."""
        given = as_array(scores)
        check_shape("scores", given.shape == path.costs.shape, str(path.costs.shape), given.shape)
        beside = (path.weight, groups, arms, path.value, cost_scores, level)
        return cls.of(scores, path.costs[:, 1:], *beside)

    def value_of(self, policy: Policy) -> PolicyValue:
        """A policy's figures."""
        n_arms = self.gains.shape[1]
        gain, spend = policy.influences(self.gains), policy.influences(self.costs)
        realised = spend if self.realised is None else policy.influences(self.realised)
        each = [self._arm(policy, k) for k in range(n_arms)]
        own = self.weight / self.weight.sum()
        shares, effects = np.array([own @ one for one in each]), own @ self.gains
        random = self.gains @ shares
        for k in range(1, n_arms):
            random += effects[k] * (each[k] - shares[k])
        part = treated(policy, self.gains.shape)
        above = gain - random
        above[np.abs(above) <= _ROUNDING * np.abs(self.gains).max()] = 0
        columns = np.column_stack([gain, spend, gain - realised, random, above, realised])
        found = _means(columns, self.weight, self.groups, self.arms, part).estimates(self.level)
        return PolicyValue(
            gain=found[0],
            spend=found[1],
            net=found[2],
            shares=tuple(map(float, shares / shares.sum())),
            random=found[3],
            over_random=found[4],
            realised=None if self.realised is None else found[5],
            influence=np.column_stack([gain, realised]),
            part=part,
        )

    def _arm(self, policy: Policy, k: int) -> Floats:
        """(n,) influences on an arm's share."""
        own = np.arange(self.gains.shape[1]) == k
        return policy.influences(np.broadcast_to(own.astype(float), self.gains.shape))


def _means(
    columns: Floats, weight: Floats, groups: Array | None, arms: Array | None, leverage: Floats
) -> Means:
    """Means whose degrees of freedom are those of the rows that count, if there are such."""
    counting = leverage if leverage.any() else np.ones(len(weight))
    codes = np.zeros(len(weight), dtype=np.int64) if arms is None else np.asarray(arms)
    worth = effective_clusters(codes, groups, weight * counting)
    made = Means.of(columns, weight, groups, codes)
    return replace(made, part_degrees=np.maximum(worth - 1, 1))


def _contrasts(name: str, given: Floats) -> Floats:
    """(n, K) scores less the control's."""
    found = numbers(name, as_array(given), "Leave those rows out.")
    shaped = found.ndim == 2 and found.shape[1] > 1 and len(found) > 0
    check_shape(name, shaped, "(n, K)", found.shape)
    return found - found[:, :1]


def _checked(policy: Array, shape: tuple[int, ...]) -> Array:
    """A policy's arm codes or probabilities."""
    found = numbers("policy", as_array(policy), "Give each row an arm.")
    check_shape("policy", found.shape in (shape, shape[:1]), f"{shape[:1]} or {shape}", found.shape)
    if found.ndim == 2:
        if (found < 0).any() or np.abs(found.sum(axis=1) - 1).max() > 1e-6:
            raise ValueError(
                "Expected probabilities of arms that sum to 1 in policy; found others. Divide them "
                "by their sums."
            )
        return found
    codes = found.astype(np.int64)
    if (codes != found).any() or codes.min() < 0 or codes.max() >= shape[1]:
        raise ValueError(
            f"Expected arm codes from 0 to {shape[1] - 1} in policy; found {found.min():g} to "
            f"{found.max():g}. Use the columns of the scores."
        )
    return codes
