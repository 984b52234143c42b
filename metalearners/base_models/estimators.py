"""Base models as values: a factory and its parameters, built anew for each fit."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor

# Before these, scikit-learn keeps halving searches and the iterative imputer out of its packages.
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401

from metalearners._typing import Array, Matrix, Ref
from metalearners.base_models.seeds_and_threads import settle
from metalearners.digests.digest import Identity, estimator_digest, identify


@dataclass(frozen=True, eq=False)
class EstimatorSpec:
    """A factory of estimators with its parameters; equal specifications have equal digests.

    Parameters
    ----------
    factory : class with scikit-learn's estimator interface, or a callable that returns an
        estimator
    params : keyword arguments of the factory
    """

    factory: Callable[..., Any]
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call it."""
        return factory_name(self.factory)

    @cached_property
    def identity(self) -> Identity:
        """Digest of the factory and of the parameters that shape the fit, and what it lacks.

        It covers the versions of packages, and of the user's code all that it refers to.
        """
        return identify(lambda: estimator_digest(self.factory, self.params))

    @cached_property
    def unkept(self) -> tuple[str, ...]:
        """Why its fits can't be kept for another process; empty where they can."""
        try:
            pickle.dumps(self.build())
        except Exception:  # whatever a part of it raises
            return (*self.identity.gaps, "what no pickle can be made of, such as a lambda")
        return self.identity.gaps

    @cached_property
    def outline(self) -> Ref:
        """The same without what the user's code refers to: what seeds are drawn by.

        So they stay where code counts its calls in a global, say.
        """
        made = identify(lambda: estimator_digest(self.factory, self.params), reaching=False)
        return made.digest

    @property
    def digest(self) -> Ref:
        """The digest of `identity`."""
        return self.identity.digest

    def build(self, seed: int | None = None, threads: int | None = None) -> Any:
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
        estimator = self.factory(**{k: clone(v, safe=False) for k, v in self.params.items()})
        if not isinstance(self.factory, type):  # it may return one and the same each time
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
