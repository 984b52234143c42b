"""How well base models fit: each against what it was to learn, with scikit-learn's scorers."""

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
    """What is asked of a learner: its regressions, and how many of each kind there are."""

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
    d : rows to score on
    made : the base models' predictions for these rows
    scoring : names of scorers or functions of (estimator, X, y) by model kind; those of other
        kinds are ignored
    """
    _check_scoring(scoring)
    asked = {**learner.nuisances(d), **learner.treatments(d, made)}
    scores = {}
    for name, regression in asked.items():
        judged = _Judged.of(regression, made[name], d, learner.classes_of(name))
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
    """One base model's predictions, with what they should have been."""

    def __init__(
        self,
        X: Matrix,
        target: Array,
        values: Floats,
        weight: Array | None,
        classes: Array | None,
    ) -> None:
        self.X, self.target, self.weight = X, target, weight
        self.estimator = _Regressor(values) if classes is None else _Classifier(values, classes)

    @classmethod
    def of(cls, r: Regression, values: Array, d: Dataset, classes: Array | None) -> "_Judged":
        """The predictions for the rows that a regression is about."""
        if r.arm is not None:  # of an S-learner's predictions at every arm, those at the own
            values = values[np.arange(len(d)), d.w]
        # Rows that no fold predicts have nothing to be judged by.
        known = ~np.isnan(values).any(axis=1) & ~np.isnan(r.target)
        rows = np.flatnonzero(known & (d.train if r.rows is None else r.rows))
        weight = None if r.weight is None else r.weight[rows]
        X = take(select(d.X, r.columns), rows)
        return cls(X, r.target[rows], values[rows], weight, classes)

    def score(self, label: str, scorer: Any) -> float:
        """A scorer's verdict, weighted where the regression is and the scorer can be.

        NaN where there are no rows to judge by.
        """
        if not len(self.target):
            return float("nan")
        if label == "neg_log_loss":  # which takes the classes of the target for all there are
            labels = self.estimator.classes_
            return -float(
                log_loss(
                    self.target, self.estimator.values, sample_weight=self.weight, labels=labels
                )
            )
        weighted = self.weight is not None and _takes_weights(scorer)
        more = {"sample_weight": self.weight} if weighted else {}
        return float(scorer(self.estimator, self.X, self.target, **more))


def _takes_weights(scorer: Any) -> bool:
    parameters = inspect.signature(scorer).parameters.values()
    return any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters)


class _Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predictions that were made before, as scorers want them."""

    def __init__(self, values: Floats) -> None:
        self.values = values

    def fit(self, X: Matrix, y: Array) -> "_Regressor":
        """Nothing to do: what is scored was fitted before."""
        return self

    def predict(self, X: Matrix) -> Floats:
        """(n,) predictions."""
        return self.values[:, 0]

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The same for probabilities."""

    def __init__(self, values: Floats, classes: Array) -> None:
        self.values = values
        self.classes = classes
        self.classes_ = classes

    def fit(self, X: Matrix, y: Array) -> "_Classifier":
        """Nothing to do: what is scored was fitted before."""
        return self

    def predict(self, X: Matrix) -> Array:
        """(n,) most probable classes."""
        return self.classes_[self.values.argmax(axis=1)]

    def predict_proba(self, X: Matrix) -> Floats:
        """(n, n_classes) probabilities."""
        return self.values

    def __sklearn_is_fitted__(self) -> bool:
        return True
