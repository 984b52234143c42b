"""Simulated experiments: covariates, treatments and outcomes with known effects.

Every function takes a numpy Generator as `rng`. Without one it draws from a new, unseeded one each
time: pass a Generator for repeatable draws.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import wishart

from metalearners._typing import Array, Floats, Matrix
from metalearners.data.arguments import by_feature, check_shape, count, generator, number, numbers

_NOT_NEGATIVE = pd.Interval(0, np.inf, closed="left")
_OPEN = pd.Interval(0, 1, closed="neither")
_BELOW_ONE = pd.Interval(0, 1, closed="left")
_SHARE = pd.Interval(0, 1, closed="both")


def generate_numericals(
    n_obs: int,
    n_features: int,
    mu: float | Array | None = None,
    wishart_scale: float = 1,
    rng: np.random.Generator | None = None,
) -> Floats:
    r"""Correlated normal features.

    .. math:: X \sim N(\mu, \Sigma), \quad \mu_j \sim U[-5, 5], \quad
        \Sigma \sim \text{Wishart}(p, s I_p), \quad E[\Sigma] = p s I_p

    Parameters
    ----------
    n_obs, n_features : int, at least 1
    mu : float or array of shape (p,), optional
        Mean of all features, or means; None draws them.
    wishart_scale : float
        s; 0 stands for :math:`\Sigma = I_p`.
    rng : numpy Generator, optional

    Returns
    -------
    (n, p) floats

    Raises
    ------
    ValueError
        If a count is below 1, `wishart_scale` is negative or `mu` has another length.

    Examples
    --------
    >>> generate_numericals(100, 3, rng=np.random.default_rng(0)).shape
    (100, 3)
    """
    n, p = count("n_obs", n_obs), count("n_features", n_features)
    remedy = "Pass 0 for independent features."
    scale = number(wishart_scale, _NOT_NEGATIVE, "wishart_scale needs to be >= 0", remedy)
    rng = generator(rng)
    mean = rng.uniform(-5, 5, size=p) if mu is None else by_feature("mu", mu, p)
    covariance = np.eye(p)
    if scale > 0:
        drawn = wishart.rvs(df=p, scale=np.eye(p), random_state=rng)
        covariance = scale * np.reshape(drawn, (p, p))
    # A covariance by construction: a check by numpy would only judge its rounding.
    return rng.multivariate_normal(mean, covariance, size=n, check_valid="ignore")


def generate_categoricals(
    n_obs: int,
    n_features: int,
    n_categories: int | Array | None = None,
    n_uniform: int | None = None,
    p_binomial: float = 0.5,
    use_strings: bool = False,
    rng: np.random.Generator | None = None,
) -> tuple[Array, Array]:
    r"""Independent categorical features, coded from 0.

    The first `n_uniform` features are uniform over their :math:`c_j` categories, the others
    :math:`\text{Binomial}(c_j - 1, p)`.

    Parameters
    ----------
    n_obs, n_features : int, at least 1
    n_categories : int or array of shape (p,), optional
        :math:`c_j`; None draws them, uniform on 2, ..., 10.
    n_uniform : int, optional
        Number of uniform features; None is all.
    p_binomial : float, above 0 and below 1
    use_strings : bool
        Whether categories are texts ("0", "1", ...) instead of integers.
    rng : numpy Generator, optional

    Returns
    -------
    (n, p) categories and (p,) numbers of categories

    Raises
    ------
    ValueError
        If a count or the probability is out of its bounds or `n_categories` has another length.

    Examples
    --------
    >>> X, n_categories = generate_categoricals(100, 2, n_categories=3)
    >>> X.shape, n_categories.tolist(), bool(((X >= 0) & (X < 3)).all())
    ((100, 2), [3, 3], True)
    """
    n, p = count("n_obs", n_obs), count("n_features", n_features)
    n_even = p if n_uniform is None else count("n_uniform", n_uniform, least=0, most=p)
    expected = "Probability p must be above 0 and below 1 in p_binomial"
    share = number(p_binomial, _OPEN, expected, "Pass 0.5 for symmetric features.")
    rng = generator(rng)
    sizes = _n_categories(n_categories, p, rng)
    even = rng.integers(0, sizes[:n_even], size=(n, n_even))
    uneven = rng.binomial(sizes[n_even:] - 1, share, size=(n, p - n_even))
    features = np.hstack([even, uneven])
    return features.astype(str) if use_strings else features, sizes


def generate_covariates(
    n_obs: int,
    n_features: int,
    n_categoricals: int = 0,
    format: Literal["pandas", "numpy"] = "pandas",
    mu: float | Array | None = None,
    wishart_scale: float = 1,
    n_categories: int | Array | None = None,
    n_uniform: int | None = None,
    p_binomial: float = 0.5,
    use_strings: bool = False,
    rng: np.random.Generator | None = None,
) -> tuple[Matrix, list[int], Array]:
    """Numerical features followed by categorical ones.

    Arguments for a kind of features are ignored where there are none of this kind.

    Parameters
    ----------
    n_obs, n_features : int, at least 1
    n_categoricals : int, from 0 to n_features
    format : str
        "pandas": columns with all their categories, drawn or not; "numpy": all as floats.
    mu, wishart_scale : as in `generate_numericals`
    n_categories, n_uniform, p_binomial : as in `generate_categoricals`
    use_strings : as in `generate_categoricals`; not with numpy
    rng : numpy Generator, optional

    Returns
    -------
    (n, p) features, positions of the categorical features, and their numbers of categories

    Raises
    ------
    ValueError
        If an argument is out of its bounds, or a numpy array is to hold texts.

    Examples
    --------
    >>> X, positions, n_categories = generate_covariates(100, 3, 1, n_categories=4)
    >>> positions, n_categories.tolist(), X[2].cat.categories.tolist()
    ([2], [4], [0, 1, 2, 3])
    """
    if format not in ("numpy", "pandas"):
        raise ValueError(
            f"format needs to be one of ['numpy', 'pandas']; found {format!r}. Convert the data "
            "frame to what you need."
        )
    if format == "numpy" and use_strings:
        expected = "if format is numpy then use_strings must be False"
        raise ValueError(f"{expected}; found True. Texts need pandas.")
    n, p = count("n_obs", n_obs), count("n_features", n_features)
    n_coded = count("n_categoricals", n_categoricals, least=0, most=p)
    rng = generator(rng)
    measured: Floats = np.empty((n, 0))
    codes, sizes = np.empty((n, 0), int), np.empty(0, int)
    if n_coded < p:
        measured = generate_numericals(n, p - n_coded, mu, wishart_scale, rng)
    if n_coded > 0:
        codes, sizes = generate_categoricals(
            n, n_coded, n_categories, n_uniform, p_binomial, rng=rng
        )
    positions = list(range(p - n_coded, p))
    if format == "numpy":
        return np.hstack([measured, codes]), positions, sizes
    return _frame(measured, codes, sizes, use_strings), positions, sizes


def insert_missing(
    X: Matrix, missing_probability: float = 0.1, rng: np.random.Generator | None = None
) -> Matrix:
    """A copy in which each value is missing with the same probability, independently.

    Parameters
    ----------
    X : numpy array of numbers or objects, or pandas DataFrame
    missing_probability : float, at least 0 and below 1
    rng : numpy Generator, optional

    Returns
    -------
    A copy in the container of `X`, with NaN where values are missing; integers become floats

    Raises
    ------
    ValueError
        If the probability is out of its bounds, or the container cannot hold NaN.

    Examples
    --------
    >>> X = insert_missing(np.ones((1000, 2)), 0.2, np.random.default_rng(0))
    >>> bool(0.15 < np.isnan(X).mean() < 0.25)
    True
    """
    expected = "Probability p must be at least 0 and below 1 in missing_probability"
    share = number(missing_probability, _BELOW_ONE, expected, "Pass 0 to leave all values.")
    holds_nan = isinstance(X, np.ndarray) and X.dtype.kind in "biufO"
    if not holds_nan and not isinstance(X, pd.DataFrame):
        raise ValueError(
            "Expected X as a numpy array of numbers or a pandas DataFrame; found "
            f"{type(X).__name__}{f' of {X.dtype}' if hasattr(X, 'dtype') else ''}. Convert it to "
            "a DataFrame."
        )
    missing = generator(rng).binomial(1, share, size=X.shape).astype(bool)
    return X.mask(missing) if isinstance(X, pd.DataFrame) else np.where(missing, np.nan, X)


def generate_treatment(propensity_scores: Matrix, rng: np.random.Generator | None = None) -> Array:
    r"""Treatments drawn from each row's propensities, :math:`P(W_i = k) = e_{ik}`.

    Parameters
    ----------
    propensity_scores : array of shape (n,), (n, 1) or (n, K)
        Probabilities of arm 1 of two, or of each arm, strictly between 0 and 1. Rows that sum to 1
        within 0.001 are scaled to sum to 1.
    rng : numpy Generator, optional

    Returns
    -------
    (n,) arm codes from 0 to K - 1

    Raises
    ------
    ValueError
        If the scores aren't such probabilities.

    Examples
    --------
    >>> w = generate_treatment(np.full((1000, 3), 1 / 3), np.random.default_rng(0))
    >>> np.unique(w).tolist()
    [0, 1, 2]
    """
    e = _by_arm(numbers("propensity_scores", propensity_scores, "Pass a probability for each row."))
    return generator(rng).multinomial(1, e).argmax(axis=1)


def compute_experiment_outputs(
    mu: Array,
    treatment: Any,
    sigma_y: float = 1,
    sigma_tau: float = 0.5,
    n_variants: int | None = None,
    is_classification: bool = False,
    positive_proportion: float = 0.5,
    return_probability_cate: bool = False,
    rng: np.random.Generator | None = None,
) -> tuple[Array, Array]:
    r"""Observed outcomes of an experiment, and the true effects in it.

    .. math:: Y_i = \mu_{i W_i} + \varepsilon_i + 1[W_i > 0] \, \eta_{i W_i}, \quad
        \varepsilon \sim N(0, \sigma_y^2), \quad \eta \sim N(0, \sigma_\tau^2)

    With classes, Y is Bernoulli with probability sigmoid(Y - q), q being the quantile of the
    :math:`\mu_{i W_i}` at 1 - `positive_proportion`.

    Parameters
    ----------
    mu : array of shape (n, K)
        Expected outcomes by arm; before the sigmoid where there are classes.
    treatment : array of arm codes, of shape (n,)
    sigma_y, sigma_tau : float, in units of `mu`
    n_variants : int, optional
        K; None is the highest arm in `treatment` plus 1.
    is_classification : bool
        Whether outcomes are classes 0 and 1; for two arms only.
    positive_proportion : float
        About the share of class 1.
    return_probability_cate : bool
        Whether effects on classes are differences of :math:`\text{sigmoid}(\mu_{ik} - q)`, not
        of draws from these probabilities.
    rng : numpy Generator, optional

    Returns
    -------
    (n,) outcomes, and (n, K-1) effects of each arm against arm 0, without noise

    Raises
    ------
    ValueError
        If shapes, arms or standard deviations don't fit, or there are classes and K > 2.

    Examples
    --------
    >>> mu = np.array([[0.0, 2.0], [1.0, 4.0]])
    >>> y, cate = compute_experiment_outputs(mu, np.array([1, 0]), sigma_y=0, sigma_tau=0)
    >>> y.tolist(), cate.tolist()
    ([2.0, 1.0], [[2.0], [3.0]])
    """
    mu = numbers("mu", mu, "Compute it from features without missing values.")
    w = _arms(treatment, mu, n_variants)
    if is_classification and mu.shape[1] > 2:
        raise ValueError(
            "Generating classification problems is only implemented for binary treatments; found "
            f"{mu.shape[1]} arms. Pass two columns of mu, or a numeric outcome."
        )
    spread_y = number(sigma_y, _NOT_NEGATIVE, "Expected sigma_y >= 0", "Pass 0 for no noise.")
    spread_tau = number(sigma_tau, _NOT_NEGATIVE, "Expected sigma_tau >= 0", "Pass 0 for no noise.")
    expected = "Expected positive_proportion in [0, 1]"
    share = number(positive_proportion, _SHARE, expected, "0.5 is even.")
    rng = generator(rng)
    rows = np.arange(len(mu))
    noise = rng.normal(0, spread_y, size=len(mu))
    effect_noise = rng.normal(0, spread_tau, size=(len(mu), mu.shape[1] - 1))
    y = mu[rows, w] + noise + np.hstack([np.zeros((len(mu), 1)), effect_noise])[rows, w]
    if not is_classification:
        return y, mu[:, 1:] - mu[:, :1]
    middle = np.quantile(mu[rows, w], 1 - share)
    chances = expit(mu - middle)
    treated, control = chances[:, 1:], chances[:, :1]
    if return_probability_cate:
        cate = treated - control
    else:  # Effects are drawn before outcomes: the order decides which draws a seed gives.
        cate = rng.binomial(1, treated) - rng.binomial(1, control)
    return rng.binomial(1, expit(y - middle)), cate


def _arms(treatment: Any, mu: Floats, n_variants: int | None) -> Array:
    """Arm codes, one for each row of `mu` and each with a column in it."""
    codes = numbers("treatment", treatment, "Pass arm codes 0, 1, ... .")
    check_shape("mu", mu.ndim == 2 and mu.shape[0] > 0, "(n, K), n at least 1", mu.shape)
    check_shape("treatment", codes.shape == mu.shape[:1], f"({len(mu)},), as mu", codes.shape)
    n_arms = int(codes.max()) + 1 if n_variants is None else count("n_variants", n_variants, 2)
    if mu.shape[1] != n_arms or n_arms < 2:
        raise ValueError(
            "mu should be a matrix where the second dimension has size n_variants. n_variants is "
            f"{n_arms} and mu is a matrix of shape {mu.shape}. Pass a column for each of two or "
            "more arms, and n_variants where the highest arm has no rows."
        )
    if not np.isin(codes, np.arange(n_arms)).all():
        raise ValueError(
            f"Expected treatment codes 0 to {n_arms - 1}, whole numbers; found values from "
            f"{codes.min():g} to {codes.max():g}. Encode the control as 0."
        )
    return codes.astype(np.int64)


def _by_arm(scores: Floats) -> Floats:
    """(n, K) propensities that sum to 1 by row."""
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    e = np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores
    check_shape("propensity_scores", e.ndim == 2, "(n,) or (n, K)", e.shape)
    if not ((e > 0) & (e < 1)).all():
        raise ValueError(
            "Propensity scores have to be between 0 and 1, neither included. Minimum is "
            f"{e.min():.4f} and maximum is {e.max():.4f}. Clip them or leave those rows out."
        )
    sums = e.sum(axis=1, keepdims=True)
    if (np.abs(sums - 1) > 1e-3).any():
        raise ValueError(
            f"Propensity scores for all observations must sum to 1. Minimum is {sums.min():.4f} "
            f"and maximum is {sums.max():.4f}. Divide each row by its sum."
        )
    return e / sums


def _frame(measured: Floats, codes: Array, sizes: Array, use_strings: bool) -> pd.DataFrame:
    """Columns 0, 1, ...: the measured ones, then the coded ones as categories."""
    columns: list[Any] = list(measured.T)
    for column, size in zip(codes.T, sizes, strict=True):
        # All categories, drawn or not: what encodes them must not depend on the draw.
        names = [str(k) for k in range(size)] if use_strings else range(size)
        columns.append(pd.Categorical.from_codes(column, categories=pd.Index(names)))
    return pd.DataFrame(dict(enumerate(columns)))


def _n_categories(given: Any, n_features: int, rng: np.random.Generator) -> Array:
    """(p,) numbers of categories; None draws them."""
    if given is None:
        return rng.integers(2, 10, size=n_features, endpoint=True)
    sizes = by_feature("n_categories", given, n_features)
    if not ((sizes >= 1) & (sizes == np.floor(sizes))).all():
        raise ValueError(
            f"Expected n_categories as whole numbers of at least 1; found {sizes.tolist()}. "
            "Each feature has one category or more."
        )
    return sizes.astype(np.int64)
