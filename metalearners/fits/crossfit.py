"""The fits of a regression: out-of-fold predictions, and models for new rows."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metalearners._typing import Array, Matrix
from metalearners.base_models.rows import take
from metalearners.base_models.training import predict_with
from metalearners.fits.unit import Fit, FitUnit

OVERALL = "overall"
MEDIAN = "median"
_MEAN = "mean"

_COMBINE: Mapping[str, Callable[..., Array]] = {_MEAN: np.mean, MEDIAN: np.median}
OOS_METHODS = (OVERALL, *_COMBINE)


def check_oos_method(name: str | None) -> None:
    """Refuse what is no way to predict new rows."""
    if name not in OOS_METHODS:
        raise ValueError(f"oos_method {name!r} not supported. Supported values are {OOS_METHODS}.")


@dataclass(frozen=True, eq=False)
class CrossFit:
    """The fits of one regression."""

    folds: Sequence[Fit]
    overall: Fit | None  # the fit on all training rows, where the regression has one
    tests: Sequence[Array]  # each fold's test rows
    held_out: Array  # rows that `overall` predicts, as they are in no fold
    n_rows: int  # of the data set
    unit: FitUnit  # one of the units; all agree on features and predict method

    @property
    def column(self) -> Array:
        """Predictions for the rows of the data set, in its order.

        The model of the fold that a training row is in predicts it, and hasn't seen it. The model
        of all training rows predicts held-out rows. NaN where there is no such model.

        Raises ValueError if only the served model was kept.
        """
        parts = list(zip(self.tests, self.folds, strict=True))
        if self.overall is not None and self.overall.predictions is not None:
            parts.append((self.held_out, self.overall))
        if not parts:
            raise ValueError(
                "This model was stored without its estimates of the rows fitted on. "
                "Use is_oos=True."
            )
        shape = np.asarray(parts[0][1].predictions).shape[1:]
        column = np.full((self.n_rows, *shape), np.nan)
        for rows, fit in parts:
            column[rows] = fit.predictions
        return column

    @property
    def content(self) -> str:
        """Digest of the feature values fitted on."""
        return self.unit.content

    @property
    def model(self) -> Any:
        """The model of all training rows, for new rows; a ValueError where there is none."""
        return self._serving.model

    @property
    def _serving(self) -> Fit:
        if self.overall is None or self.overall.model is None:
            raise ValueError("This regression was fitted by folds only: it keeps no served model.")
        return self.overall

    @property
    def is_centred(self) -> bool:
        """Whether the models alone lack a constant that `predict` adds."""
        return any(fit is not None and fit.offset for fit in (*self.folds, self.overall))

    @property
    def fold_models(self) -> list[Any]:
        """The models of the folds; empty where they weren't kept."""
        return [fit.model for fit in self.folds if fit.model is not None]

    def predict(self, X: Matrix, oos_method: str = OVERALL) -> Array:
        """Predictions for rows that weren't fitted on, (m, c), or (m, K, c) at every arm.

        By the model of all training rows (``overall``), or the ``mean`` or ``median`` of the fold
        models' predictions.
        """
        if oos_method == OVERALL:
            return self._by(self._serving, X)
        return _COMBINE[oos_method](self.by_fold(X), axis=0)

    def by_fold(self, X: Matrix) -> list[Array]:
        """The fold models' predictions for rows that weren't fitted on."""
        if not self.fold_models:
            raise ValueError(
                "Expected fold models for a mean or median of their predictions; this model was "
                "stored without them. Use 'overall'."
            )
        return [self._by(fit, X) for fit in self.folds if fit.model is not None]

    def in_sample(self, n_rows: int, content: str) -> Array:
        """Predictions for the rows fitted on, whose features have the digest `content`."""
        column = self.of_rows(n_rows, content)
        if not self.folds:
            warnings.warn(
                "Cross-fitting is deactivated. Using overall model for in sample predictions.",
                stacklevel=2,
            )
        return column

    def of_rows(self, n_rows: int, content: str) -> Array:
        """`column`, if the rows are those fitted on."""
        self.check_rows(n_rows, content)
        return self.column

    def check_rows(self, n_rows: int, content: str) -> None:
        """Refuse rows that aren't those fitted on, in their order.

        Raises ValueError if their number or their features' content differs.
        """
        if n_rows != self.n_rows:
            raise ValueError(
                f"Expected the {self.n_rows} observations fitted on; found {n_rows}, which is "
                "unlike data encountered in training. Use is_oos=True for other rows."
            )
        if content != self.content:
            raise ValueError(
                "Expected the observations fitted on, in their order; found the same number with "
                "other features or in another order, unlike data encountered in training. Use "
                "is_oos=True for other rows."
            )

    def _by(self, fit: Fit, X: Matrix) -> Array:
        unit = self.unit
        values = predict_with(fit.model, X, unit.method, unit.n_arms, unit.interactions)
        return values + fit.offset if fit.offset else values

    def served(self) -> "CrossFit":
        """A copy for new rows alone: without fold models and estimates of rows fitted on."""
        none, alone = np.empty(0, dtype=np.int64), replace(self._serving, predictions=None)
        return replace(self, folds=(), tests=(), held_out=none, overall=alone)

    def within(self, rows: Array, others: Array, X: Matrix, content: str) -> "CrossFit":
        """A copy for a larger data set X, whose digest is `content`.

        `rows` are the positions of the rows fitted on, in their order, `others` those of the rest.
        """
        overall = replace(self._serving, predictions=self._by(self._serving, take(X, others)))
        tests = [rows[test] for test in self.tests]
        unit = replace(self.unit, X=content)
        return CrossFit(self.folds, overall, tests, others, len(rows) + len(others), unit)


def known_classes(fitted: CrossFit) -> Array | None:
    """Classes of a regression's models; None where they have none."""
    models = [fitted.overall.model] if fitted.overall is not None else fitted.fold_models
    known = [getattr(model, "classes_", None) for model in models]
    return next((np.asarray(classes) for classes in known if classes is not None), None)
