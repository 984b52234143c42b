"""A regressor for outcomes that are 0 in many rows."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.estimators import check_role
from metalearners.base_models.rows import take
from metalearners.base_models.weights import WEIGHT


class TwoPartRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""The mean of an outcome with many zeros, as the product of two models' predictions.

    .. math:: E[Y \mid x] = P(Y \neq 0 \mid x) \, E[Y \mid Y \neq 0, x]

    The classifier learns from all rows whether the outcome is 0. The regressor learns from the
    other rows what it is. Both get the features and row weights that this model gets, so it takes
    the types of columns and missing values that both take.

    Parameters
    ----------
    classifier : estimator with `predict_proba`
        Of 0 against other values.
    regressor : estimator with `predict`
        Of the outcome where it isn't 0.

    Raises ValueError if the first is a regressor, or the second a classifier.

    References
    ----------
    Cragg (1971), Econometrica 39(5), p. 829; Duan, Manning, Morris and Newhouse (1983), Journal of
    Business & Economic Statistics 1(2), p. 115.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier, DummyRegressor
    >>> X, y = np.zeros((4, 1)), np.array([0.0, 0.0, 0.0, 8.0])
    >>> TwoPartRegressor(DummyClassifier(), DummyRegressor()).fit(X, y).predict(X[:1])
    array([2.])
    """

    def __init__(self, classifier: Any, regressor: Any) -> None:
        self.classifier = classifier
        self.regressor = regressor
        self._check_parts()

    def _check_parts(self) -> None:
        check_role(self.classifier, "predict_proba", "classifier")
        check_role(self.regressor, "predict", "regressor")

    def fit(self, X: Matrix, y: Array, sample_weight: Array | None = None) -> Self:
        """Fit both models; one alone where all outcomes are 0, or none is.

        Parameters
        ----------
        X : matrix of shape (n, p)
            Features.
        y : array of shape (n,)
            Outcomes.
        sample_weight : array of shape (n,), optional
            Row weights.
        """
        self._check_parts()  # `set_params` may have changed them
        present = np.asarray(y) != 0
        some = np.flatnonzero(present)
        self.classifier_ = self.regressor_ = None
        if 0 < len(some) < len(present):
            self.classifier_ = _fitted(self.classifier, X, present.astype(int), sample_weight)
        if len(some):
            weight = None if sample_weight is None else take(sample_weight, some)
            self.regressor_ = _fitted(self.regressor, take(X, some), take(y, some), weight)
        return self

    def predict(self, X: Matrix) -> Floats:
        """(m,) expected outcomes."""
        check_is_fitted(self)
        if self.regressor_ is None:
            return np.zeros(X.shape[0])
        means = np.asarray(self.regressor_.predict(X), float).ravel()
        return (
            means if self.classifier_ is None else self.classifier_.predict_proba(X)[:, 1] * means
        )


def _fitted(model: Any, X: Matrix, y: Array, weight: Array | None) -> Any:
    return clone(model).fit(X, y, **({} if weight is None else {WEIGHT: weight}))
