"""Potential outcomes that are linear in the features, with effects that are known.

Coefficients are drawn once, from U[`ulow`, `uhigh`], by the Generator `rng`, or by a new, unseeded
one. Data frames are one-hot encoded first: numerical columns in their order, then an indicator for
each category of the categorical columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats, Matrix
from metalearners.data.arguments import check_shape, count, generator, number, numbers

_FINITE = pd.Interval(-np.inf, np.inf, closed="neither")


def constant_treatment_effect(
    dim: int,
    tau: float | Array,
    ulow: float = 0,
    uhigh: float = 1,
    rng: np.random.Generator | None = None,
) -> Callable[[Matrix], Floats]:
    r"""Outcomes with the same effect for all rows, :math:`f(x)_k = x'\beta + \tau_k`.

    Parameters
    ----------
    dim : int
        Number of features, once categories are one-hot encoded.
    tau : float or array of shape (K-1,)
        Effects of the treatment arms, in units of the outcome.
    ulow, uhigh : float
        Bounds of the coefficients.
    rng : numpy Generator, optional

    Returns
    -------
    Function from (n, p) features to (n, K) expected outcomes by arm

    Raises
    ------
    ValueError
        If an argument is out of its bounds; by the function, if features are missing or not `dim`.

    Examples
    --------
    >>> f = constant_treatment_effect(dim=2, tau=3.0)
    >>> f(np.zeros((1, 2))).tolist()
    [[0.0, 3.0]]
    """
    effect = numbers("tau", np.ravel(tau), "Pass one effect for each arm but the control.")
    check_shape("tau", effect.size > 0, "() or (K-1,), K at least 2", effect.shape)
    beta = _draw(count("dim", dim), ulow, uhigh, generator(rng))
    return LinearOutcomes(beta, np.zeros((len(beta), len(effect))), effect)


def no_treatment_effect(
    dim: int,
    n_variants: int = 2,
    ulow: float = 0,
    uhigh: float = 1,
    rng: np.random.Generator | None = None,
) -> Callable[[Matrix], Floats]:
    r"""Outcomes that no arm changes, :math:`f(x)_k = x'\beta`.

    Parameters
    ----------
    dim, ulow, uhigh, rng : as in `constant_treatment_effect`
    n_variants : int, at least 2
        K.

    Returns
    -------
    Function from (n, p) features to (n, K) expected outcomes by arm

    Raises
    ------
    ValueError
        If an argument is out of its bounds; by the function, if features are missing or not `dim`.

    Examples
    --------
    >>> mu = no_treatment_effect(dim=2, n_variants=3)(np.ones((5, 2)))
    >>> mu.shape, bool((mu == mu[:, :1]).all())
    ((5, 3), True)
    """
    effects = np.zeros(count("n_variants", n_variants, least=2) - 1)
    return constant_treatment_effect(dim, effects, ulow, uhigh, rng)


def linear_treatment_effect(
    dim: int,
    n_variants: int = 2,
    ulow: float = 0,
    uhigh: float = 1,
    rng: np.random.Generator | None = None,
) -> Callable[[Matrix], Floats]:
    r"""Outcomes with effects linear in the features, :math:`f(x)_k = x'\beta + x'\beta_k`.

    For the control, :math:`\beta_0 = 0`.

    Parameters
    ----------
    dim, ulow, uhigh, rng : as in `constant_treatment_effect`; the bounds are those of effects too
    n_variants : int, at least 2
        K.

    Returns
    -------
    Function from (n, p) features to (n, K) expected outcomes by arm

    Raises
    ------
    ValueError
        If an argument is out of its bounds; by the function, if features are missing or not `dim`.

    Examples
    --------
    >>> f = linear_treatment_effect(dim=2, ulow=1, uhigh=1)
    >>> f(np.array([[1.0, 2.0]])).tolist()
    [[3.0, 6.0]]
    """
    n_effects = count("n_variants", n_variants, least=2) - 1
    rng = generator(rng)
    beta = _draw(count("dim", dim), ulow, uhigh, rng)
    return LinearOutcomes(
        beta, _draw((len(beta), n_effects), ulow, uhigh, rng), np.zeros(n_effects)
    )


@dataclass(frozen=True, eq=False)
class LinearOutcomes:
    r"""Expected outcomes by arm, :math:`f(x) = x'\beta + [0, x'B + \tau]`; can be pickled.

    Parameters
    ----------
    beta : array of shape (dim,)
        Coefficients of the control's outcome.
    effects : array of shape (dim, K-1)
        Coefficients B of the effects.
    tau : array of shape (K-1,)
        Constant part of the effects.
    """

    beta: Floats
    effects: Floats
    tau: Floats

    def __call__(self, X: Matrix) -> Floats:
        """(n, K) expected outcomes of (n, p) features."""
        Z = _encoded(X)
        if Z.ndim != 2 or Z.shape[1] != len(self.beta):
            raise ValueError(
                f"Expected X of shape (n, {len(self.beta)}), dim columns once categories are "
                f"one-hot encoded; found {Z.shape}. Set dim to the number of columns."
            )
        control = (Z @ self.beta)[:, None]
        return np.hstack([control, control + Z @ self.effects + self.tau])


def _draw(shape: int | tuple[int, ...], low: Any, high: Any, rng: np.random.Generator) -> Floats:
    """Coefficients of a shape, from U[low, high]."""
    least = number(low, _FINITE, "Expected ulow as a number", "Pass a finite one.")
    allowed = pd.Interval(least, np.inf, closed="left")
    most = number(high, allowed, f"Expected uhigh >= ulow = {low}", "Swap them.")
    return rng.uniform(least, most, size=shape)


def _encoded(X: Matrix) -> Floats:
    """Features as floats, with an indicator for each category."""
    remedy = "Use features without missing values, texts as pandas categories."
    if not isinstance(X, pd.DataFrame):
        return numbers("X", X, remedy)
    is_category = np.array([isinstance(t, pd.CategoricalDtype) for t in X.dtypes], dtype=bool)
    coded = [_indicators(X.iloc[:, j], remedy) for j in np.flatnonzero(is_category)]
    return np.hstack([numbers("X", X.loc[:, ~is_category], remedy), *coded])


def _indicators(column: Any, remedy: str) -> Floats:
    """(n, c) indicators of a column's categories, drawn or not."""
    codes = column.cat.codes.to_numpy()
    if (codes < 0).any():
        raise ValueError(
            f"Expected a category in each row of column {column.name}; found "
            f"{int((codes < 0).sum())} missing of {len(codes)}. {remedy}"
        )
    return np.eye(len(column.cat.categories))[codes]
