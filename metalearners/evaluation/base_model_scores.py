"""How well base models fit: predictions against their targets, with scikit-learn's scorers."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names, log_loss

from metalearners._typing import Array, Columns, Floats, Matrix, Name
from metalearners.base_models.rows import take
from metalearners.data.containers import Features, select
from metalearners.data.dataset import Dataset
from metalearners.fits.plan import Regression


class Learner(Protocol):
    """What `evaluate` needs of a learner: its regressions, and how many of each kind there are."""

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """Regressions of the first stage."""

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Regressions of the second stage."""

    def columns(self, kind: str) -> Features:
        """Features of a kind."""

    def cardinality(self, kind: str) -> int:
        """Number of models of a kind."""

    def is_pairwise(self, kind: str) -> bool:
        """Whether each model of a kind is of one arm and the control."""

    def classes_of(self, name: Name) -> Array | None:
        """Classes that a model's probabilities are of."""


def evaluate(
    learner: Learner,
    d: Dataset,
    made: Columns,
    scoring: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, float]:
    """Scores of a learner's base models by name.

    Parameters
    ----------
    d : Dataset
        Rows to score on.
    made : dict
        The base models' predictions for these rows.
    scoring : dict from str to list, optional
        By model kind, names of scorers or functions of (estimator, X, y). Scorers of kinds that
        the learner hasn't are ignored.
    """
    _check_scoring(scoring)
    asked = {**learner.nuisances(d), **learner.treatments(d, made)}
    scores = {}
    for name, regression in asked.items():
        judged = _Judged(regression, made[name], d, learner.classes_of(name))
        for label, scorer in _scorers(scoring, name[0], regression.method):
            scores[f"{_prefix(learner, name)}_{label}"] = judged.score(label, scorer)
    return scores


def _prefix(learner: Learner, name: Name) -> str:
    kind, ordinal = name
    if learner.is_pairwise(kind):
        return f"{kind}_{int(ordinal) + 1}_vs_0"
    return kind if learner.cardinality(kind) == 1 else f"{kind}_{ordinal}"


def _scorers(
    scoring: Mapping[str, Sequence[Any]] | None, kind: str, method: str
) -> list[tuple[str, Any]]:
    loss = "neg_log_loss" if method == "predict_proba" else "neg_root_mean_squared_error"
    chosen = (scoring or {}).get(kind, [loss])
    return [
        (f"custom_scorer_{i}", one) if callable(one) else (one, get_scorer(one))
        for i, one in enumerate(chosen)
    ]


def _check_scoring(scoring: Any) -> None:
    if scoring is None:
        return
    lists = isinstance(scoring, Mapping) and all(
        isinstance(own, Sequence) and not isinstance(own, str) for own in scoring.values()
    )
    if not lists:
        raise ValueError(
            "Expected scoring as a dict from model kinds to lists of scorers' names or functions "
            f"of (estimator, X, y); found {scoring!r}."
        )
    for one in (one for own in scoring.values() for one in own):
        if not callable(one) and one not in get_scorer_names():
            raise ValueError(
                f"Expected scikit-learn's name of a scorer or a function of (estimator, X, y); "
                f"found {one!r}. sklearn.metrics.get_scorer_names() lists the names."
            )


class _Judged:
    """One base model's predictions for the rows of its regression, with their targets."""

    def __init__(self, r: Regression, values: Array, d: Dataset, classes: Array | None) -> None:
        if r.arm is not None:  # an S-learner predicts at every arm: take each row's own arm
            values = values[np.arange(len(d)), d.w]
        # No fold predicts some rows: they have nothing to score.
        known = ~np.isnan(values).any(axis=1) & ~np.isnan(r.target)
        rows = np.flatnonzero(known & (d.train if r.rows is None else r.rows))
        values = values[rows]
        self.X = take(select(d.X, r.columns), rows)
        self.target = r.target[rows]
        self.weight = None if r.weight is None else r.weight[rows]
        self.estimator = _Regressor(values) if classes is None else _Classifier(values, classes)

    def score(self, label: str, scorer: Any) -> float:
        """A scorer's result, weighted if regression and scorer have weights; NaN without rows."""
        if not len(self.target):
            return float("nan")
        if label == "neg_log_loss":  # the scorer would know only the classes of these rows
            values, labels = self.estimator.values, self.estimator.classes_
            return -float(log_loss(self.target, values, sample_weight=self.weight, labels=labels))
        weighted = self.weight is not None and _takes_weights(scorer)
        more = {"sample_weight": self.weight} if weighted else {}
        return float(scorer(self.estimator, self.X, self.target, **more))


def _takes_weights(scorer: Any) -> bool:
    parameters = inspect.signature(scorer).parameters.values()
    return any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters)


class _Fitted(BaseEstimator):  # type: ignore[misc]
    """An estimator that returns predictions that were made before, for scorers."""

    def fit(self, X: Matrix, y: Array) -> "_Fitted":
        """Nothing to do; scikit-learn takes no object without this method for an estimator."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _Regressor(RegressorMixin, _Fitted):  # type: ignore[misc]
    def __init__(self, values: Floats) -> None:
        self.values = values

    def predict(self, X: Matrix) -> Floats:
        """(n,) predictions."""
        return self.values[:, 0]


class _Classifier(ClassifierMixin, _Fitted):  # type: ignore[misc]
    def __init__(self, values: Floats, classes: Array) -> None:
        self.values = values
        self.classes = classes
        self.classes_ = classes

    def predict(self, X: Matrix) -> Array:
        """(n,) most probable classes."""
        return self.classes_[self.values.argmax(axis=1)]

    def predict_proba(self, X: Matrix) -> Floats:
        """(n, n_classes) probabilities."""
        return self.values
