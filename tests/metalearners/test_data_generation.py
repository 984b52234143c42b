"""Simulated experiments against the distributions they are drawn from, and known closed forms."""

import inspect
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from scipy.special import expit
from scipy.stats import binom

from metalearners.data_generation import (
    compute_experiment_outputs,
    generate_categoricals,
    generate_covariates,
    generate_numericals,
    generate_treatment,
    insert_missing,
)
from metalearners.outcome_functions import (
    constant_treatment_effect,
    linear_treatment_effect,
    no_treatment_effect,
)

MU = np.column_stack([np.linspace(-1, 1, 6), np.linspace(0, 3, 6)])
W = np.array([0, 1, 0, 1, 1, 0])


def rng(seed=0):
    return np.random.default_rng(seed)


def assert_mean(values, expected, variance, errors=5):
    """The mean of independent draws lies within some standard errors of what is expected."""
    error = np.sqrt(np.asarray(variance) / len(values))
    assert (np.abs(values.mean(axis=0) - expected) <= errors * error).all()


# Names, orders and defaults that callers rely on

SIGNATURES = {
    generate_numericals: "n_obs, n_features, mu=None, wishart_scale=1, rng=None",
    generate_categoricals: "n_obs, n_features, n_categories=None, n_uniform=None, p_binomial=0.5, "
    "use_strings=False, rng=None",
    generate_covariates: "n_obs, n_features, n_categoricals=0, format='pandas', mu=None, "
    "wishart_scale=1, n_categories=None, n_uniform=None, p_binomial=0.5, use_strings=False, "
    "rng=None",
    insert_missing: "X, missing_probability=0.1, rng=None",
    generate_treatment: "propensity_scores, rng=None",
    compute_experiment_outputs: "mu, treatment, sigma_y=1, sigma_tau=0.5, n_variants=None, "
    "is_classification=False, positive_proportion=0.5, return_probability_cate=False, rng=None",
    constant_treatment_effect: "dim, tau, ulow=0, uhigh=1, rng=None",
    no_treatment_effect: "dim, n_variants=2, ulow=0, uhigh=1, rng=None",
    linear_treatment_effect: "dim, n_variants=2, ulow=0, uhigh=1, rng=None",
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda f: f.__name__)
def test_signatures(function):
    parameters = inspect.signature(function).parameters.values()
    found = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]

    assert ", ".join(map(str, found)) == SIGNATURES[function]


# Repeatable or not

DRAWS = {
    "numericals": lambda g: generate_numericals(20, 3, rng=g),
    "categoricals": lambda g: generate_categoricals(20, 3, n_uniform=1, rng=g)[0],
    "covariates": lambda g: generate_covariates(20, 5, 2, "numpy", rng=g)[0],
    "missing": lambda g: insert_missing(np.ones((20, 3)), 0.5, g),
    "treatment": lambda g: generate_treatment(np.full(60, 0.5), g),
    "outcomes": lambda g: compute_experiment_outputs(MU, W, rng=g)[0],
    "classes": lambda g: np.ravel(
        compute_experiment_outputs(
            np.tile(MU, (9, 1)), np.tile(W, 9), is_classification=True, rng=g
        )[1]
    ),
    "constant": lambda g: constant_treatment_effect(2, 1.0, rng=g)(MU),
    "none": lambda g: no_treatment_effect(2, rng=g)(MU),
    "linear": lambda g: linear_treatment_effect(2, rng=g)(MU),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_generator_repeats_draws_and_none_does_not(draw):
    np.testing.assert_array_equal(draw(rng(3)), draw(rng(3)))
    assert not np.array_equal(draw(rng(3)), draw(rng(4)), equal_nan=True)
    assert not np.array_equal(draw(None), draw(None), equal_nan=True)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_leave_the_global_generator_alone(draw):
    before = pickle.dumps(np.random.get_state())
    draw(None)

    assert pickle.dumps(np.random.get_state()) == before


# Covariates


def test_independent_numericals_have_the_given_means_and_unit_variances():
    mu = np.array([-3.0, 0.0, 40.0])
    X = generate_numericals(40_000, 3, mu, wishart_scale=0, rng=rng())

    assert_mean(X, mu, 1)
    assert_mean((X - mu) ** 2, 1, 2)  # the variance of chi squared is 2
    assert_mean((X[:, 0] - mu[0]) * (X[:, 1] - mu[1]), 0, 1)


def test_covariances_are_wishart():
    """Over draws, E[Sigma] = p s I and Var(Sigma_ij) = p s^2 (1 + [i = j])."""
    p, s, n_draws, n = 3, 0.7, 400, 200
    g = rng(1)
    found = np.array([np.cov(generate_numericals(n, p, 0.0, s, g).T) for _ in range(n_draws)])

    # A sample covariance adds at most 2 E[Sigma_ii^2] / n to the Wishart's own variance.
    variance = p * s**2 * (1 + np.eye(p)) + 2 * (p * s) ** 2 * (1 + 2 / p) / (n - 1)
    assert_mean(found, p * s * np.eye(p), variance)


def test_means_are_uniform_where_not_given():
    g = rng(2)
    X = np.hstack([generate_numericals(1, 10, wishart_scale=0, rng=g)[0] for _ in range(500)])

    # Each is U + Z, of variance 100 / 12 + 1 and fourth moment 125 + 6 * 100 / 12 + 3.
    variance = 100 / 12 + 1
    assert_mean(X, 0, variance)
    assert_mean(X**2, variance, 178 - variance**2)
    assert_mean(np.abs(X) > 5 + 4, 0, 1e-4)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_any_scale_of_covariance_is_fine(scale):
    one = generate_numericals(50, 3, 0.0, 1, rng())

    np.testing.assert_allclose(generate_numericals(50, 3, 0.0, scale, rng()), one * scale**0.5)


def test_categories_are_uniform_then_binomial():
    n, sizes = 40_000, np.array([4, 4, 7])
    X, found = generate_categoricals(n, 3, sizes, n_uniform=1, p_binomial=0.3, rng=rng())

    np.testing.assert_array_equal(found, sizes)
    assert X.dtype == found.dtype == np.int64
    for j, shares in enumerate(
        [np.full(4, 0.25), *(binom.pmf(range(c), c - 1, 0.3) for c in (4, 7))]
    ):
        assert_mean(X[:, [j]] == np.arange(len(shares)), shares, shares * (1 - shares))


def test_numbers_of_categories_are_uniform_from_2_to_10():
    _, sizes = generate_categoricals(1, 9000, rng=rng())

    assert set(sizes) == set(range(2, 11))
    assert_mean(sizes[:, None] == np.arange(2, 11), 1 / 9, 8 / 81)


def test_texts_are_the_same_categories():
    numbers, _ = generate_categoricals(30, 2, rng=rng())
    texts, _ = generate_categoricals(30, 2, use_strings=True, rng=rng())

    assert texts.dtype.kind == "U"
    np.testing.assert_array_equal(texts.astype(int), numbers)


@pytest.mark.parametrize("n_categoricals", [0, 2, 5])
def test_covariates_are_numericals_followed_by_categoricals(n_categoricals):
    arguments = {"n_obs": 30, "n_features": 5, "n_categoricals": n_categoricals}
    array, positions, sizes = generate_covariates(**arguments, format="numpy", rng=rng())
    frame, also, same = generate_covariates(**arguments, rng=rng())

    assert positions == also == list(range(5 - n_categoricals, 5))
    np.testing.assert_array_equal(sizes, same)
    assert len(sizes) == n_categoricals
    assert array.dtype == float
    np.testing.assert_array_equal(frame.astype(float), array)
    assert list(frame.columns) == list(range(5))
    kinds = [isinstance(t, pd.CategoricalDtype) for t in frame.dtypes]
    assert kinds == [False] * (5 - n_categoricals) + [True] * n_categoricals


def test_arguments_of_absent_kinds_are_not_looked_at():
    X, positions, sizes = generate_covariates(4, 2, 0, n_categories=np.ones(9), n_uniform=7)
    assert (X.shape, positions, sizes.shape) == ((4, 2), [], (0,))
    assert generate_covariates(4, 2, 2, mu=np.ones(9))[0].shape == (4, 2)


@pytest.mark.parametrize("use_strings", [False, True])
def test_categories_that_were_not_drawn_are_kept(use_strings):
    X, _, _ = generate_covariates(1, 3, 2, n_categories=9, use_strings=use_strings, rng=rng())
    expected = [str(k) if use_strings else k for k in range(9)]

    for column in (1, 2):
        assert X[column].cat.categories.tolist() == expected
        assert not X[column].cat.ordered


# Missing values


def test_the_share_of_missing_values():
    X = np.arange(60_000.0).reshape(-1, 3)
    found = insert_missing(X, 0.2, rng())

    absent = np.isnan(found)
    assert_mean(absent, 0.2, 0.16)
    np.testing.assert_array_equal(found[~absent], X[~absent])
    assert not np.isnan(X).any()
    np.testing.assert_array_equal(insert_missing(X, 0), X)


def test_missing_values_are_at_the_same_places_in_frames_and_arrays():
    X, _, _ = generate_covariates(200, 4, 2, use_strings=True, rng=rng())
    X["whole"] = np.arange(200)
    before = X.copy()
    found = insert_missing(X, 0.3, rng(1))

    absent = np.isnan(insert_missing(np.ones(X.shape), 0.3, rng(1)))
    np.testing.assert_array_equal(found.isna(), absent)
    pd.testing.assert_frame_equal(X, before)
    assert found[2].dtype == X[2].dtype
    assert found["whole"].dtype == float


@pytest.mark.parametrize(("given", "found"), [("f4", "f4"), ("f8", "f8"), ("i8", "f8"), ("O", "O")])
def test_types_of_arrays_with_missing_values(given, found):
    assert insert_missing(np.ones((3, 2), given), 0.5, rng()).dtype == np.dtype(found)


# Treatments


def test_treatments_follow_their_propensities():
    e = rng().dirichlet([2, 3, 4], size=30_000).clip(0.01)
    e /= e.sum(axis=1, keepdims=True)
    w = generate_treatment(e, rng(1))

    assert w.shape == (30_000,)
    received = w[:, None] == np.arange(3)
    assert_mean(received - e, 0, (e * (1 - e)).mean(axis=0))
    assert_mean((received - e) * e, 0, (e**3 * (1 - e)).mean(axis=0))


@pytest.mark.parametrize(
    "container",
    [np.asarray, lambda e: e[:, None], list, pd.Series, pl.Series, lambda e: np.c_[1 - e, e]],
    ids=["vector", "column", "list", "pandas", "polars", "matrix"],
)
def test_one_propensity_is_that_of_arm_1(container):
    e = np.linspace(0.05, 0.95, 2000)
    w = generate_treatment(container(e), rng())

    np.testing.assert_array_equal(w, generate_treatment(e, rng()))
    assert_mean(w - e, 0, (e * (1 - e)).mean())


def test_propensities_that_nearly_sum_to_one_are_scaled():
    e = np.tile([0.5004, 0.5004, 1e-5], (2000, 1))  # numpy itself refuses 1.0008 before the last

    assert_mean(generate_treatment(e, rng()) == 1, 0.5, 0.25)


# Outcomes


def test_without_noise_outcomes_and_effects_are_exact():
    y, cate = compute_experiment_outputs(MU, W, sigma_y=0, sigma_tau=0)

    np.testing.assert_array_equal(y, MU[np.arange(6), W])
    np.testing.assert_array_equal(cate, MU[:, 1:] - MU[:, :1])


def test_noise_has_the_given_spread_and_is_larger_for_the_treated():
    n = 60_000
    mu, w = np.tile([1.0, 2.0, 4.0], (n, 1)), np.arange(n) % 3
    y, cate = compute_experiment_outputs(mu, w, sigma_y=1.5, sigma_tau=2, rng=rng())

    np.testing.assert_array_equal(cate, np.tile([1.0, 3.0], (n, 1)))
    for arm, variance in enumerate([1.5**2, 1.5**2 + 4, 1.5**2 + 4]):
        rest = y[w == arm] - mu[0, arm]
        assert_mean(rest, 0, variance)
        assert_mean(rest**2, variance, 2 * variance**2)


@pytest.mark.parametrize(
    "container",
    [list, pd.Series, pl.Series, lambda w: w.astype(float), lambda w: w.astype(bool)],
    ids=["list", "pandas", "polars", "floats", "booleans"],
)
def test_treatments_in_any_container(container):
    found = compute_experiment_outputs(MU, container(W), rng=rng())

    for one, other in zip(found, compute_experiment_outputs(MU, W, rng=rng()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_highest_arm_may_be_absent_if_it_is_counted():
    y, cate = compute_experiment_outputs(np.c_[MU, MU[:, 0]], W, n_variants=3)

    assert (y.shape, cate.shape) == ((6,), (6, 2))


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_class_outcomes_are_bernoulli(share):
    n = 40_000
    g = rng(5)
    mu = g.normal([0, 0.5], 1, size=(n, 2))
    w = g.integers(0, 2, n)
    arguments = {"sigma_y": 0, "sigma_tau": 0, "positive_proportion": share, "rng": g}
    y, cate = compute_experiment_outputs(mu, w, is_classification=True, **arguments)
    _, exact = compute_experiment_outputs(
        mu, w, is_classification=True, return_probability_cate=True, **arguments
    )

    middle = np.quantile(mu[np.arange(n), w], 1 - share)
    p = expit(mu - middle)
    own = p[np.arange(n), w]
    assert set(y) == {0, 1}
    assert_mean(y - own, 0, (own * (1 - own)).mean())
    np.testing.assert_allclose(exact, p[:, 1:] - p[:, :1])
    assert set(cate.ravel()) == {-1, 0, 1}
    assert_mean(cate - exact, 0, (p * (1 - p)).sum(axis=1).mean())


def test_classes_of_extreme_outcomes_are_certain():
    y, cate = compute_experiment_outputs(
        np.tile([-2000.0, 2000.0], (6, 1)), W, 0, 0, None, True, 0.5, True, rng()
    )

    np.testing.assert_array_equal(y[W == 1], 1)
    assert np.isfinite(cate).all()


# Outcome functions


@pytest.mark.parametrize("tau", [2.0, np.array([2.0]), np.array([1.0, -3.0]), [1, 2]], ids=str)
def test_constant_effects_are_exact(tau):
    X = rng().integers(-9, 9, size=(50, 3))
    f = constant_treatment_effect(3, tau, ulow=2, uhigh=2)

    expected = 2.0 * X.sum(axis=1, keepdims=True) + np.r_[0, tau]
    np.testing.assert_array_equal(f(X), expected)


def test_no_effect_is_none_at_all():
    mu = no_treatment_effect(3, 4)(rng().normal(size=(50, 3)))

    np.testing.assert_array_equal(mu, np.tile(mu[:, :1], (1, 4)))


def test_linear_effects_are_linear():
    mu = linear_treatment_effect(3, 3, -2, 5, rng())
    at = mu(np.eye(3))  # the coefficients themselves
    X = rng(1).normal(size=(50, 3))

    np.testing.assert_allclose(mu(X), X @ at, atol=1e-12)
    assert len(np.unique(at[:, 1:] - at[:, :1])) == 6


@pytest.mark.parametrize("make", [linear_treatment_effect, no_treatment_effect])
def test_coefficients_are_uniform(make):
    dim, low, high = 3000, -1, 3
    control = make(dim, 2, low, high, rng())(np.eye(dim))[:, 0]

    assert_mean(control, 1, 16 / 12)
    assert low <= control.min() < low + 0.02
    assert high - 0.02 < control.max() <= high


def test_categories_have_a_coefficient_each():
    X = pd.DataFrame(
        {"c": pd.Categorical(["a", "z"], ["a", "b", "z"]), "n": [10, 20], "d": [True, False]}
    )
    encoded = np.array([[10, 1, 1, 0, 0], [20, 0, 0, 0, 1.0]])

    for make in (linear_treatment_effect, no_treatment_effect):
        np.testing.assert_array_equal(make(5, rng=rng())(X), make(5, rng=rng())(encoded))


def test_the_same_function_gives_a_row_the_same_outcomes_whatever_rows_are_beside_it():
    X, _, sizes = generate_covariates(50, 4, 2, use_strings=True, rng=rng())
    f = linear_treatment_effect(2 + sizes.sum(), rng=rng())

    np.testing.assert_allclose(f(X)[:3], f(X.iloc[:3]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(X), f(X))


# What is refused

REFUSED = {
    "no rows": (lambda: generate_numericals(0, 2), "n_obs needs .* or equal to 1; found 0"),
    "half a row": (lambda: generate_numericals(1.5, 2), "n_obs needs .*found 1.5"),
    "a boolean count": (lambda: generate_numericals(5, True), "n_features needs .*found True"),
    "no features": (lambda: generate_categoricals(5, 0), "n_features needs .*found 0"),
    "negative scale": (
        lambda: generate_numericals(5, 2, wishart_scale=-1),
        "wishart_scale needs to be >= 0; found -1. Pass 0",
    ),
    "missing scale": (lambda: generate_numericals(5, 2, None, np.nan), ">= 0; found nan"),
    "infinite scale": (lambda: generate_numericals(5, 2, None, np.inf), ">= 0; found inf"),
    "too many means": (lambda: generate_numericals(5, 2, np.ones(3)), r"or \(2,\); found \(3,\)"),
    "a missing mean": (lambda: generate_numericals(5, 2, np.nan), "finite numbers in mu; found 1"),
    "a text mean": (lambda: generate_numericals(5, 2, "a"), "numbers in mu; found str"),
    "a seed": (lambda: generate_numericals(5, 2, rng=7), "Generator or None as rng; found 7"),
    "the old generator": (
        lambda: insert_missing(MU, rng=np.random.RandomState(0)),
        r"found RandomState.*Pass np.random.default_rng\(seed\)",
    ),
    "a certain category": (
        lambda: generate_categoricals(5, 2, p_binomial=1),
        "Probability p must be above 0 and below 1 in p_binomial; found 1. Pass 0.5",
    ),
    "an impossible category": (lambda: generate_categoricals(5, 2, p_binomial=0), "found 0. Pass"),
    "a text probability": (lambda: generate_categoricals(5, 2, p_binomial="x"), "found 'x'"),
    "too many uniform": (
        lambda: generate_categoricals(5, 2, n_uniform=3),
        "n_uniform needs .* equal to 0 and at most 2; found 3",
    ),
    "no categories": (lambda: generate_categoricals(5, 2, 0), "whole numbers of at least 1; found"),
    "half a category": (lambda: generate_categoricals(5, 1, 2.5), r"at least 1; found \[2.5\]"),
    "sizes of other features": (
        lambda: generate_categoricals(5, 3, np.array([2, 3])),
        r"n_categories of shape \(\) or \(3,\); found \(2,\)",
    ),
    "another format": (
        lambda: generate_covariates(5, 2, format="polars"),
        r"format needs to be one of \['numpy', 'pandas'\]; found 'polars'. Convert",
    ),
    "texts in numpy": (
        lambda: generate_covariates(5, 2, 1, "numpy", use_strings=True),
        "if format is numpy then use_strings must be False; found True",
    ),
    "more categoricals than features": (
        lambda: generate_covariates(5, 2, 3),
        "n_categoricals needs .* at most 2; found 3",
    ),
    "all missing": (
        lambda: insert_missing(MU, 1),
        "Probability p must be at least 0 and below 1 in missing_probability; found 1",
    ),
    "fewer than none missing": (lambda: insert_missing(MU, -0.1), "found -0.1. Pass 0"),
    "texts that can't be missing": (
        lambda: insert_missing(np.array([["a"]])),
        "pandas DataFrame; found ndarray of <U1. Convert it",
    ),
    "missing in polars": (lambda: insert_missing(pl.DataFrame(MU)), "found DataFrame. Convert"),
    "missing in sparse": (lambda: insert_missing(sparse.csr_matrix(MU)), "found csr_matrix of f"),
    "propensity zero": (
        lambda: generate_treatment(np.array([0.0, 0.5])),
        "have to be between 0 and 1, neither included. Minimum is 0.0000 and maximum is 1.0000",
    ),
    "propensities that don't sum to one": (
        lambda: generate_treatment(np.full((4, 3), 0.5)),
        "must sum to 1. Minimum is 1.5000 and maximum is 1.5000. Divide",
    ),
    "missing propensities": (
        lambda: generate_treatment(np.array([np.nan, 0.5])),
        "finite numbers in propensity_scores; found 1 missing or infinite of 2",
    ),
    "one propensity for all": (lambda: generate_treatment(0.5), r"\(n, K\); found \(\)"),
    "a cube of propensities": (
        lambda: generate_treatment(np.full((2, 2, 2), 0.5)),
        "found .2, 2, 2",
    ),
    "text propensities": (lambda: generate_treatment(["a"]), "numbers in propensity_scores; found"),
    "a column of mu too few": (
        lambda: compute_experiment_outputs(MU, W, n_variants=3),
        r"second dimension has size n_variants. n_variants is 3 and mu is .* \(6, 2\). Pass",
    ),
    "a column of mu too many": (
        lambda: compute_experiment_outputs(MU, W * 0),
        r"second dimension has size n_variants. n_variants is 1 and mu is .* \(6, 2\). Pass",
    ),
    "one arm": (lambda: compute_experiment_outputs(MU[:, :1], W * 0), "column for each of two"),
    "one arm, counted": (
        lambda: compute_experiment_outputs(MU, W, n_variants=1),
        "n_variants needs to be an integer greater or equal to 2; found 1",
    ),
    "mu of one arm": (lambda: compute_experiment_outputs(MU[:, 0], W), r"mu of shape \(n, K\)"),
    "empty mu": (lambda: compute_experiment_outputs(MU[:0], W[:0]), r"at least 1; found \(0, 2\)"),
    "missing mu": (
        lambda: compute_experiment_outputs(MU * np.nan, W),
        "numbers in mu; found 12 .*features without missing",
    ),
    "fewer treatments": (
        lambda: compute_experiment_outputs(MU, W[:3]),
        r"treatment of shape \(6,\), as mu; found \(3,\)",
    ),
    "negative arms": (lambda: compute_experiment_outputs(MU, W - 1, n_variants=2), "from -1 to 0"),
    "half arms": (lambda: compute_experiment_outputs(MU, W / 2, n_variants=2), "from 0 to 0.5"),
    "text arms": (lambda: compute_experiment_outputs(MU, ["a"] * 6), "numbers in treatment"),
    "negative noise": (lambda: compute_experiment_outputs(MU, W, -1), "sigma_y >= 0; found -1"),
    "missing noise of effects": (
        lambda: compute_experiment_outputs(MU, W, 1, np.nan),
        "sigma_tau >= 0; found nan. Pass 0",
    ),
    "more than all positive": (
        lambda: compute_experiment_outputs(MU, W, is_classification=True, positive_proportion=1.1),
        r"positive_proportion in \[0, 1\]; found 1.1",
    ),
    "classes in three arms": (
        lambda: compute_experiment_outputs(
            np.c_[MU, MU[:, 0]], np.arange(6) % 3, is_classification=True
        ),
        "only implemented for binary treatments; found 3 arms. Pass two",
    ),
    "no dimension": (lambda: linear_treatment_effect(0), "dim needs .*found 0"),
    "no treatment": (
        lambda: no_treatment_effect(2, 1),
        "n_variants needs to be an integer greater or equal to 2; found 1",
    ),
    "bounds the wrong way": (
        lambda: linear_treatment_effect(2, ulow=3, uhigh=1),
        "uhigh >= ulow = 3; found 1. Swap",
    ),
    "an infinite bound": (
        lambda: no_treatment_effect(2, 2, -np.inf),
        "ulow as a number; found -inf",
    ),
    "no effect at all": (lambda: constant_treatment_effect(2, []), r"tau .* found \(0,\)"),
    "a missing effect": (lambda: constant_treatment_effect(2, np.nan), "numbers in tau; found 1"),
    "a text effect": (lambda: constant_treatment_effect(2, "a"), "numbers in tau; found"),
    "features of another dimension": (
        lambda: no_treatment_effect(3)(MU),
        r"X of shape \(n, 3\), .*; found \(6, 2\). Set dim",
    ),
    "features of one row": (lambda: no_treatment_effect(2)(MU[0]), r"found \(2,\)"),
    "missing features": (lambda: no_treatment_effect(2)(MU * np.nan), "in X; found 12 missing"),
    "missing categories": (
        lambda: no_treatment_effect(1)(pd.DataFrame({"c": pd.Categorical(["a", None])})),
        "category in each row of column c; found 1 missing of 2",
    ),
    "text features": (
        lambda: no_treatment_effect(1)(pd.DataFrame({"c": ["a", "b"]})),
        "Expected numbers in X; found DataFrame .* texts as pandas categories",
    ),
    "sparse features": (lambda: no_treatment_effect(2)(sparse.csr_matrix(MU)), "found csr_matrix"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message) as refusal:
        call()

    assert str(refusal.value).endswith(".")
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
