"""Simulated data with known nuisances, and base models that return the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression

from metalearners import (
    DRLearner,
    RALearner,
    RLearner,
    SLearner,
    TLearner,
    ULearner,
    XLearner,
)
from metalearners.data.dataset import Dataset
from metalearners.evaluation.average_effects import average_effects
from metalearners.evaluation.means import Estimate
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.execute import run_stage, serial
from metalearners.fits.plan import Plan, plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.metalearner import (
    PROPENSITY_MODEL,
    TREATMENT_MODEL,
    VARIANT_OUTCOME_MODEL,
    MetaLearner,
)
from metalearners.rlearner import OUTCOME_MODEL

# What the laws are tested on: the registry's learners, each with its row in the tables of tests.
LEARNERS = (SLearner, TLearner, XLearner, RLearner, DRLearner, ULearner, RALearner)
WITH_PROPENSITY = [one for one in LEARNERS if PROPENSITY_MODEL in one.NUISANCE_KINDS]
WITH_OUTCOMES_BY_ARM = [one for one in LEARNERS if VARIANT_OUTCOME_MODEL in one.NUISANCE_KINDS]
WITH_TREATMENT_STAGE = [one for one in LEARNERS if one.TREATMENT_KINDS]
WITH_TREATMENT_MODEL = [one for one in LEARNERS if TREATMENT_MODEL in one.TREATMENT_KINDS]
SMALL = {"n_estimators": 20, "num_leaves": 6, "min_child_samples": 5, "n_jobs": 1}
EXACT = {"max_iter": 10_000, "tol": 1e-12}


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows drawn from a design, with the truth about each.

    Parameters
    ----------
    X : (n, p) features
    y, w : (n,) outcome and arm
    mu, e : (n, K) expected outcomes and propensities by arm
    groups : (n,) clusters, if the design has any
    """

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    mu: np.ndarray
    e: np.ndarray
    groups: np.ndarray | None = None

    @property
    def n_variants(self) -> int:
        """Number of arms."""
        return self.mu.shape[1]

    @property
    def tau(self) -> np.ndarray:
        """(n, K-1) effects against the control."""
        return self.mu[:, 1:] - self.mu[:, :1]

    def dataset(self, **more: Any) -> Dataset:
        """The rows as learners get them."""
        given = {"X": self.X, "y": self.y, "w": self.w, "n_variants": self.n_variants}
        return Dataset(**{**given, **more})


# The designs' truths; each takes features and returns a column an arm.


def two_outcomes(X: np.ndarray) -> np.ndarray:
    mu0 = X[:, 0] + X[:, 1] + 0.5 * X[:, 2]
    return np.column_stack([mu0, mu0 + 1 + 0.5 * X[:, 0]])


def two_propensities(X: np.ndarray) -> np.ndarray:
    e = expit(0.6 * X[:, 0] - 0.4 * X[:, 1])
    return np.column_stack([1 - e, e])


def three_outcomes(X: np.ndarray) -> np.ndarray:
    mu0 = np.sin(X[:, 0]) + X[:, 1]
    return np.column_stack([mu0, mu0 + 1 + X[:, 2], mu0 - 2 + X[:, 0] * X[:, 1]])


def three_propensities(X: np.ndarray) -> np.ndarray:
    return softmax(np.column_stack([0 * X[:, 0], 0.5 * X[:, 0], -0.5 * X[:, 1]]), axis=1)


def two_classes(X: np.ndarray) -> np.ndarray:
    """Probabilities of 0 and 1: an outcome without noise, which differs by arm in some rows."""
    return np.column_stack([X[:, 0] > 0, X[:, 0] + X[:, 1] > 0.3]).astype(float)


def three_classes(X: np.ndarray) -> np.ndarray:
    return np.column_stack([two_classes(X), X[:, 1] - X[:, 2] > 0]).astype(float)


def effects(X: np.ndarray, outcomes: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    mu = outcomes(X)
    return mu[:, 1:] - mu[:, :1]


def mixtures(
    X: np.ndarray,
    outcomes: Callable[[np.ndarray], np.ndarray],
    propensities: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """E[Y | X, W in {0, k}], a column for each k from 1."""
    mu, e = outcomes(X), propensities(X)
    return (e[:, :1] * mu[:, :1] + e[:, 1:] * mu[:, 1:]) / (e[:, :1] + e[:, 1:])


def draw(
    n: int,
    outcomes: Callable[[np.ndarray], np.ndarray] = two_outcomes,
    propensities: Callable[[np.ndarray], np.ndarray] = two_propensities,
    seed: int = 0,
    noise: float = 1.0,
    n_features: int = 5,
) -> Sample:
    """A sample with independent normal features; by default the first coverage design."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features))
    mu, e = outcomes(X), propensities(X)
    w = (rng.uniform(size=(n, 1)) > e.cumsum(axis=1)[:, :-1]).sum(axis=1)
    y = mu[np.arange(n), w] + noise * rng.normal(size=n)
    return Sample(X, y, w, mu, e)


def draw_clusters(n_clusters: int = 200, size: int = 5, seed: int = 0) -> Sample:
    """Clusters that are treated as a whole, and share a part of their outcome; the ATE is 1."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_clusters), size)
    X = rng.normal(size=(len(groups), 5))
    mu = two_outcomes(X)
    w = rng.permutation(np.arange(n_clusters) % 2)[groups]
    shared = 0.7 * rng.normal(size=n_clusters)[groups]
    y = mu[np.arange(len(w)), w] + shared + rng.normal(size=len(w))
    return Sample(X, y, w, mu, np.full_like(mu, 0.5), groups)


def draw_classes(n: int, seed: int = 0, n_classes: int = 2) -> Sample:
    """Noisy classes 0, 1, ... in two arms; `mu` is the probability of the last class."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    e = two_propensities(X)
    w = (rng.uniform(size=n) > e[:, 0]).astype(int)
    p = expit(np.column_stack([X[:, 0], X[:, 0] + 1]))
    chosen = p[np.arange(n), w]
    y = (rng.uniform(size=n) < chosen) * (n_classes - 1)
    middle = rng.uniform(size=n) < 0.3
    if n_classes > 2:
        y = np.where(middle, rng.integers(1, n_classes - 1, size=n, endpoint=True), y)
    return Sample(X, y.astype(int), w, p, e)


# Base models that return the truth


class Oracle(RegressorMixin, BaseEstimator):
    """Predicts that column of a known function which its training rows follow, or refuses.

    So the fit proves that a regression's rows and target are what they should be, and the
    prediction is right for every row.
    """

    def __init__(self, truth: Callable[..., np.ndarray] = two_outcomes, given: tuple = ()) -> None:
        self.truth = truth
        self.given = given

    def fit(self, X, y, sample_weight=None):
        columns = self.truth(X, *self.given)
        gaps = np.abs(columns - np.asarray(y)[:, None]).max(axis=0)
        assert gaps.min() < 1e-8, f"no column of {self.truth.__name__} fits the target: {gaps}"
        assert (gaps < 1e-8).sum() == 1, "several columns fit the target: rows say too little"
        self.column_ = int(gaps.argmin())
        return self

    def predict(self, X):
        return self.truth(X, *self.given)[:, self.column_]


class OracleClasses(ClassifierMixin, BaseEstimator):
    """As `Oracle`, for the probability of class 1."""

    def __init__(self, truth: Callable[..., np.ndarray] = two_classes) -> None:
        self.truth = truth

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.regressor_ = Oracle(self.truth).fit(X, y, sample_weight)
        return self

    def predict_proba(self, X):
        p = self.regressor_.predict(X)
        return np.column_stack([1 - p, p])


class OracleMixture(RegressorMixin, BaseEstimator):
    """E[Y | X, W in {0, k}] for the k whose rows, with the control's, it is fitted on."""

    def __init__(
        self,
        outcomes: Callable[..., np.ndarray] = two_outcomes,
        propensities: Callable[..., np.ndarray] = two_propensities,
    ) -> None:
        self.outcomes = outcomes
        self.propensities = propensities

    def fit(self, X, y, sample_weight=None):
        is_arm = np.abs(self.outcomes(X) - np.asarray(y)[:, None]) < 1e-8
        arms = [k for k in range(1, is_arm.shape[1]) if (is_arm[:, 0] | is_arm[:, k]).all()]
        assert len(arms) == 1, f"the rows are not those of arm 0 and one other: {arms}"
        self.column_ = arms[0] - 1
        return self

    def predict(self, X):
        return mixtures(X, self.outcomes, self.propensities)[:, self.column_]


class OracleMixtureClasses(ClassifierMixin, OracleMixture):
    """As `OracleMixture`, for the probability of class 1."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return super().fit(X, y, sample_weight)

    def predict_proba(self, X):
        p = super().predict(X)
        return np.column_stack([1 - p, p])


class OraclePropensity(ClassifierMixin, BaseEstimator):
    """The true propensities."""

    def __init__(self, propensities: Callable[..., np.ndarray] = two_propensities) -> None:
        self.propensities = propensities

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        e = self.propensities(X)
        assert np.array_equal(self.classes_, np.arange(e.shape[1]))
        return e


class OracleSurface(RegressorMixin, BaseEstimator):
    """mu(x, k) from features with the arms' indicators behind them."""

    def __init__(self, outcomes: Callable[..., np.ndarray] = two_outcomes, p: int = 5) -> None:
        self.outcomes = outcomes
        self.p = p

    def _values(self, X):
        mu, indicators = self.outcomes(X[:, : self.p]), X[:, self.p :]
        assert indicators.shape[1] == mu.shape[1] - 1
        arm = (indicators * np.arange(1, mu.shape[1])).sum(axis=1).astype(int)
        return mu[np.arange(len(mu)), arm]

    def fit(self, X, y, sample_weight=None):
        np.testing.assert_allclose(self._values(X), y, atol=1e-8)
        return self

    def predict(self, X):
        return self._values(X)


class OracleSurfaceClasses(ClassifierMixin, OracleSurface):
    """As `OracleSurface`, for the probability of class 1."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return super().fit(X, y, sample_weight)

    def predict_proba(self, X):
        p = self._values(X)
        return np.column_stack([1 - p, p])


# Learners


def oracle_learner(
    learner: type[MetaLearner],
    outcomes: Callable[[np.ndarray], np.ndarray],
    propensities: Callable[[np.ndarray], np.ndarray],
    classes: bool = False,
    n_folds: int = 3,
) -> MetaLearner:
    """A learner whose base models return the truth."""
    n_variants = outcomes(np.zeros((1, 5))).shape[1]
    if learner is SLearner:
        factory: Any = OracleSurfaceClasses if classes else OracleSurface
        params: Mapping[str, Any] = {"outcomes": outcomes}
    elif OUTCOME_MODEL in learner.NUISANCE_KINDS:
        factory = OracleMixtureClasses if classes else OracleMixture
        params = {"outcomes": outcomes, "propensities": propensities}
    else:
        factory, params = (OracleClasses if classes else Oracle), {"truth": outcomes}
    return learner(
        classes,
        n_variants,
        factory,
        Oracle,
        OraclePropensity,
        params,
        {"truth": effects, "given": (outcomes,)},
        {"propensities": propensities},
        n_folds=n_folds,
    )


def linear_learner(
    learner: type[MetaLearner], classes: bool = False, n_variants: int = 2, **more: Any
) -> MetaLearner:
    """A learner on linear and logistic base models, these without penalty and well converged."""
    logistic = {"C": np.inf, **EXACT}
    given = {
        "nuisance_model_factory": LogisticRegression if classes else LinearRegression,
        "nuisance_model_params": logistic if classes else None,
        "treatment_model_factory": LinearRegression,
        "propensity_model_factory": LogisticRegression,
        "propensity_model_params": logistic,
        "n_folds": 5,
    }
    return learner(classes, n_variants, **{**given, **more})


def tree_learner(
    learner: type[MetaLearner], classes: bool = False, n_variants: int = 2, **more: Any
) -> MetaLearner:
    """A learner on small LightGBM models."""
    given = {
        "nuisance_model_factory": LGBMClassifier if classes else LGBMRegressor,
        "nuisance_model_params": SMALL,
        "treatment_model_factory": LGBMRegressor,
        "treatment_model_params": SMALL,
        "propensity_model_factory": LGBMClassifier,
        "propensity_model_params": SMALL,
        "n_folds": 5,
    }
    return learner(classes, n_variants, **{**given, **more})


def nuisance_plan(learner: MetaLearner, d: Dataset) -> Plan:
    """The plan of a learner's first stage."""
    return plan_stage(learner.nuisances(d), d, MemoryStore())


def fit_stages(learner: MetaLearner, d: Dataset) -> tuple[dict[Any, CrossFit], dict[Any, CrossFit]]:
    """Both stages' regressions, run one fit after another."""
    store = MemoryStore()
    nuisances = run_stage(learner.nuisances(d), d, store, serial)
    eta = learner.with_known({n: f.column for n, f in nuisances.items()}, d.propensity)
    return nuisances, run_stage(learner.treatments(d, eta), d, store, serial)


def average_effect(learner: DRLearner, d: Dataset, arm: int = 1) -> Estimate:
    """Mean doubly robust score of an arm against the control."""
    nuisances = run_stage(learner.nuisances(d), d, MemoryStore(), serial)
    scores = learner.scores(d, {name: fitted.column for name, fitted in nuisances.items()})
    return average_effects(scores, d.w, d.weight, d.groups)[arm - 1].effect
