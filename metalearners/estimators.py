"""Base models as values: a class and its parameters, built anew for each fit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from metalearners._typing import Array, Matrix, Ref
from metalearners.digest import estimator_digest


@dataclass(frozen=True, eq=False)
class EstimatorSpec:
    """An estimator class with its parameters; equal specifications have equal digests.

    Parameters
    ----------
    factory : class with scikit-learn's estimator interface
    params : keyword arguments of the class
    """

    factory: type
    params: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> Ref:
        """Digest of the class, its package's version and the parameters that shape the fit."""
        return estimator_digest(self.factory, self.params)

    def build(self, seed: int | None = None, threads: int | None = None) -> Any:
        """A new, unfitted estimator.

        Parameters
        ----------
        seed : given to each ``random_state`` that the user left unset, of nested models too
        threads : given to each ``n_jobs`` that the user left unset
        """
        # Copies all the way down: fits run side by side, and specifications must not change.
        estimator = self.factory(**{k: clone(v, safe=False) for k, v in self.params.items()})
        nested = [v for v in estimator.get_params().values() if _is_estimator(v)]
        for part in (estimator, *nested):
            part.set_params(**_settings(part, seed, threads))
        return estimator


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "set_params") and not isinstance(value, type)


def _settings(part: Any, seed: int | None, threads: int | None) -> dict[str, Any]:
    """Values for parameters of a model that were left open."""
    given = part.get_params(deep=False)
    settings: dict[str, Any] = {}
    if seed is not None and given.get("random_state", seed) is None:
        settings["random_state"] = seed
    # scikit-learn 1.8 deprecated this model's n_jobs, which had no effect, and warns if it is set.
    has_jobs = not isinstance(part, LogisticRegression)
    if threads is not None and has_jobs and given.get("n_jobs", threads) is None:
        settings["n_jobs"] = threads
    if type(part).__module__.startswith("lightgbm."):
        settings |= _reproducible_lightgbm(given)
    return settings


def _reproducible_lightgbm(given: Mapping[str, Any]) -> dict[str, Any]:
    # Without these, LightGBM picks its histogram layout by a timing test and its sums depend on
    # the number of threads (LightGBM documentation, parameter `deterministic`).
    wanted = {"deterministic": True, "verbosity": -1}
    if not {"force_col_wise", "force_row_wise"} & set(given):
        wanted["force_row_wise"] = True
    if "verbose" in given:
        del wanted["verbosity"]
    return {k: v for k, v in wanted.items() if k not in given}


def weight_argument(estimator: Any) -> str | None:
    """Name of the `fit` argument that takes row weights; None if there is none."""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_argument(last)
        return inner and f"{name}__{inner}"
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def takes_missing(estimator: Any) -> bool:
    """Whether a base model can be fitted on missing feature values."""
    if not isinstance(estimator, Pipeline):
        inner = getattr(estimator, "estimator", None)
        return takes_missing(inner) if hasattr(inner, "fit") else _allow_nan(estimator)
    for _, step in estimator.steps:
        if step in (None, "passthrough"):
            continue
        if not _allow_nan(step):
            return False
        if _replaces_values(step):
            return True
    return True


def takes_categories(estimator: Any) -> bool:
    """Whether a base model can be fitted on columns of a data frame's category type.

    A pipeline is trusted to encode them: what its steps make of a column isn't known before
    they are fitted.
    """
    inner = getattr(estimator, "estimator", None)
    if hasattr(inner, "fit"):
        return takes_categories(inner)
    root = type(estimator).__module__.partition(".")[0]
    if root == "xgboost":
        return bool(estimator.get_params().get("enable_categorical", False))
    histogram = type(estimator).__name__.startswith("HistGradientBoosting")
    if histogram:
        return estimator.get_params().get("categorical_features") == "from_dtype"
    return root == "lightgbm" or isinstance(estimator, Pipeline)


def takes_arm_as_category(estimator: Any) -> bool:
    """Whether a base model that has the treatment as a feature gets it as one category column.

    A pipeline gets indicators: a step such as a scaler would take codes of arms for numbers.
    """
    inner = getattr(estimator, "estimator", None)
    if hasattr(inner, "fit"):
        return takes_arm_as_category(inner)
    return not isinstance(estimator, Pipeline) and takes_categories(estimator)


def _allow_nan(estimator: Any) -> bool:
    return _replaces_values(estimator) or bool(get_tags(estimator).input_tags.allow_nan)


def _replaces_values(step: Any) -> bool:
    # An imputer fills values in; what a column transformer does is known only by its parts.
    return type(step).__name__.endswith(("Imputer", "ColumnTransformer"))


def check_role(estimator: Any, predict_method: str, kind: str) -> None:
    """Refuse a classifier where means are predicted, and a regressor where probabilities are.

    Raises
    ------
    ValueError
        If the estimator can't be used with the predict method of its model kind.
    """
    wrong = is_classifier if predict_method == "predict" else is_regressor
    if wrong(estimator):
        found = "classifier" if predict_method == "predict" else "regressor"
        raise ValueError(
            f"The model {kind} is supposed to be used with the predict method "
            f"'{predict_method}'; found the {found} {type(estimator).__name__}. "
            f"Use a {'regressor' if found == 'classifier' else 'classifier'}."
        )


def predict(model: BaseEstimator, X: Matrix, method: str) -> Array:
    """Predictions of shape (n, 1) for ``predict``, (n, n_classes) for ``predict_proba``."""
    values = np.asarray(getattr(model, method)(X), dtype=float)
    return values.reshape(len(values), -1)
