"""Base models: built anew for each fit, held to their role, and asked for predictions."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor

# Before these, scikit-learn keeps halving searches and the iterative imputer out of its packages.
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401

from metalearners._typing import Array, Matrix
from metalearners.base_models.seeds_and_threads import settle


def build(
    factory: Callable[..., Any],
    params: Mapping[str, Any],
    seed: int | None = None,
    threads: int | None = None,
) -> Any:
    """A new, unfitted estimator.

    Parameters
    ----------
    seed : given to each ``random_state`` that the user left unset, of nested models and
        splitters too
    threads : share of the cores of a fit that runs beside others: what models are told by
        ``n_jobs`` or its like is cut down to it, and those that are told nothing get it. None
        leaves models as they are
    """
    # Copies all the way down: fits run side by side, and specifications must not change.
    estimator = factory(**{k: clone(v, safe=False) for k, v in params.items()})
    if not isinstance(factory, type):  # it may return one and the same each time
        estimator = clone(estimator, safe=False)
    settle(estimator, seed, threads)
    return estimator


def factory_name(factory: Any) -> str:
    """A factory's name; of a partial its function's, of another object its class's."""
    named = factory.func if isinstance(factory, partial) else factory
    return str(getattr(named, "__name__", type(named).__name__))


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
