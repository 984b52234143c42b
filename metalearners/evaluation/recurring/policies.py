"""Policies of models: the arms that they give, and which rows can compare two of them."""

from typing import Any

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, numbers
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.design import arm_shares

_LEAST_PROBABILITY = 0.02


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
