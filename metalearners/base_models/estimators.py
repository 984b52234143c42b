"""Base models: a new one for each fit, a check of its role, and its predictions."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor

# scikit-learn hides halving searches and the iterative imputer until these imports.
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401

from metalearners._typing import Array, Matrix
from metalearners.base_models.seeds_and_threads import set_seeds_and_threads


def build(
    factory: Callable[..., Any],
    params: Mapping[str, Any],
    seed: int | None = None,
    threads: int | None = None,
) -> Any:
    """A new, unfitted estimator.

    `seed` fills each ``random_state`` that the user left unset, of nested models and splitters
    too. `threads` is the share of the cores for a fit that runs beside others: it fills ``n_jobs``
    and its like where they are unset, and caps them elsewhere. None leaves models as they are.
    """
    # Deep copies: fits run side by side, and specifications must not change.
    estimator = factory(**{k: clone(v, safe=False) for k, v in params.items()})
    if not isinstance(factory, type):  # a function may return the same object each time
        estimator = clone(estimator, safe=False)
    set_seeds_and_threads(estimator, seed, threads)
    return estimator


def factory_name(factory: Any) -> str:
    """A factory's name: of a partial its function's, of another object its class's."""
    named = factory.func if isinstance(factory, partial) else factory
    return str(getattr(named, "__name__", type(named).__name__))


def check_role(estimator: Any, predict_method: str, kind: str) -> None:
    """Refuse a classifier as a model of means, and a regressor as a model of probabilities."""
    means = predict_method == "predict"
    if is_classifier(estimator) if means else is_regressor(estimator):
        found, needed = ("classifier", "regressor") if means else ("regressor", "classifier")
        raise ValueError(
            f"The model {kind} is supposed to be used with the predict method "
            f"'{predict_method}'; found the {found} {type(estimator).__name__}. Use a {needed}."
        )


def predict(model: BaseEstimator, X: Matrix, method: str) -> Array:
    """Predictions of shape (n, 1) for ``predict``, (n, n_classes) for ``predict_proba``."""
    values = np.asarray(getattr(model, method)(X), dtype=float)
    return values.reshape(len(values), -1)
