"""A classifier whose probabilities are as sure as they turn out on rows that it hasn't seen."""

from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.rows import take
from metalearners.base_models.weights import WEIGHT


class CalibratedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""A classifier with one slope and an intercept for each class put on its log-probabilities.

    .. math:: p_k(x) \propto \exp(b_k + a \log \hat p_k(x)), \quad a \geq 0, \quad b_0 = 0

    The slope and the intercepts have the greatest likelihood of the classes of rows, given
    predictions by models of other folds. Then the classifier is fitted on all rows. A slope of 1
    changes nothing. A slope of 0 gives every row the classes' shares: so it ends where the
    classifier has learnt noise alone. Of two classes, this is Platt's scaling of log-odds. It needs
    no second map for each class, and never gives 0 or 1, as isotonic regression does.

    Parameters
    ----------
    estimator : estimator with `predict_proba`
        The classifier.
    cv : int
        Number of folds; fewer where a class has fewer rows (or groups).
    random_state : int, optional
        Draws the folds; None is 0.

    References
    ----------
    Platt (1999), "Probabilistic outputs for support vector machines"; Alexandari, Kundaje and
    Shrikumar (2020), ICML, PMLR 119, p. 222 (bias-corrected temperature scaling); Ballinari and
    Bearth (2024), arXiv:2409.04874, on propensities.
    """

    def __init__(self, estimator: Any, cv: int = 5, random_state: int | None = None) -> None:
        self.estimator = estimator
        self.cv = cv
        self.random_state = random_state

    def fit(
        self,
        X: Matrix,
        y: Array,
        sample_weight: Array | None = None,
        groups: Array | None = None,
    ) -> Self:
        """Fit the map on predictions by models of other folds, and the classifier on all rows.

        Parameters
        ----------
        X : matrix of shape (n, p)
            Features.
        y : array of shape (n,)
            Classes.
        sample_weight : array of shape (n,), optional
            Row weights.
        groups : array of shape (n,), optional
            Labels of clusters, which the folds don't split.

        Raises
        ------
        ValueError
            If a fold would leave no row of some class.
        """
        self.classes_, codes = np.unique(y, return_inverse=True)
        # A model of n rows can't tell smaller probabilities; some give 0, whose logarithm is none.
        self.least_ = 0.5 / len(codes)
        fold = _folds(codes, groups, self.cv, self.random_state or 0)
        logs = np.empty((len(codes), len(self.classes_)))
        for k in range(fold.max() + 1):
            train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            if len(np.unique(codes[train])) < len(self.classes_):
                raise ValueError(
                    "Expected rows (with groups, two groups or more) of each class outside each "
                    f"of {fold.max() + 1} folds, to calibrate probabilities; found none of some "
                    "class. Use more rows, or leave them as they are."
                )
            weight = None if sample_weight is None else take(sample_weight, train)
            model = self._fitted(take(X, train), take(y, train), weight)
            logs[test] = self._logs(model, take(X, test))
        self.slope_, self.intercepts_ = _likeliest(logs, codes, sample_weight)
        self.estimator_ = self._fitted(X, y, sample_weight)
        return self

    def predict_proba(self, X: Matrix) -> Floats:
        """(m, n_classes) probabilities, in the order of `classes_`."""
        check_is_fitted(self)
        logs = self._logs(self.estimator_, X)
        return np.asarray(softmax(self.slope_ * logs + self.intercepts_, axis=1))

    def predict(self, X: Matrix) -> Array:
        """(m,) likeliest classes."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _fitted(self, X: Matrix, y: Array, weight: Array | None) -> Any:
        return clone(self.estimator).fit(X, y, **({} if weight is None else {WEIGHT: weight}))

    def _logs(self, model: Any, X: Matrix) -> Floats:
        return np.log(np.maximum(model.predict_proba(X), self.least_))


def _folds(codes: Array, groups: Array | None, n_folds: int, seed: int) -> Array:
    """(n,) fold of each row; whole groups, each class in about equal parts.

    A group counts for the class of its first row.
    """
    rows = np.arange(len(codes)) if groups is None else groups
    _, first, member = np.unique(rows, return_index=True, return_inverse=True)
    of_group = codes[first]
    fewest = np.bincount(of_group)[np.unique(of_group)].min()
    drawn = np.random.default_rng(seed).permutation(len(first))
    order = drawn[np.argsort(of_group[drawn], kind="stable")]
    fold = np.empty(len(first), int)
    fold[order] = np.arange(len(first)) % max(2, min(n_folds, fewest))
    return fold[member]


def _likeliest(logs: Floats, codes: Array, weight: Array | None) -> tuple[float, Floats]:
    """The slope and intercepts under which the classes are likeliest."""
    n, n_classes = logs.shape
    share = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    start = np.append(1.0, np.zeros(n_classes - 1))
    bounds = [(0, None)] + [(None, None)] * (n_classes - 1)
    given = (logs, codes, share)
    found = minimize(_loss, start, given, "L-BFGS-B", jac=True, bounds=bounds, tol=1e-10).x
    return float(found[0]), np.append(0, found[1:])


def _loss(at: Floats, logs: Floats, codes: Array, share: Floats) -> tuple[float, Floats]:
    """The mean log-loss of a slope and intercepts, and its gradient."""
    told = log_softmax(at[0] * logs + np.append(0, at[1:]), axis=1)
    gap = share[:, None] * (np.exp(told) - np.eye(logs.shape[1])[codes])
    loss = -share @ told[np.arange(len(codes)), codes]
    return loss, np.append((gap * logs).sum(), gap.sum(axis=0)[1:])
