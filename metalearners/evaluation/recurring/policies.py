"""Policies of models: the arms that they give, and which rows can compare two of them."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, numbers
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.design import arm_shares

_LEAST_PROBABILITY = 0.02
_LEVEL = 1e-3  # of the test whether groups keep their arms
_FEWEST_GROUPS = 10  # that came before: fewer hardly matter, and tell too little


def policy_arms(effects: Floats) -> Array:
    """(n,) arms that a policy gives: of the highest effect; the control, 0, where none is above 0.

    Parameters
    ----------
    effects : (n, K-1) array
        Estimated effects of the arms other than the control.

    Examples
    --------
    >>> policy_arms(np.array([[0.1, 0.3], [-0.1, 0.2], [-0.2, -0.1]])).tolist()
    [2, 2, 0]
    """
    effects = numbers("effects", as_array(effects), "Leave those rows out.")
    check_shape("effects", effects.ndim == 2, "(n, K-1)", effects.shape)
    return np.argmax(np.column_stack([np.zeros(len(effects)), effects]), axis=1)


def drawn_shares(
    w: Array, n_variants: int, drawn: Array, strata: Any = None, weight: Floats | None = None
) -> Floats:
    """(n, K) shares of the arms among the rows that chance treated; missing in the others.

    Parameters
    ----------
    w : (n,) array of int
        Arm codes.
    n_variants : int
        Number of arms.
    drawn : (n,) array of bool
        Whether chance drew the row's arm, whatever its policy: the randomised share.
    strata : (n,) array, optional
        Labels of the strata within which it did.
    weight : (n,) array, optional
        Sampling weights: shares are then those of the weighted rows.

    Raises
    ------
    ValueError
        If a stratum has no row of an arm.
    """
    check_same_rows(w=w, drawn=drawn, strata=strata, weight=weight)
    drawn = as_array(drawn).astype(bool)
    own, v = (None if one is None else as_array(one)[drawn] for one in (strata, weight))
    shares = np.full((len(drawn), n_variants), np.nan)
    shares[drawn] = arm_shares(as_array(w)[drawn], n_variants, own, v)
    return shares


def are_identified(propensity: Floats) -> Array:
    """(n,) whether rows can compare policies: chance gave each arm a probability above .02."""
    found = np.nan_to_num(as_array(propensity))
    check_shape("propensity", found.ndim == 2, "(n, K)", found.shape)
    return np.asarray((found > _LEAST_PROBABILITY).all(axis=1))


def keep_arms(
    w: Array, groups: Array, propensity: Floats, earlier_w: Array, earlier_groups: Array
) -> Array:
    r"""(n,) rows of groups that came before, if these groups keep their arms; else none.

    The noise of a group that comes again with its arm comes again, too. Such rows are no new
    evidence on a model that was fitted on the earlier rows, or compared on them. Where chance draws
    the arms anew, the earlier arms say nothing of these. That is tested by

    .. math:: T = \sum_g \bar A_g \Big/ \sqrt{\sum_g \bar V_g}, \quad
        A_i = p_{g W_i} - \sum_k e_{ik} p_{gk}, \quad
        V_i = \sum_k e_{ik} p_{gk}^2 - \Big(\sum_k e_{ik} p_{gk}\Big)^2

    with the shares p of the arms among the earlier rows of a group, and means over its rows. If all
    rows of a group get one arm, V is the variance, and else a bound of it. Groups keep their arms
    if T is beyond chance (p < .001) and ten or more came before. The test looks at arms alone,
    never at outcomes, so what it leaves out adds no bias.

    Parameters
    ----------
    w : (n,) array of int
        Arm codes.
    groups : (n,) array
        Labels of the groups.
    propensity : (n, K) array
        Probabilities of the arms; missing in a row whose arm nobody drew.
    earlier_w, earlier_groups : (m,) array
        Arm codes and groups of the earlier rows.

    Examples
    --------
    >>> w, groups, half = np.arange(20) % 2, np.arange(20), np.full((20, 2), 0.5)
    >>> int(keep_arms(w, groups, half, w[:15], groups[:15]).sum())
    15
    >>> int(keep_arms(groups // 2 % 2, groups, half, w, groups).sum())  # half as before
    0
    """
    check_same_rows(w=w, groups=groups, propensity=propensity)
    check_same_rows(earlier_w=earlier_w, earlier_groups=earlier_groups)
    w, e = as_array(w), as_array(propensity)
    member, labels = pd.factorize(as_array(earlier_groups))
    n_arms = e.shape[1]
    cells = np.bincount(member * n_arms + as_array(earlier_w), minlength=len(labels) * n_arms)
    counts = cells.reshape(-1, n_arms)
    group = pd.Index(labels).get_indexer(pd.Index(as_array(groups)))
    tested = np.flatnonzero((group >= 0) & np.isfinite(e).all(axis=1))
    if len(np.unique(group[tested])) < _FEWEST_GROUPS:
        return np.zeros(len(w), bool)
    own, e = group[tested], e[tested]
    shares = (counts / counts.sum(axis=1, keepdims=True))[own]
    expected = np.sum(e * shares, axis=1)
    above = shares[np.arange(len(own)), w[tested]] - expected
    variance = np.sum(e * shares**2, axis=1) - expected**2
    part = 1 / np.bincount(own)[own]
    gap, error = part @ above, np.sqrt(max(part @ variance, 0))
    return (group >= 0) & bool(gap > error * -special.ndtri(_LEVEL))
