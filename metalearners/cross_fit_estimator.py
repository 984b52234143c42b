"""A base model with its cross-fitting: one model a fold, and one on all rows."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import get_tags

from metalearners._typing import Array, Matrix, Ref
from metalearners.base_models.capabilities import check_kinds
from metalearners.base_models.precision import concerns, tell
from metalearners.base_models.rows import take
from metalearners.base_models.weights import WEIGHT
from metalearners.data.arguments import numbers
from metalearners.data.containers import check_matrix, check_same_rows
from metalearners.data.conversion import (
    as_classes,
    as_outcome,
    as_splits,
    as_vector,
    as_weight,
    by_row,
)
from metalearners.data.dataset import Dataset, check_weight
from metalearners.data.folds import Splits
from metalearners.declaration.by_kind import (
    build,
    check_dict,
    check_integer,
    check_n_jobs,
    check_seed,
    check_switch,
    is_base_model,
)
from metalearners.digests.matrices import matrix_digest
from metalearners.fits.crossfit import (
    _MEAN,
    MEDIAN,
    OVERALL,
    CrossFit,
    check_oos_method,
    known_classes,
)
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.execute import joblib_executor, run_stage
from metalearners.fits.plan import Regression
from metalearners.fits.store import MemoryStore

__all__ = ["MEDIAN", "OVERALL", "_MEAN", "CrossFitEstimator"]


@dataclass(eq=False)
class CrossFitEstimator:
    """A base model that predicts the rows it was fitted on by models that haven't seen them.

    Parameters
    ----------
    n_folds : int
        Number of models, each fitted on the rows outside one fold; 1 for the overall model alone,
        which then predicts the rows fitted on too, with a warning.
    estimator_factory : type or callable
        Class with scikit-learn's estimator interface, or what returns an estimator.
    estimator_params : dict
        Its parameters.
    enable_overall : bool
        Whether to fit a model on all rows too.
    random_state : int, optional
        Draws the folds, and the seed of a base model that has none; None is 0.

    Raises
    ------
    ValueError
        If `n_folds` isn't a whole number above 0, nothing would be fitted, or the base model
        can't be made.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> X = np.arange(20.0)[:, None]
    >>> model = CrossFitEstimator(5, LinearRegression).fit(X, 3 * X[:, 0])
    >>> model.predict(np.array([[100.0]]), is_oos=True, oos_method="overall").round(6)
    array([300.])
    """

    n_folds: int
    estimator_factory: Callable[..., Any]
    estimator_params: Mapping[str, Any] = field(default_factory=dict)
    enable_overall: bool = True
    random_state: int | None = None

    def __post_init__(self) -> None:
        check_integer("n_folds", self.n_folds, at_least=1)
        if self.n_folds == 1 and not self.enable_overall:
            raise ValueError(
                "CrossFitting is deactivated as 'n_folds' is set to 1, but 'enable_overall' is set "
                "to False: nothing would be fitted. Set one of them otherwise."
            )
        if not is_base_model(self.estimator_factory):
            raise ValueError(
                "Expected a callable that returns an estimator or a class with fit as "
                f"estimator_factory; found {self.estimator_factory!r}. Pass its parameters as "
                "estimator_params."
            )
        check_dict("estimator_params", self.estimator_params, "the class's parameters")
        build(self._spec, "the base model", "Name others.")
        check_switch("enable_overall", self.enable_overall)
        check_seed(self.random_state)
        self.classes_: Array | None = None
        self.crossfit: CrossFit | None = None

    @classmethod
    def of(cls, spec: EstimatorSpec, n_folds: int, seed: int, fitted: CrossFit) -> Self:
        """A fitted `CrossFitEstimator`, from the fits of a regression."""
        made = cls(n_folds, spec.factory, spec.params, fitted.overall is not None, seed)
        made.crossfit = fitted
        if fitted.unit.method == "predict_proba":
            made.classes_ = known_classes(fitted)
        return made

    def clone(self) -> "CrossFitEstimator":
        """An unfitted copy with the same parameters."""
        return replace(self, estimator_params=copy.deepcopy(self.estimator_params))

    def set_params(self, **params: Any) -> Self:
        """Not available, as the fits belong to the parameters."""
        raise NotImplementedError("A CrossFitEstimator keeps its parameters: make another one.")

    # Fitting

    def fit(
        self,
        X: Matrix,
        y: Any,
        fit_params: Mapping[str, Any] | None = None,
        n_jobs_cross_fitting: int | None = None,
        cv: Any = None,
    ) -> Self:
        """Fit the models of all folds, and the overall model.

        Parameters
        ----------
        X : array or data frame of shape (n, p)
            Features.
        y : array of shape (n,)
            Values to learn, or classes.
        fit_params : dict, optional
            Arguments of the base model's ``fit``. Of a value with n entries, each fit gets the
            entries of its rows.
        n_jobs_cross_fitting : int, optional
            Workers, with scikit-learn's meaning of None, 1, N and -1.
        cv : iterable of pairs of arrays, or array of shape (n,), optional
            (train, test) positions of rows, or fold numbers. By default folds are drawn, balanced
            in the classes.

        Raises
        ------
        ValueError
            If the data can't be fitted: see the message for what was expected.
        """
        check_matrix(X)
        fit_params = {} if fit_params is None else fit_params
        check_dict("fit_params", fit_params, "arguments of the base model's fit")
        check_same_rows(X=X, y=y, cv=cv, **by_row(fit_params, X.shape[0]))
        check_n_jobs("n_jobs_cross_fitting", n_jobs_cross_fitting)
        check_kinds(self._spec.build(), X, "the base model")
        n_rows = X.shape[0]
        if self.crossfit is not None and n_rows != self.crossfit.n_rows and cv is None:
            raise ValueError(
                f"Expected the {self.crossfit.n_rows} rows fitted on before; found {n_rows}: data "
                "and folds rely on different numbers of observations. Fit a clone()."
            )
        splits = self._splits(cv, n_rows)
        target = self._target(as_vector("y", y, n_rows))
        self._check_folds(splits, target)
        if self.classes_ is None:
            tell(concerns([self._spec.build()], X, target, bool(fit_params)))
        d = Dataset(
            X=X,
            y=target,
            w=np.zeros(n_rows, dtype=np.int64),
            n_variants=1,
            is_classification=self.classes_ is not None,
            seed=self.random_state or 0,
            cv=splits,
        )
        asked = self._regression(target, fit_params)
        executor = joblib_executor(n_jobs_cross_fitting)
        self.crossfit = run_stage({("model",): asked}, d, MemoryStore(), executor)["model",]
        return self

    def _splits(self, cv: Any, n_rows: int) -> Splits | None:
        splits = as_splits(cv, n_rows)
        if splits is not None and len(splits) != self.n_folds:
            raise ValueError(
                f"Expected as many pairs in cv as n_folds, {self.n_folds}; found {len(splits)}."
            )
        return splits

    def _check_folds(self, splits: Splits | None, target: Array) -> None:
        """Refuse folds by which some model would see fewer classes than there are."""
        if splits is None or self.classes_ is None:
            return
        fewest = min(len(np.unique(target[train])) for train, _ in splits)
        if fewest < len(self.classes_):
            raise ValueError(
                f"Some folds in cross-fitting had fewer classes, {fewest}, than the overall "
                f"dataset, {len(self.classes_)}. Please check the cv parameter."
            )

    def _target(self, y: Array) -> Array:
        if not is_classifier(self._spec.build()):
            return as_outcome(y, False)
        self.classes_, codes = as_classes(y)
        return codes

    def _regression(self, target: Array, fit_params: Mapping[str, Any]) -> Regression:
        known = self.estimator_factory
        asked = known if isinstance(known, type) else self._spec.build()
        probabilities = self.classes_ is not None and hasattr(asked, "predict_proba")
        params = dict(fit_params)
        weight = as_weight(params.pop(WEIGHT, None), len(target))
        check_weight(weight)
        return Regression(
            self._spec,
            target,
            self.n_folds,
            method="predict_proba" if probabilities else "predict",
            weight=weight,
            fit_params=params,
            serve=self.enable_overall,
            keep=True,
        )

    @property
    def _spec(self) -> EstimatorSpec:
        return EstimatorSpec(self.estimator_factory, dict(self.estimator_params))

    # Predicting

    def predict(self, X: Matrix, is_oos: bool, oos_method: str | None = None) -> Array:
        """(n,) predictions, class labels of a classifier.

        Parameters
        ----------
        X : array or data frame of shape (n, p)
            Features.
        is_oos : bool
            False for the rows fitted on, in their order: the model of the fold that a row is in
            predicts it, and hasn't seen it. True for other rows.
        oos_method : str, optional
            ``overall``: by the model of all rows; ``mean`` or ``median``: of the fold models'
            predictions. Needed where `is_oos` is True.

        Raises
        ------
        ValueError
            If the method isn't one of these or doesn't go with the model; with `is_oos` False, if
            `X` doesn't hold the rows fitted on.
        """
        if self.classes_ is None:
            return self.values(X, is_oos, oos_method)[..., 0]
        if is_oos and oos_method == _MEAN:
            raise ValueError(
                "Cannot create a mean of classes. Please use a different oos_method, or the mean "
                "of predict_proba."
            )
        if not is_oos:
            self._check_covered(X)
        return self.classes_[self._codes(X, is_oos, oos_method)]

    def predict_proba(self, X: Matrix, is_oos: bool, oos_method: str | None = None) -> Array:
        """(n, n_classes) probabilities; parameters and errors as for `predict`."""
        if self.fitted().unit.method != "predict_proba":
            raise ValueError(
                f"Expected a classifier with predict_proba; {self._spec.name} "
                "predicts no probabilities. Use predict."
            )
        return self.values(X, is_oos, oos_method)

    def score(
        self,
        X: Matrix,
        y: Any,
        is_oos: bool,
        oos_method: str | None = None,
        sample_weight: Any = None,
    ) -> float:
        """Accuracy of a classifier, R² of a regressor; parameters and errors as for `predict`."""
        measure: Callable[..., float] = r2_score if self.classes_ is None else accuracy_score
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        predicted = self.predict(X, is_oos, oos_method)
        target = as_vector("y", y, len(predicted))
        if self.classes_ is None:
            target = numbers("y", target, "Leave those rows out.")
        weight = as_weight(sample_weight, len(predicted))
        check_weight(weight)
        return float(measure(target, predicted, sample_weight=weight))

    def _check_covered(self, X: Matrix) -> None:
        """Refuse rows that no fold predicts, as they have no class."""
        absent = int(np.isnan(self.values(X, False, None)[..., 0]).sum())
        if absent:
            raise ValueError(
                f"Expected rows that some fold tests; found {absent} in no test of cv, whose class "
                "isn't known. Use predict_proba, which is NaN there, or is_oos=True."
            )

    def _codes(self, X: Matrix, is_oos: bool, oos_method: str | None) -> Array:
        fitted = self.fitted()
        if fitted.unit.method == "predict":
            return self.values(X, is_oos, oos_method)[..., 0].astype(np.int64)
        if is_oos and oos_method == MEDIAN:
            parts = [part.argmax(axis=-1) for part in fitted.by_fold(X)]
            return np.quantile(parts, 0.5, axis=0, method="lower").astype(np.int64)
        return self.values(X, is_oos, oos_method).argmax(axis=-1)

    def values(
        self, X: Matrix, is_oos: bool, oos_method: str | None, content: Ref | None = None
    ) -> Array:
        """(n, c) predictions, c the number of classes or 1; (n, K, c) at every arm.

        `content` is the digest of `X`, where it is known.
        """
        fitted = self.fitted()
        check_matrix(X)
        if not is_oos:
            return fitted.in_sample(X.shape[0], content or matrix_digest(X)[0])
        self._check_oos_method(oos_method)
        return fitted.predict(X, str(oos_method))

    def _check_oos_method(self, oos_method: str | None) -> None:
        """Refuse an unknown oos_method, and one whose models weren't fitted."""
        check_oos_method(oos_method)
        if oos_method == OVERALL and not self.enable_overall:
            raise ValueError(
                "In order to use 'overall' prediction method, the estimator's enable_overall "
                "property has to be set to True. Use 'mean' or 'median', or fit it so."
            )
        if self.n_folds == 1 and not self.fitted().folds and oos_method != OVERALL:
            raise ValueError(
                f"Cross-fitting is deactivated and therefore only the {OVERALL!r} prediction "
                f"method can be used; found {oos_method!r}."
            )
        if oos_method == MEDIAN and self.fitted().unit.method == "predict_proba":
            raise ValueError(
                "Cannot create median of class probabilities, as it needn't sum to 1. Please use a "
                "different oos_method."
            )

    def fitted(self) -> CrossFit:
        """The fits.

        Raises
        ------
        ValueError
            If there are none yet.
        """
        if self.crossfit is None:
            raise ValueError("Expected a fitted CrossFitEstimator; call fit first.")
        return self.crossfit

    # What was fitted, by the names of the published package

    def __sklearn_tags__(self) -> Any:
        return get_tags(self._spec.build())

    @property
    def _overall_estimator(self) -> Any:
        fitted = self.crossfit
        return None if fitted is None or fitted.overall is None else fitted.overall.model

    @property
    def _estimators(self) -> list[Any]:
        return [] if self.crossfit is None else self.crossfit.fold_models

    def served(self) -> "CrossFitEstimator":
        """A copy for new rows alone, without fold models."""
        made = copy.copy(self)
        made.crossfit = None if self.crossfit is None else self.crossfit.served()
        return made

    def within(self, rows: Array, X: Matrix, content: Ref) -> "CrossFitEstimator":
        """A copy for a larger data set X, whose `rows` are those fitted on; a ValueError if not."""
        fitted = self.fitted()
        fitted.check_rows(len(rows), matrix_digest(take(X, rows))[0])
        others = np.setdiff1d(np.arange(X.shape[0]), rows)
        made = copy.copy(self)
        made.crossfit = fitted.within(rows, others, X, content)
        return made
