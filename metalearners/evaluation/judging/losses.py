"""Losses of estimates whose expectation is least at the true effect."""

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, count
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import arm_codes, as_array, as_vector
from metalearners.data.dataset import check_propensity
from metalearners.evaluation.means import Estimate, check_level, mean_with_error, same_rows


def dr_loss(
    predicted: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    level: float = 0.95,
) -> Estimate:
    r"""Mean squared distance of estimates from doubly robust scores, with its standard error.

    .. math:: E[(\Gamma - \hat\tau)^2] = E[(\tau - \hat\tau)^2] + E[(\Gamma - \tau)^2]

    The last term is the scores' noise, which is the same for all estimates and most of the loss:
    compare losses by their differences on the same rows.

    Parameters
    ----------
    predicted : (n,) array
        Estimates, fitted on other rows.
    scores : (n,) array
        Doubly robust scores of the effect.
    weight, groups, arms, level
        As for `mean_with_error`.

    Returns
    -------
    Estimate
        In squared units of the outcome.

    Raises
    ------
    ValueError
        As for `mean_with_error`.

    References
    ----------
    Mahajan, Mitliagkas, Neal and Syrgkanis (2024), "Empirical analysis of model selection for
    heterogeneous causal effect estimation", ICLR.
    """
    (predicted, scores), w, groups = same_rows(weight, groups, predicted=predicted, scores=scores)
    return mean_with_error((scores - predicted) ** 2, w, groups, level, arms=arms)


def r_loss(
    predicted: Floats,
    y: Array,
    w: Array,
    mu: Floats,
    e: Floats,
    arm: int = 1,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    level: float = 0.95,
) -> Estimate:
    r"""The R-loss of estimates of one arm's effect, with its standard error.

    .. math:: E\left[\left(Y - m(X) - (1[W = k] - g(X)) \hat\tau(X)\right)^2 \mid W \in \{0, k\}
        \right], \quad g = \frac{e_k}{e_0 + e_k}, \quad m = (1 - g) \mu_0 + g \mu_k

    over the rows of the arm and the control. An m over all arms would let errors of the
    propensities in. Nuisances must be of models that belong to none of the estimates compared.
    `metalearners.rlearner.r_loss` is the square root, of a given m and g.

    Parameters
    ----------
    predicted : (n,) array
        Estimates of the arm's effect, fitted on other rows.
    y, w : (n,) array
        Outcome and arm codes, of all arms.
    mu, e : (n, K) array
        Outcome expectations and propensities by arm.
    arm : int
        Code of the arm, k.
    weight, groups, level
        As for `mean_with_error`.

    Returns
    -------
    Estimate
        In squared units of the outcome.

    Raises
    ------
    ValueError
        As for `mean_with_error`, or if there are no such arms or rows, or no probabilities.

    References
    ----------
    Nie and Wager (2021), Biometrika 108(2), equation 4.
    """
    check_level(level)
    check_same_rows(predicted=predicted, y=y, w=w, mu=mu, e=e, weight=weight, groups=groups)
    mu, e = as_array(mu), as_array(e)
    check_shape("mu", mu.ndim == 2 and mu.shape[1] > 1, "(n, K), K at least 2", mu.shape)
    n, n_variants = mu.shape
    check_propensity(e, n, n_variants)
    count("arm", arm, most=n_variants - 1)
    codes = arm_codes(as_vector("w", w, n), n_variants, judged=True)
    given = {"predicted": predicted, "y": y, "mu of the control": mu[:, 0], "mu": mu[:, arm]}
    (tau, y, base, treated), weight, groups = same_rows(weight, groups, **given)
    g = e[:, arm] / (e[:, 0] + e[:, arm])
    squares = residual_squares(tau, (1 - g) * base + g * treated, g, y, codes == arm)
    rows = (codes == 0) | (codes == arm)
    of_rows = None if groups is None else groups[rows]
    pair = (codes[rows] == arm).astype(np.int64)
    return mean_with_error(squares[rows], weight[rows], of_rows, level, arms=pair)


def residual_squares(tau: Floats, m: Floats, g: Floats, y: Floats, treated: Array) -> Floats:
    """(n,) terms of the R-loss."""
    return np.asarray((y - m - (treated - g) * tau) ** 2)
