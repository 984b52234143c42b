"""Small public helpers: a learner by its prefix, estimates with fewer axes, a fixed propensity."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from metalearners._typing import Array, Floats, Matrix
from metalearners.data.containers import check_same_rows
from metalearners.metalearner import MetaLearner
from metalearners.registry import REGISTRY


def metalearner_factory(metalearner_prefix: str) -> type[MetaLearner]:
    """The learner class of a prefix, such as "S" or "DR"; a ValueError if there is none.

    Examples
    --------
    >>> metalearner_factory("DR").__name__
    'DRLearner'
    """
    by_prefix = {entry.prefix: entry for entry in REGISTRY.values()}
    if metalearner_prefix not in tuple(by_prefix):  # a tuple, as the prefix may not be hashable
        raise ValueError(
            f"No MetaLearner implementation found for prefix {metalearner_prefix}. "
            f"Expected one of {', '.join(by_prefix)}."
        )
    return by_prefix[metalearner_prefix].load()


def simplify_output(tensor: Array) -> Array:
    """Estimates without redundant axes.

    Parameters
    ----------
    tensor : array of shape (n, K-1, 1), or (n, K-1, n_classes) for classes
        Estimates from a learner's ``predict``.

    Returns
    -------
    (n,), (n, K-1), (n, n_classes) or (n, K-1, n_classes): without the class axis for numbers and
    for two classes (effects on the second stay: on 1, or on the last of a learner's ``classes_``),
    and without the axis of arms for two arms

    Raises
    ------
    ValueError
        If there are not three axes.

    Examples
    --------
    >>> simplify_output(np.array([[[-0.2, 0.2]], [[0.1, -0.1]]])).tolist()
    [0.2, -0.1]
    """
    tensor = np.asarray(tensor)
    if tensor.ndim != 3:
        raise ValueError(
            f"Output needs to be 3-dimensional but is {tensor.ndim}-dimensional. Pass what a "
            "learner's predict returns, (n, K-1, 1) or (n, K-1, n_classes)."
        )
    estimates = tensor[:, :, -1] if tensor.shape[2] in (1, 2) else tensor
    return estimates[:, 0] if tensor.shape[1] == 1 else estimates


class FixedBinaryPropensity(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A propensity model of two arms with one known probability for all rows.

    Parameters
    ----------
    propensity_score : float, from 0 to 1
        Probability of arm 1; of two other classes, of the second in ``classes_``, which is sorted.

    Attributes
    ----------
    classes_ : array of shape (2,)
        Classes seen in `fit`.

    Raises
    ------
    ValueError
        If the score is no probability.

    Examples
    --------
    >>> model = FixedBinaryPropensity(0.25).fit(np.zeros((4, 1)), np.array([0, 1, 0, 0]))
    >>> model.predict_proba(np.zeros((1, 1))).tolist()
    [[0.75, 0.25]]
    """

    def __init__(self, propensity_score: float) -> None:
        self.propensity_score = propensity_score
        self._check()

    def fit(self, X: Matrix, y: Any, sample_weight: Any = None) -> "FixedBinaryPropensity":
        """Learn the labels of the two classes; `sample_weight` changes nothing.

        Raises
        ------
        ValueError
            If `y` has another number or index of rows than `X`, or not two classes. Only 0 or
            only 1 is fine: the classes then are 0 and 1.
        """
        self._check()  # set_params may have changed it
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        if len(y) != _n_rows(X):
            raise ValueError(
                f"Expected {_n_rows(X)} rows in y, as in X; found {len(y)}. Pass rows of the same "
                "units in the same order."
            )
        classes = np.unique(np.asarray(y))
        if len(classes) == 1 and classes[0] in (0, 1):
            classes = np.array([0, 1])
        if len(classes) != 2:
            raise ValueError(
                "FixedBinaryPropensity only supports binary outcomes but "
                f"{len(classes)} were provided. Use a classifier for more than two arms."
            )
        self.classes_ = classes
        return self

    def predict_proba(self, X: Matrix) -> Floats:
        """(n, 2) rows of [1 - p, p]; needs no fit."""
        p = float(self.propensity_score)
        return np.tile([1 - p, p], (_n_rows(X), 1))

    def predict(self, X: Matrix) -> Array:
        """(n,) the likelier class, the first on a tie; classes are 0 and 1 before any fit."""
        classes = getattr(self, "classes_", np.array([0, 1]))
        return np.repeat(classes[int(self.propensity_score > 0.5)], _n_rows(X))

    def _check(self) -> None:
        p = self.propensity_score
        if not isinstance(p, Real) or not 0 <= p <= 1:
            raise ValueError(
                f"Expected a propensity score between 0 and 1 but got {p}. Pass the probability "
                "of arm 1."
            )


def _n_rows(X: Matrix) -> int:
    # Sparse matrices have no `len`.
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)
